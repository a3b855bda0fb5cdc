"""How much a unit changed, by the definition written out."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from math import isnan, sqrt
from pathlib import Path
from posixpath import join, normpath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retroscope.atlas.queries import channel_queries
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.results.layers import Layer
from retroscope.results.statistics import ClassStats
from retroscope.unit import Unit
from retroscope.web.site.channel_metrics import cosine_similarity
from retroscope.web.site.comparison import layer_changes, unit_change
from retroscope.web.site.routes import list_paths, respond
from retroscope.web.site.site import Site, make_site
from tests.web.sample_atlases import odd_atlas

NUMBERS = st.floats(-9, 9, width=32) | st.just(float("nan"))


def by_definition(one: list[float], other: list[float]) -> float:
    """Only where both are known, and above zero."""
    pairs = [(max(a, 0), max(b, 0)) for a, b in zip(one, other, strict=True) if not isnan(a + b)]
    lengths = sqrt(sum(a * a for a, _ in pairs)) * sqrt(sum(b * b for _, b in pairs))
    return sum(a * b for a, b in pairs) / lengths if lengths else float("nan")


@given(
    st.integers(1, 5).flatmap(
        lambda width: st.lists(
            st.tuples(*[st.lists(NUMBERS, min_size=width, max_size=width)] * 2), min_size=1
        )
    )
)
def test_the_cosine_of_rows_is_that_of_each(rows: list[tuple[list[float], list[float]]]) -> None:
    found = cosine_similarity(
        np.array([one for one, _ in rows]), np.array([other for _, other in rows])
    )
    expected = [by_definition(one, other) for one, other in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["features.0", "add#2/é<b>", "head"])
def test_one_channel_alone_is_what_it_is_among_all(site: Site, name: str) -> None:
    first, second = site.compared
    layer = site.atlas.layer(name)
    every = layer_changes(first, second, layer)
    assert len(every) == layer.channels
    for channel in range(0, layer.channels, 3):
        alone = unit_change(first, second, Unit(layer.name, channel))
        assert repr(alone) == repr(every[channel])  # NaN is not equal to itself


def test_a_change_is_what_is_not_common(site: Site) -> None:
    one, other = site.compared
    for found in layer_changes(one, other, one.layer("features.0")):
        if any(found.dead) or any(found.without_hits):
            continue
        address = f"features.0:{found.channel}"
        plates = [{patch.source for patch in atlas[address].patches} for atlas in (one, other)]
        profiles = [
            [each.mean_maximum for each in sorted(atlas.stats(address).classes, key=by_label)]
            for atlas in (one, other)
        ]
        cosine = by_definition(*profiles)
        assert found.shared_images == len(plates[0] & plates[1])
        assert found.change == pytest.approx(1 - (found.shared_images / 9 + cosine) / 2)


def by_label(each: ClassStats) -> str:
    return each.label


def test_a_unit_is_compared_without_a_look_at_its_layer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans: list[Iterable[int]] = []
    original = channel_queries.class_means

    def watched(atlas: Atlas, layer: Layer, span: Iterable[int]) -> dict[int, bytes]:
        spans.append(span)
        return original(atlas, layer, span)

    monkeypatch.setattr(channel_queries, "class_means", watched)
    facts = json.loads(respond(site, "compare/features.0/3.json").body)
    assert facts["unit"] == "features.0:3"
    assert [span for span in spans if isinstance(span, range)] == [range(3, 4)] * 2


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three atlases, two of them with one file name."""
    folder = tmp_path_factory.mktemp("three")
    with ExitStack() as stack:
        atlases = []
        for number, name in enumerate(("first", "early/run", "late/run")):
            (folder / name).parent.mkdir(exist_ok=True)
            path = folder / f"{name}.atlas"
            atlases.append(stack.enter_context(odd_atlas(path, seed=number)))
        yield make_site(*atlases)


def test_more_than_two_atlases_are_compared_with_the_first(three: Site) -> None:
    facts = json.loads(respond(three, "compare/features.0.json").body)
    first, *others = three.compared
    layer = first.layer("features.0")
    changes = [layer_changes(first, other, layer) for other in others]
    assert [one["name"] for one in facts["atlases"]] == ["first", "early/run", "late/run"]
    assert len(facts["units"]) == layer.channels
    for unit in facts["units"]:
        expected = [to_other[unit["channel"]] for to_other in changes]
        assert [side["change"] for side in unit["sides"][1:]] == [one.change for one in expected]
        assert unit["sides"][0]["change"] is None
        assert unit["change"] == max(one.change for one in expected)
    largest = [unit["change"] for unit in facts["units"]]
    assert largest == sorted(largest, reverse=True)
    assert facts["changes"] == [
        pytest.approx(sum(one.change for one in to_other) / len(to_other)) for to_other in changes
    ]


def test_each_atlas_of_a_comparison_has_a_site_and_all_paths_lead_to_files(three: Site) -> None:
    paths = set(list_paths(three))
    assert {"index.html", "other/index.html", "other2/index.html"} <= paths
    facts = json.loads(respond(three, "compare/features.0/3.json").body)
    assert [side["folder"] for side in facts["sides"]] == ["", "other/", "other2/"]
    for side in facts["sides"]:
        assert side["folder"] + side["href"] in paths
        assert side["folder"] + side["rankings"]["max"]["lit"] in paths
    units = json.loads(respond(three, "compare.json").body)["units"]
    for side in (side for unit in units for side in unit["sides"]):
        assert set(side["plates"].values()) <= paths
        assert side["pattern"] is None or side["pattern"] in paths
    for folder in ("other/", "other2/"):
        page = json.loads(respond(three, f"{folder}unit/features.0/3.json").body)
        assert normpath(join(folder, page["comparison"])) == "compare/features.0/3.html"


def test_a_layer_that_one_atlas_lacks_is_not_compared_and_counted(tmp_path: Path) -> None:
    with odd_atlas(tmp_path / "one.atlas") as one, odd_atlas(tmp_path / "two.atlas") as two:
        path = tmp_path / "three.atlas"
        path.write_bytes(two.path.read_bytes())
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE layers SET name = 'neck' WHERE name = 'head'")
        with open_atlas(path) as renamed:
            facts = json.loads(respond(make_site(one, two, renamed), "compare.json").body)
    assert "head" not in {layer["name"] for layer in facts["layers"]}
    assert [atlas["missing"] for atlas in facts["atlases"]] == [0, 0, 1]


def test_a_comparison_lists_the_views_that_any_unit_has(three: Site) -> None:
    facts = json.loads(respond(three, "compare/features.0.json").body)
    assert facts["views"] == ["patches", "projections", "lit", "patterns"]
    assert json.loads(respond(three, "compare/head.json").body)["views"] == ["patches"]
