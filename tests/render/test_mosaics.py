"""Mosaics: every tile at one scale, and a projection on the very pixels of its patch."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.imaging.image import GREY
from retroscope.render.layout import enlarge
from retroscope.render.mosaics import (
    LEGIBLE,
    TILE_KINDS,
    draw_tiles,
    legible_factor,
    mosaic,
    resize_projection,
    resize_tile,
    square_columns,
    tile_size,
)
from retroscope.render.theme import BAND, PAPER
from retroscope.render.tone import TONES, apply_tone
from retroscope.results.lighting import light_patch
from retroscope.results.projections import Pixels
from tests.render.figure_search import count_colour, find_block, pixels_of
from tests.render.specimens import corner_patch, patch, plate


def test_patches_stand_in_reading_order() -> None:
    patches = plate(40).patches
    figure = mosaic(patches, gap=2)
    places = [(y, x) for y in (0, 122, 244) for x in (0, 122, 244)]
    for hit, (y, x) in zip(patches, places, strict=True):
        [(top, left)] = find_block(figure, enlarge(hit.pixels, 3))
        assert (top, left) == (y + 3 * (40 - hit.pixels.shape[0]) // 2, x)


def test_a_field_that_leaves_the_image_is_clipped_to_it() -> None:
    example = corner_patch()
    assert tile_size(example) == (40, 30)
    assert example.projection is not None
    expected = {
        "patch": example.pixels,
        "projection": apply_tone(example.projection.pixels),
        "lit": light_patch(example.pixels, example.projection.pixels),
    }
    assert expected.keys() == TILE_KINDS.keys()
    for kind, pixels in expected.items():
        [tile] = draw_tiles([example], kind, factor=2)
        assert tile is not None
        np.testing.assert_array_equal(pixels_of(tile), pixels_of(enlarge(pixels, 2)))


def test_clipped_fields_are_in_the_middle_of_their_cells_at_the_scale_of_the_others() -> None:
    inner, corner = patch(50, 60, 60), corner_patch()
    figure = mosaic([inner, corner], columns=2, gap=0, scale=2)
    assert find_block(figure, enlarge(inner.pixels, 2)) == [(0, 0)]
    assert find_block(figure, enlarge(corner.pixels, 2)) == [(10, 100 + 20)]
    assert (pixels_of(figure)[:10, 100:200] == PAPER).all()


def test_projections_with_and_without_patches_beside_them_have_the_same_cells() -> None:
    example = corner_patch()
    assert tile_size(example) == tile_size(replace(example, projection=None))


def test_a_unit_that_sees_the_whole_image_has_a_ring_at_its_place() -> None:
    whole = patch(483, -130, -150)  # its middle pixel is 111, 91
    [tile] = draw_tiles([whole], "patch", factor=1)
    assert tile is not None
    changed = np.argwhere((pixels_of(tile) != whole.pixels).any(axis=2))
    assert np.abs(changed.mean(axis=0) - (111, 91)).max() <= 1
    distances = np.hypot(*(changed - (111, 91)).T)
    assert distances.max() - distances.min() < 6
    assert distances.max() < 224 / 8


def test_a_field_that_shows_nearly_the_whole_image_has_a_ring_too() -> None:
    nearly = patch(435, -217, -217)
    assert tile_size(nearly) == (218, 218)
    [tile] = draw_tiles([nearly], "patch", factor=0.5)
    assert tile is not None
    assert (pixels_of(tile) != pixels_of(resize_tile(nearly.pixels, 0.5))).any()


@pytest.mark.parametrize(("side", "top"), [(224, 0), (40, 20), (211, -100)])
def test_other_fields_have_no_ring(side: int, top: int) -> None:
    example = patch(side, top, top)
    [tile] = draw_tiles([example], "patch", factor=1)
    assert tile is not None
    np.testing.assert_array_equal(pixels_of(tile), example.pixels)


@pytest.mark.parametrize("side", [5, 40, 196, 483])
@pytest.mark.parametrize("gap", [0, 2])
def test_both_mosaics_are_of_one_size(side: int, gap: int) -> None:
    patches = plate(side).patches
    patch_mosaic, projection_mosaic = (
        mosaic(patches, kind=kind, gap=gap) for kind in ("patch", "projection")
    )
    assert patch_mosaic.size == projection_mosaic.size
    assert count_colour(patch_mosaic, PAPER) >= gap * 2 * (
        patch_mosaic.width + patch_mosaic.height - 2 * gap
    )


def test_a_field_larger_than_the_image_shows_the_image() -> None:
    whole = patch(483, -130, -150)
    assert tile_size(whole) == (224, 224)
    figure = mosaic([whole], scale=1)
    assert find_block(figure, enlarge(whole.pixels[:80], 1)) == [(0, 0)]


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_a_tile_is_legible_whatever_it_shows(height: int, width: int) -> None:
    factor, longer = legible_factor([(height, width)]), max(height, width)
    assert LEGIBLE / 1.5 < factor * longer < LEGIBLE * 1.5
    assert factor < 1 or factor == round(factor)


def test_tiles_of_different_sizes_share_the_factor_of_the_largest() -> None:
    assert legible_factor([(5, 5), (10, 56), (7, 7)]) == legible_factor([(56, 56)]) == 2


@pytest.mark.parametrize("tone", TONES)
def test_a_thin_line_keeps_its_contrast_when_it_shrinks(tone: str) -> None:
    pixels = np.zeros((200, 200, 3), np.float32)
    pixels[:, 99:101] = 1
    reduced = pixels_of(resize_projection(pixels, 0.25, tone))
    assert reduced.shape == (50, 50, 3)
    assert reduced.max() == 255
    assert (reduced[:, :15] == GREY).all()
    assert pixels_of(resize_tile(apply_tone(pixels, tone), 0.25)).max() < 255


def test_a_shrunk_projection_mirrors_with_its_sign() -> None:
    pixels = np.random.default_rng(0).standard_normal((60, 80, 3)).astype(np.float32)
    plus, minus = (pixels_of(resize_projection(sign * pixels, 0.5, "tile")) for sign in (1, -1))
    assert (plus.astype(int) + minus == 2 * GREY).all()


@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_a_value_that_is_not_finite_spoils_only_itself(factor: float) -> None:
    broken = _ramp(40)
    zeroed = broken.copy()
    broken[3, 4, 0], zeroed[3, 4, 0] = np.nan, 0
    figures = [resize_projection(pixels, factor, "tile").tobytes() for pixels in (broken, zeroed)]
    assert figures[0] == figures[1]


@pytest.mark.parametrize(("count", "across"), [(0, 3), (4, 3), (9, 3), (10, 4), (16, 4), (17, 5)])
def test_a_block_is_as_square_as_it_can_be(count: int, across: int) -> None:
    assert square_columns(count) == across


@pytest.mark.parametrize("count", [1, 4, 9])
def test_places_that_nothing_fills_are_pale(count: int) -> None:
    figure = mosaic(plate(40, count=count).patches, gap=0)
    assert figure.size == (360, 360)
    assert count_colour(figure, BAND) == (9 - count) * 118 * 118


def test_a_channel_without_patches_has_a_pale_mosaic() -> None:
    assert mosaic([], kind="projection").size == mosaic([]).size


def test_more_patches_make_more_rows() -> None:
    assert mosaic(plate(40, count=10).patches, gap=0).size == (360, 480)


def test_a_missing_projection_leaves_its_place_pale_but_for_a_dot_in_the_middle() -> None:
    figure = mosaic(plate(40, illustrated=8).patches, kind="projection", gap=0)
    place = pixels_of(figure)[241:359, 241:359]
    differs = (place != BAND).any(axis=2)
    y, x = np.nonzero(differs)
    assert abs(y.mean() - 58.5) <= 1
    assert abs(x.mean() - 58.5) <= 1
    assert 0 < differs.sum() < 100


def test_projections_that_nobody_made_are_refused() -> None:
    with pytest.raises(RetroscopeError, match="not projected yet; 'retroscope illustrate'"):
        mosaic(plate(40, illustrated=0).patches, kind="projection")


def test_a_projection_on_more_than_the_patch_lights_only_the_patch() -> None:
    example = corner_patch()
    assert example.projection is not None
    visible, whole = example.visible, example.projection.full()
    everywhere = replace(
        example.projection, box=Box(0, 0, *example.projection.size), pixels=whole, patch=None
    )
    [tile] = draw_tiles([replace(example, projection=everywhere)], "lit", factor=1)
    assert tile is not None
    inside = whole[visible.top : visible.bottom, visible.left : visible.right]
    np.testing.assert_array_equal(pixels_of(tile), light_patch(example.pixels, inside))


def test_an_unknown_kind_of_mosaic_is_refused() -> None:
    with pytest.raises(RetroscopeError, match="'projections'; did you mean 'projection'"):
        mosaic(plate(40).patches, kind="projections")


def test_a_mosaic_without_columns_is_refused() -> None:
    with pytest.raises(RetroscopeError, match="grid of 0 columns"):
        mosaic(plate(40).patches, columns=0)


def test_a_unit_that_sees_only_padding_has_a_grey_projection() -> None:
    example = corner_patch()
    assert example.projection is not None
    nothing = replace(
        example.projection, box=Box(0, 0, 0, 30), pixels=np.zeros((0, 30, 3), np.float32)
    )
    figure = mosaic([replace(example, projection=nothing)], kind="projection", scale=1)
    assert (pixels_of(figure)[:40, :30] == GREY).all()


def _ramp(side: int) -> Pixels:
    return np.linspace(-1, 1, side * side * 3, dtype=np.float32).reshape(side, side, 3)
