"""What is written is read back."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.writer import AtlasWriter, MissingProjection
from retroscope.errors import RetroscopeError, UnitError
from retroscope.geometry import Box
from retroscope.imaging.image import GREY
from retroscope.render.html_pages import atlas_html
from retroscope.results.layers import Layer
from retroscope.unit import Unit
from tests.atlas import small_atlas


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atlas]:
    path = tmp_path_factory.mktemp("ein ätlas?#%20") / "klein.atlas"
    small_atlas.write(path)
    with open_atlas(path) as opened:
        yield opened


def test_layers_are_those_that_were_put(atlas: Atlas) -> None:
    assert atlas.layers == small_atlas.LAYERS


def test_meta_is_what_was_put_and_when_the_scan_began(atlas: Atlas) -> None:
    meta = atlas.meta
    assert str(meta.pop("created")).startswith("20")
    assert meta == {"model": "täst", "state": "scanned", "preprocessing": {"mean": [0.5, 1]}}


def test_any_file_name_comes_back(atlas: Atlas) -> None:
    assert tuple(image.key for image in atlas.images) == small_atlas.KEYS


def test_images_are_a_sequence_of_frozen_rows(atlas: Atlas) -> None:
    images = atlas.images
    assert len(images) == 5
    assert images[-1].label is None
    assert [image.id for image in images[1:3]] == [1, 2]
    assert (images[3].status, images[3].error) == ("unreadable", "broken 'x'")
    assert [image.status for image in images] == ["ok", "ok", "ok", "unreadable", "ok"]
    with pytest.raises(IndexError):
        images[5]
    with pytest.raises(FrozenInstanceError):
        images[0].key = "other"  # type: ignore[misc]


def test_a_class_counts_its_readable_images(atlas: Atlas) -> None:
    assert {label.name: label.images for label in atlas.labels} == {
        "hund": 1,
        "katze": 2,
        "leer": 0,
    }
    assert atlas.label("katze").id == 1
    with pytest.raises(UnitError, match="did you mean 'katze'"):
        atlas.label("katse")


def test_a_plate_holds_the_hits_in_rank_order(atlas: Atlas) -> None:
    plate = atlas["conv1_1:0"]
    assert (plate.unit, plate.layer.name) == (Unit("features.0", 0), "features.0")
    assert [patch.score for patch in plate.patches] == [3.5, 2.0, 1.0]
    assert [patch.source for patch in plate.patches] == list(small_atlas.KEYS[:3])
    by_mean = atlas.plate("features.0:0", ranked_by="mean")
    assert ([patch.score for patch in by_mean.patches], by_mean.ranked_by) == ([0.5, 0.25], "mean")


def test_a_patch_has_its_exact_field_and_the_image_under_it(atlas: Atlas) -> None:
    patch = atlas["features.0:0"].patches[1]
    assert patch.box == Box(-2, -3, 3, 4)
    assert patch.visible == Box(0, 0, 3, 4)
    assert (patch.pixels == atlas.image_pixels(1)[:3, :4]).all()
    assert patch.size == atlas.image_pixels(1).shape[:2]
    assert np.abs(atlas.image_pixels(1).astype(int) - small_atlas.smooth_image(1)).max() < 25


def test_a_projection_comes_back_about_as_it_was(atlas: Atlas) -> None:
    first, second = atlas["features.0:0"].patches[:2]
    assert first.projection is None
    projection, expected = second.projection, small_atlas.projection("features.0:0@0,0")
    assert projection is not None
    assert (projection.unit, projection.box) == (expected.unit, expected.box)
    assert (projection.activation, projection.rules) == (expected.activation, expected.rules)
    assert (projection.size, projection.notes) == (expected.size, expected.notes)
    assert projection.source == small_atlas.KEYS[1]
    assert projection.patch is not None
    assert projection.patch.shape == projection.pixels.shape == expected.pixels.shape
    assert atlas.plate("features.0:0", rules="guided").patches[1].projection is None


def test_a_field_of_the_whole_image_gives_the_whole_image(atlas: Atlas) -> None:
    patch = atlas["head:1"].patches[1]
    assert (patch.pixels == atlas.image_pixels(1)).all()


def test_a_patch_of_an_image_that_is_not_stored_is_grey(tmp_path: Path) -> None:
    with AtlasWriter(tmp_path / "a.atlas") as writer, writer.transaction():
        small_atlas.fill(writer)
        small_atlas.put_hits(writer, "head", "max", [[5, 4, 3, 2], [1]])
    with open_atlas(tmp_path / "a.atlas") as atlas:
        patch = atlas["head:0"].patches[3]
    assert patch.pixels.shape == (small_atlas.SIDE, small_atlas.SIDE, 3)
    assert (patch.pixels == GREY).all()


def test_a_dead_channel_has_an_empty_plate_and_its_statistics(atlas: Atlas) -> None:
    plate = atlas["features.0:2"]
    assert plate.patches == ()
    assert plate.stats.dead
    assert atlas.sql("SELECT channel, top_label FROM channels WHERE dead AND layer = 0") == [
        (2, None)
    ]


def test_classes_come_highest_first_and_without_the_empty_ones(atlas: Atlas) -> None:
    classes = atlas["features.0:0"].stats.classes
    assert [(stats.label, stats.images, stats.mean_maximum) for stats in classes] == [
        ("katze", 2, 5.0),
        ("hund", 1, 1.0),
    ]
    assert classes[0].fired_share == pytest.approx(0.5)


def test_the_top_of_a_layer_is_over_all_channels(atlas: Atlas) -> None:
    top = atlas.top("conv1", 3)
    assert [(str(unit), patch.score) for unit, patch in top] == [
        ("features.0:1@1,1", 4.0),
        ("features.0:0@0,0", 3.5),
        ("features.0:0@0,0", 2.0),
    ]
    assert len(atlas.top("conv1", 100)) == 5


def test_iterating_gives_every_channel(atlas: Atlas) -> None:
    assert len(atlas) == 5
    assert list(map(str, atlas)) == [*(f"features.0:{n}" for n in range(3)), "head:0", "head:1"]
    assert all(atlas[unit].unit == unit for unit in atlas)


def test_an_address_is_in_the_atlas_if_it_has_a_plate(atlas: Atlas) -> None:
    addresses: list[Unit | str] = [
        "features.0:2",
        "conv1:0",
        "conv1_1:1",
        "head:1",
        Unit("conv1", 2),
    ]
    others: list[object] = ["features.0:3", "head", "conv1:0@1,1", "conv1:0@*", "nowhere:0"]
    others += ["", "conv1:", 3, None, ("conv1", 0), Unit("head", 2)]
    assert all(unit in atlas for unit in (*addresses, *atlas))
    assert all(atlas[unit].unit in atlas for unit in addresses)
    assert not any(unit in atlas for unit in others)


@pytest.mark.parametrize("unit", [3, None, ("conv1", 2)])
def test_a_value_of_another_type_is_not_an_address(atlas: Atlas, unit: Any) -> None:
    for method in (atlas.plate, atlas.__getitem__, atlas.stats, atlas.hits):
        with pytest.raises(UnitError, match=re.escape(f"{unit!r} is not a unit; ")):
            method(unit)


def test_a_layer_of_the_atlas_is_found_like_its_name(atlas: Atlas) -> None:
    assert all(atlas.layer(layer) == layer for layer in atlas.layers)
    with pytest.raises(UnitError, match=r"^'conv1:2' is a unit; give the layer 'conv1'$"):
        atlas.layer("conv1:2")


@pytest.mark.parametrize("path", [None, 3, ["a.atlas"]])
def test_an_atlas_is_opened_by_its_path_alone(path: Any) -> None:
    message = f"path of open_atlas() is a path, not {path!r}"
    with pytest.raises(RetroscopeError, match=re.escape(message)):
        open_atlas(path)


def test_a_notebook_shows_a_short_table(atlas: Atlas) -> None:
    assert "<td>täst</td>" in atlas_html(atlas)


def test_missing_projections_list_each_position_once_by_layer_and_image(tmp_path: Path) -> None:
    small_atlas.write(tmp_path / "a.atlas")
    with AtlasWriter(tmp_path / "a.atlas") as writer:
        missing = list(writer.missing_projections(rules="deconvnet"))
        assert missing == [
            MissingProjection("features.0", 0, 0, 0, 0, 3.5, 0),
            MissingProjection("features.0", 1, 0, 1, 1, 4.0, 0),
            MissingProjection("features.0", 1, 1, 1, 1, 0.5, 1),
            MissingProjection("features.0", 0, 2, 0, 0, 1.0, 2),
            MissingProjection("head", 0, 0, 0, 0, -1.0, 0),
            MissingProjection("head", 1, 0, 1, 1, -2.0, 0),
            MissingProjection("head", 1, 1, 1, 1, -3.0, 1),
        ]
        assert list(writer.missing_projections(limit=5, rules="deconvnet")) == missing[:5]
        assert list(writer.missing_projections("head", ranks=1, rules="deconvnet")) == missing[4:6]
        assert len(list(writer.missing_projections(rules="guided"))) == 8


def test_only_images_among_the_hits_lack_pixels(tmp_path: Path) -> None:
    with AtlasWriter(tmp_path / "a.atlas") as writer, writer.transaction():
        small_atlas.fill(writer)
        assert writer.images_without_pixels() == []
        small_atlas.put_hits(writer, "head", "max", [[5, 4, 3, 2, 1], [1]])
        assert writer.images_without_pixels() == [3, 4]


def test_the_state_is_stored_until_it_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "a.atlas"
    with AtlasWriter(path) as writer:
        with writer.transaction():
            writer.put_state({"a": b"1" * 2_000_000, "b": b"2"})
        with writer.transaction():
            writer.put_state({"b": b"3"})
    with AtlasWriter(path) as writer:
        assert not writer.is_new
        assert writer.state() == {"a": b"1" * 2_000_000, "b": b"3"}
        with writer.transaction():
            writer.clear_state()
        assert writer.state() == {}
        writer.compact()
    assert path.stat().st_size < 200_000


def test_a_restart_leaves_nothing_of_the_old_scan(tmp_path: Path) -> None:
    small_atlas.write(tmp_path / "a.atlas")
    with AtlasWriter(tmp_path / "a.atlas", restart=True) as writer:
        assert writer.is_new
        assert list(writer.meta) == ["created"]
    with open_atlas(tmp_path / "a.atlas") as atlas:
        assert (len(atlas.images), atlas.layers, len(atlas)) == (0, (), 0)


def test_a_reader_sees_what_a_scan_has_committed_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "a.atlas"
    with AtlasWriter(path) as writer, open_atlas(path) as atlas:
        assert not atlas.layers
        with writer.transaction():
            small_atlas.fill(writer)
            assert not atlas.layers
        assert atlas.layers == small_atlas.LAYERS


def test_after_closing_there_is_one_file(tmp_path: Path) -> None:
    small_atlas.write(tmp_path / "a.atlas")
    assert [path.name for path in tmp_path.iterdir()] == ["a.atlas"]


def test_reading_and_writing_import_no_torch(tmp_path: Path) -> None:
    small_atlas.write(tmp_path / "a.atlas")
    code = (
        "import sys; from retroscope.atlas.reader import open_atlas;"
        "import retroscope.atlas.writer;"
        f"atlas = open_atlas({str(tmp_path / 'a.atlas')!r}); atlas['conv1:0'].patches[0];"
        "print('torch' in sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout == "False\n"


SCORES = st.floats(-1e9, 1e9, width=32)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(SCORES, max_size=4), min_size=1, max_size=4))
def test_hits_come_back_exactly_and_in_order(rows: list[list[float]]) -> None:
    rows = [sorted(row, reverse=True) for row in rows]
    layer = Layer("conv", "conv", len(rows), (9, 9), small_atlas.FIELD)
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.atlas")
        with AtlasWriter(path) as writer, writer.transaction():
            writer.put_layers([layer])
            writer.put_images([str(n) for n in range(4)])
            writer.put_channels("conv", small_atlas.statistics(len(rows)))
            small_atlas.put_hits(writer, "conv", "max", rows)
        with open_atlas(path) as atlas:
            plates = [atlas[unit].patches for unit in atlas]
    assert [[patch.score for patch in patches] for patches in plates] == rows
    assert [[patch.source for patch in patches] for patches in plates] == [
        [str(n) for n in range(len(row))] for row in rows
    ]


NUMBERS = st.floats(width=32)
COUNTS = st.integers(0, 2**62)


@settings(max_examples=20, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            **dict.fromkeys(("mean", "std", "maximum", "minimum"), NUMBERS),
            **dict.fromkeys(("mean_maximum", "std_maximum"), NUMBERS),
            **dict.fromkeys(("images", "positions", "fired_images", "fired_positions"), COUNTS),
            "non_finite": COUNTS,
        }
    ),
    st.lists(COUNTS, min_size=64, max_size=64),
)
def test_statistics_come_back_exactly(
    numbers: dict[str, float | int], histogram: list[int]
) -> None:
    arrays = {name: np.array([number, number]) for name, number in numbers.items()}
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.atlas")
        with AtlasWriter(path) as writer, writer.transaction():
            writer.put_layers([Layer("conv", "conv", 2, (9, 9), small_atlas.FIELD)])
            dead = np.array([numbers["fired_images"] == 0] * 2)
            histograms = np.array([histogram, histogram])
            arrays |= {"histogram": histograms, "dead": dead}
            writer.put_channels("conv", small_atlas.zero_statistics(2) | arrays)
        with open_atlas(path) as atlas:
            stored = asdict(atlas.stats("conv:1"))
    assert stored.pop("histogram").tolist() == histogram
    assert stored.pop("classes") == ()
    stored.pop("extra")
    assert stored == pytest.approx(numbers, rel=0, abs=0, nan_ok=True)
