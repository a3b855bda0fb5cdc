"""The page has every method in every table, and its scores are what their names say."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tools.explainers import Map
from tools.localisation import (
    CANDIDATES,
    COMPARISONS,
    EXPLAINERS,
    FINDERS,
    KINDS,
    FoundObject,
    at_its_pixel,
    detected_objects,
    found_scenes,
    hit,
    score,
    segmented_objects,
    share,
)

import retroscope as rs
from retroscope.world import scene

PAGE = (Path(__file__).parents[2] / "docs/localisation.md").read_text("utf-8")


def rows(name: str) -> list[str]:
    """The first cell of each row of a table, but for its head."""
    begin = f"<!-- {name}, made by tools/localisation.py -->"
    lines = PAGE.partition(begin)[2].partition("<!-- end -->")[0]
    return re.findall(r"^\| ([^|]+) \|", lines, re.MULTILINE)[2:]


@pytest.mark.parametrize("network", FINDERS)
def test_each_table_has_all_methods_and_comparisons(network: str) -> None:
    assert rows(network.removeprefix("demo-")) == [*COMPARISONS, *EXPLAINERS]


def test_the_table_of_the_default_has_all_candidates_for_each_kind_of_target() -> None:
    methods = [*CANDIDATES, "even"]
    assert rows("default") == [f"{kind}: {method}" for kind in KINDS for method in methods]


def test_a_pixel_is_on_the_object() -> None:
    net = rs.open_model("demo-segmenter", device="cpu")
    for item in next(found_scenes(net, segmented_objects)):
        label, _, place = at_its_pixel(item).target.rpartition("@")
        y, x = map(int, place.split(","))
        assert label == item.truth.label
        assert item.truth.mask[y : y + 2, x : x + 2].any()


@pytest.fixture(scope="module")
def found() -> FoundObject:
    painted = scene(5, objects=2)
    return FoundObject(painted, painted.objects[0], "", rs.Unit("classes"))


def in_box(found: FoundObject) -> Map:
    area, box = np.zeros((96, 96)), found.truth.box
    area[box.top : box.bottom, box.left : box.right] = 1
    return area


def test_heat_on_the_object_alone_has_full_scores(found: FoundObject) -> None:
    assert score(found.truth.mask.astype(float), found) == (1, 1, 1, 1)


def test_even_heat_scores_areas(found: FoundObject) -> None:
    box, mask = in_box(found), found.truth.mask
    objects = found.painted.object_map > 0
    wanted = (box.mean(), mask.mean(), box.mean(), mask.sum() / objects.sum())
    assert score(np.ones((96, 96)), found) == pytest.approx(wanted)
    assert score(np.zeros((96, 96)), found) == pytest.approx(wanted), "as no heat at all"


def test_negative_heat_does_not_count(found: FoundObject) -> None:
    heat = found.truth.mask.astype(float) - 2 * (1 - in_box(found))
    assert score(heat, found) == (1, 1, 1, 1)


def test_heat_on_another_object_is_not_its_own(found: FoundObject) -> None:
    other = replace(found, truth=found.painted.objects[1])
    heat = other.truth.mask.astype(float)
    assert score(heat, other)[3] == 1
    assert score(heat, found)[3] == 0


def test_equal_peaks_share_the_hit() -> None:
    mask = np.array([[True, False, False]])
    assert hit(np.array([[1.0, 1.0, 0.5]]), mask) == 0.5
    assert share(np.array([[1.0, 1.0, 2.0]]), mask) == 0.25


def test_what_is_detected_is_there() -> None:
    net = rs.open_model("demo-detector", device="cpu")
    objects = next(found_scenes(net, detected_objects))
    assert len(objects) > 1
    for item in objects:
        y, x = item.unit.position or (-1, -1)
        box = item.truth.box
        assert box.top - 8 <= 8 * y <= box.bottom
        assert box.left - 8 <= 8 * x <= box.right
        assert item.target.endswith(f":{item.truth.label}")
        assert item.unit.channel == net.labels.index(item.truth.label)


def test_what_is_segmented_is_there() -> None:
    net = rs.open_model("demo-segmenter", device="cpu")
    for item in next(found_scenes(net, segmented_objects)):
        y, x = item.unit.position or (-1, -1)
        assert item.truth.mask[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].any()
        assert item.unit.channel == net.labels.index(item.truth.label)
