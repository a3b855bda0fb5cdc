"""The layers as blocks: in order, apart, to scale."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from retroscope.results.layers import Layer
from retroscope.web.site.pages.charts import network_diagram
from tests.web.sample_atlases import FIELD, LAYERS, SIDE


def drawn(layers: "list[Layer] | tuple[Layer, ...]") -> dict[str, Any]:
    return network_diagram(layers, (SIDE, SIDE), ["x"] * len(layers))


def several(count: int) -> list[Layer]:
    return [
        Layer(f"layer.{n}", "conv", 3**n % 700 + 1, (64 // (n + 1) + 1,) * 2, FIELD, (), n)
        for n in range(count)
    ]


@pytest.mark.parametrize("layers", [list(LAYERS), several(9), several(40)])
def test_blocks_stand_in_order_and_apart_within_the_drawing(layers: list[Layer]) -> None:
    found = drawn(layers)
    blocks = found["blocks"]
    assert [one["number"] for one in blocks] == list(range(1, len(layers) + 1))
    for one, after in pairwise(blocks):
        centres = [each["x"] + each["width"] / 2 for each in (one, after)]
        assert one["x"] + one["width"] < after["x"]
        assert centres[1] - centres[0] > found["frame"]
    assert blocks[0]["x"] >= 0
    assert blocks[-1]["x"] + blocks[-1]["width"] <= found["width"]


def test_a_few_layers_are_named_and_many_or_long_ones_are_numbered() -> None:
    assert drawn(several(7))["named"]
    assert not drawn(several(40))["named"]
    long = [replace(several(1)[0], name="backbone.body.layer4.2.conv3")]
    assert not drawn(long)["named"]


def test_larger_maps_are_higher_and_more_channels_wider() -> None:
    layers = several(9)
    for (one, other), (a, b) in zip(
        pairwise(layers), pairwise(drawn(layers)["blocks"]), strict=True
    ):
        assert (one.size > other.size) == (a["height"] > b["height"])
        assert (one.channels < other.channels) == (a["width"] < b["width"])


def test_a_field_fills_its_share_of_the_frame() -> None:
    found = drawn(LAYERS)
    for layer, block in zip(LAYERS, found["blocks"], strict=True):
        share = 1 if layer.field.whole else min(layer.field.y.size / SIDE, 1)
        assert block["field"][0] == pytest.approx(share * found["frame"], abs=0.01)
