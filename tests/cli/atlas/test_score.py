"""`retroscope score`: numbers and names in an atlas, from the command line."""

import json
from pathlib import Path

import pytest

import retroscope as rs
from tests.cli.terminal import Retroscope


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world with masks, and its atlas of the last layer of `demo`."""
    home = tmp_path_factory.mktemp("score")
    rs.write_world(home / "world", count=60, masks=True)
    net = rs.open_model("demo")
    atlas = home / "a.atlas"
    rs.scan(net, home / "world", to=atlas, layers="relu7", projections="none").close()
    return home


@pytest.fixture
def atlas(made: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "a.atlas"
    copy.write_bytes((made / "a.atlas").read_bytes())
    return copy


def test_dissection_is_estimated_stored_and_shown(
    made: Path, atlas: Path, retroscope: Retroscope
) -> None:
    options = ["--masks", str(made / "world-parts"), "--numbers", "dissection,mis"]
    said = retroscope("score", str(atlas), "demo", *options)
    assert (said.status, said.out) == (0, f"{atlas}\n")
    assert "mis, dissection of 128 channels: about " in said.err
    with rs.open_atlas(atlas) as scored:
        (layer,) = scored.layers
        named = scored.names(layer.name)[0]
    shown = json.loads(retroscope("show", str(atlas), str(named.unit), "--json").out)
    assert shown["names"] == rs.as_json([named])
    numbers = {number["number"] for number in shown["numbers"]}
    assert numbers == {"class_correlation", "concept_iou", "mis"}  # the first is of the scan
    again = retroscope("score", str(atlas), "demo", *options)
    assert f"{atlas} already has all of these numbers\n" in again.err


def test_names_need_no_network(atlas: Path, tmp_path: Path, retroscope: Retroscope) -> None:
    (tmp_path / "names.csv").write_text("unit,name\nrelu7:5,round things\n")
    said = retroscope("score", str(atlas), "--names", str(tmp_path / "names.csv"))
    assert (said.status, said.out) == (0, f"{atlas}\n")
    assert said.err == f"1 name added to {atlas}\n"
    assert json.loads(retroscope("show", str(atlas), "relu7:5", "--json").out)["names"][0] == {
        "unit": f"{_layer_name(atlas)}:5",
        "name": "round things",
        "score": None,
        "source": "file",
    }


def _layer_name(atlas: Path) -> str:
    with rs.open_atlas(atlas) as scored:
        return scored.layers[0].name


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "no network given; name the MODEL that was scanned, or give --names"),
        (("--names", "n.csv", "--masks", "m"), "--masks is for numbers, which need the MODEL"),
        (("--names", "n.csv", "--device", "cpu"), "--device is for numbers, which need the MODEL"),
        (("demo", "--numbers", "misses"), "'misses' is not a list of numbers; did you mean 'mis'"),
        (("demo", "--numbers", "dissection"), "dissection needs masks of concepts; name their "),
        (("demo", "--masks", "none"), "no folder 'none'; give a folder of label images"),
        (("demo@0",), "weights"),
        (("--names", "none.csv"), "cannot read the names 'none.csv' (No such file"),
    ],
)
def test_a_mistake_is_one_line(
    atlas: Path, retroscope: Retroscope, words: tuple[str, ...], error: str
) -> None:
    said = retroscope("score", str(atlas), *words)
    assert said.status == 2
    assert said.out == ""
    assert error in said.err
    assert said.err.count("\n") == 1
