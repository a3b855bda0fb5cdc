"""Figures of each kind of result, compared with approved snapshots."""

import numpy as np

from retroscope.render.draw import draw
from retroscope.render.theme import PAPER
from retroscope.results.projections import Pixels
from tests.render import specimens
from tests.render.snapshot import assert_looks_like, describe_difference

NOTES = ("Max-pool switches are those of the forward pass.", "Biases play no part on the way back.")


def test_a_projection_looks_as_approved() -> None:
    assert_looks_like(draw(specimens.projection(92, 92, notes=NOTES)), "projection")


def test_a_sheet_of_small_projections_looks_as_approved() -> None:
    examples = [specimens.projection(5, 5, channel=channel) for channel in range(9)]
    assert_looks_like(draw(examples), "projections")


def test_maps_look_as_approved() -> None:
    assert_looks_like(
        draw(specimens.activations(_with_troubles(specimens.blobs(20, 14, 14)))), "maps"
    )


def test_signed_maps_look_as_approved() -> None:
    maps = _with_troubles(specimens.blobs(20, 14, 14, lowest=-1))
    assert_looks_like(draw(specimens.activations(maps, kind="conv")), "maps_signed")


def test_a_vector_looks_as_approved() -> None:
    values = specimens.stripes(10, 60)[..., 0].reshape(-1, 1, 1)
    assert_looks_like(draw(specimens.activations(values, kind="linear")), "vector")


def test_a_table_of_layers_looks_as_approved() -> None:
    assert_looks_like(draw(specimens.layers(12)), "layers")


def test_a_missing_caption_does_not_look_as_approved() -> None:
    figure = draw(specimens.projection(92, 92))
    wiped = figure.copy()
    wiped.paste(PAPER, (0, figure.height - 40, figure.width, figure.height - 20))
    assert describe_difference(figure, figure) is None
    assert describe_difference(wiped, figure) is not None


def test_another_scale_does_not_look_as_approved() -> None:
    example = specimens.projection()
    assert describe_difference(draw(example, scale=2), draw(example, scale=3)) is not None


def _with_troubles(maps: Pixels) -> Pixels:
    maps[3], maps[7] = 0, 2.5
    maps[10, 2:4, 3:5], maps[11, 0, 0] = np.nan, np.inf
    return maps
