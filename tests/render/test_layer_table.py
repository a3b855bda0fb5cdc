"""The table of layers, as text, as JSON and as a figure."""

import json

import pytest

from retroscope.geometry import Field, ReceptiveField
from retroscope.render.draw import draw
from retroscope.render.layer_table import LAYER_COLUMNS, layer_cells
from retroscope.results.as_json import layer_json
from retroscope.results.layers import Layer
from tests.render.figure_search import margin_is_empty
from tests.render.specimens import layers

GATED = Layer(
    name="features.1.block",
    kind="conv",
    channels=32,
    size=(112, 56),
    field=ReceptiveField(Field(11, 2, -5), Field(7, 4, -3), global_context=True),
    aliases=("conv3", "conv2_1"),
    note="a gate reads the whole image",
)


def test_a_layer_as_cells_of_text() -> None:
    cells = dict(zip(LAYER_COLUMNS, layer_cells(GATED), strict=True))
    assert cells == {
        "layer": "features.1.block",
        "also": "conv3, conv2_1",
        "kind": "conv",
        "channels": "32",
        "size": "112x56",
        "field": str(GATED.field),
    }


def test_a_layer_survives_json() -> None:
    assert json.loads(json.dumps(layer_json(GATED))) == {
        "name": "features.1.block",
        "aliases": ["conv3", "conv2_1"],
        "convolution": [],
        "kind": "conv",
        "channels": 32,
        "size": [112, 56],
        "extra_tokens": 0,
        "field": {
            "size": [11, 7],
            "stride": [2, 4],
            "start": [-5, -3],
            "whole": False,
            "global_context": True,
        },
        "note": "a gate reads the whole image",
    }


def test_every_layer_has_a_line_of_its_own() -> None:
    heights = [draw(layers(count)).height for count in (1, 2, 3, 10)]
    step = heights[1] - heights[0]
    assert step > 0
    assert heights[2] - heights[1] == step
    assert heights[3] - heights[2] == 7 * step


def test_a_note_stands_below_the_table() -> None:
    noted = Layer(**{**vars(layers(1)[0]), "note": "the field is the whole image"})
    assert draw([noted]).height > draw(layers(1)).height


@pytest.mark.parametrize("length", [1, 40, 400])
def test_a_name_of_any_length_fits_the_table(length: int) -> None:
    renamed = Layer(**{**vars(GATED), "name": "m" * length, "aliases": ("a" * length,) * 3})
    figure = draw([renamed])
    assert margin_is_empty(figure)
    assert figure.width < 1400
