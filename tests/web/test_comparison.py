"""How much a unit changed, by the definition written out."""

import json
from collections.abc import Iterable
from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retroscope.atlas.queries import channel_queries
from retroscope.atlas.reader import Atlas
from retroscope.results.layers import Layer
from retroscope.results.statistics import ClassStats
from retroscope.unit import Unit
from retroscope.web.site.channel_metrics import cosine_similarity
from retroscope.web.site.comparison import layer_changes, unit_change
from retroscope.web.site.routes import respond
from retroscope.web.site.site import Site

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
