"""The graph of a network in an atlas: as it was written, absent in an older file, never cyclic."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from torch import nn

import retroscope as rs
from retroscope.atlas.queries import reader_queries
from retroscope.atlas.reader import open_atlas
from retroscope.atlas.row_decoding import graph_from_rows
from retroscope.atlas.schema import AtlasError
from retroscope.atlas.writer import AtlasWriter
from retroscope.engine.layer_graph import layer_graph
from retroscope.results.layers import FROM_IMAGE, GraphStep
from tests.atlas import small_atlas
from tests.scanning.scans import write_images

GRAPH = (GraphStep(0, "conv", (FROM_IMAGE,)), GraphStep(1, "add", (FROM_IMAGE, 0)))


def read(path: Path) -> tuple[GraphStep, ...]:
    with open_atlas(path) as atlas:
        return graph_from_rows(reader_queries.graph_steps(atlas))


def write(path: Path) -> None:
    with AtlasWriter(path) as writer, writer.transaction():
        small_atlas.fill(writer)
        writer.put_graph(GRAPH)


def test_a_graph_is_read_as_it_was_written(tmp_path: Path) -> None:
    write(tmp_path / "a.atlas")
    assert read(tmp_path / "a.atlas") == GRAPH


def test_a_scan_stores_the_graph_of_its_layers(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3))
    net = rs.Network(module.eval(), input_size=(24, 24))
    rs.scan(net, write_images(tmp_path / "images", 2), to=tmp_path / "a.atlas").close()
    with open_atlas(tmp_path / "a.atlas") as atlas:
        layers = atlas.layers
    assert read(tmp_path / "a.atlas") == layer_graph(net.survey(), layers)
    assert [step.inputs for step in read(tmp_path / "a.atlas")] == [
        (FROM_IMAGE,),
        (layers[0].index,),
    ]


def test_an_older_atlas_has_none_and_gets_the_table_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.atlas"
    write(path)
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("DROP TABLE graph")
    assert read(path) == ()
    with AtlasWriter(path) as writer, writer.transaction():
        writer.put_graph(GRAPH)
    assert read(path) == GRAPH


@pytest.mark.parametrize("inputs", ["[1]", "[7]", "[0.5]", "[true]", "{}", "x", "5", "[" * 99999])
def test_a_graph_that_no_scan_writes_is_refused(tmp_path: Path, inputs: str) -> None:
    """Inputs that come later or do not exist, or no list of numbers."""
    write(tmp_path / "a.atlas")
    with closing(sqlite3.connect(tmp_path / "a.atlas")) as file, file:
        file.execute("UPDATE graph SET inputs = ? WHERE step = 1", [inputs])
    with pytest.raises(AtlasError, match="step 1 of its graph"):
        read(tmp_path / "a.atlas")
