"""Activations: sixteen maps to a row, each by its own scale, and the dead plainly dead."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retroscope.render.bars import draw_bars
from retroscope.render.draw import draw
from retroscope.render.layout import GAP, MARGIN, enlarge, enlargement_factor
from retroscope.render.theme import ALARM, COOL, DEAD, WARM
from retroscope.render.tiles import map_condition, paint_map, tile_grid
from retroscope.render.tone import colour_map
from retroscope.results.projections import Pixels
from tests.render.figure_search import count_colour, find_block, margin_is_empty, pixels_of
from tests.render.specimens import activations, blobs, float32

SIDE = 66
"""An 11x11 map is enlarged six times."""


@pytest.mark.parametrize(
    ("channels", "across", "down"), [(3, 3, 1), (16, 16, 1), (17, 16, 2), (64, 16, 4)]
)
def test_sixteen_maps_stand_in_a_row(channels: int, across: int, down: int) -> None:
    sheet, single = (tile_grid(blobs(count, 11, 11), columns=16) for count in (channels, 1))
    assert single.width == SIDE
    assert sheet.width == across * (SIDE + GAP) - GAP
    assert sheet.height == down * (single.height + GAP) - GAP


def test_a_row_holds_the_columns_that_were_asked_for() -> None:
    figure = draw(activations(blobs(40, 11, 11)), columns=20)
    assert figure.width == 20 * (SIDE + GAP) - GAP + 2 * MARGIN


def test_maps_stand_in_reading_order_in_their_own_heat() -> None:
    maps = blobs(18, 11, 11)
    figure = draw(activations(maps))
    positions = [find_block(figure, enlarge(colour_map(values), 6)) for values in maps]
    assert [len(matches) for matches in positions] == [1] * 18
    assert sorted(positions) == positions


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 0, 0], "dead"),
        ([-0.0, 0, 0], "dead"),
        ([2, 2, 2], "constant"),
        ([-1, -1, -1], "constant"),
        ([0, 0, 1e-30], "live"),
        ([0, np.nan, 0], "not finite"),
        ([0, -np.inf, 0], "not finite"),
    ],
)
def test_the_condition_of_a_map(values: list[float], expected: str) -> None:
    assert map_condition(float32([values])) == expected


def test_dead_constant_and_live_maps_cannot_be_taken_for_each_other() -> None:
    dead, constant, faint = np.zeros((3, 11, 11), np.float32)
    constant[:], faint[0, 0] = 1, 1e-30
    tiles = [tile_grid(values[None], columns=1) for values in (dead, constant, faint)]
    assert len({tile.tobytes() for tile in tiles}) == 3
    assert [count_colour(tile, DEAD) > SIDE * SIDE / 2 for tile in tiles] == [True, True, False]


def test_a_value_that_is_not_finite_is_seen_and_hides_nothing_else() -> None:
    values = blobs(1, 11, 11)[0]
    broken = values.copy()
    broken[0, 0] = np.nan
    pixels, plain = paint_map(broken, signed=False), paint_map(values, signed=False)
    assert (pixels[0, 0] == ALARM).all()
    assert (pixels.reshape(-1, 3)[1:] == plain.reshape(-1, 3)[1:]).all()
    assert count_colour(tile_grid(broken[None], columns=1), ALARM) >= 36 + 3 * SIDE


def test_all_maps_of_a_layer_share_one_kind_of_scale() -> None:
    maps = blobs(2, 11, 11)
    maps[1, 0, 0] = -1
    figure = draw(activations(maps))
    assert find_block(figure, enlarge(colour_map(maps[0], signed=True), 6))
    assert not find_block(figure, enlarge(colour_map(maps[0]), 6))


def test_each_map_is_scaled_by_itself() -> None:
    maps = blobs(5, 11, 11)
    factors = float32([1, 2, 4, 0.5, 1024])[:, None, None]
    assert tile_grid(maps, columns=5).tobytes() == tile_grid(maps * factors, columns=5).tobytes()


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(2, 40), st.integers(2, 40), st.integers(1, 20))
def test_every_size_of_map_fits_its_figure(
    channels: int, height: int, width: int, columns: int
) -> None:
    maps = blobs(channels, height, width)
    figure = draw(activations(maps), columns=columns)
    factor = enlargement_factor(height, width, visible=64)
    assert margin_is_empty(figure)
    assert all(find_block(figure, enlarge(colour_map(values), factor)) for values in maps[:3])


def test_a_channel_number_never_touches_the_next_tile() -> None:
    maps = blobs(1025, 2, 2)
    figure = tile_grid(maps, columns=16, scale=1)
    single = tile_grid(maps[:1], columns=1, scale=1)
    assert figure.width > 16 * (single.width + GAP)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5000))
def test_every_length_of_vector_fits_its_figure(channels: int) -> None:
    values = np.sin(np.arange(channels, dtype=np.float32)).reshape(-1, 1, 1)
    figure = draw(activations(values, kind="linear"))
    assert margin_is_empty(figure)
    assert figure.width <= 1200


def test_bars_are_as_long_as_their_values() -> None:
    pixels = pixels_of(draw_bars(float32([4, 2, 1, 0, -4])))
    warm, cool = ((pixels == colour).all(axis=2) for colour in (WARM, COOL))
    bar_width = 36
    lengths = [warm[:, n * bar_width].sum() for n in range(4)]
    assert lengths[0] - 1 == pytest.approx(2 * (lengths[1] - 1), abs=1.5)
    assert lengths[1] - 1 == pytest.approx(2 * (lengths[2] - 1), abs=1.5)
    assert lengths[3] == 0
    assert cool[:, 4 * bar_width].sum() == pytest.approx(lengths[0], abs=1)


def test_positive_bars_rise_from_where_negative_ones_hang() -> None:
    pixels = pixels_of(draw_bars(float32([3, -2])))
    warm, cool = (
        np.flatnonzero((pixels == colour).all(axis=(2)).any(axis=1)) for colour in (WARM, COOL)
    )
    assert warm.max() == cool.min()


def test_all_bands_of_bars_share_one_scale() -> None:
    values = np.full(1024, 1, np.float32)
    values[0] = 2
    pixels = (pixels_of(draw_bars(values)) == WARM).all(axis=2)
    first, last = pixels[:, 4].sum(), pixels[:, 2].sum()
    assert first == last
    assert pixels[:, 0].sum() > pixels[:, 2].sum()


def test_a_bar_that_is_not_finite_fills_its_height() -> None:
    pixels = (pixels_of(draw_bars(float32([1, np.nan, 2]))) == ALARM).all(axis=2)
    assert pixels[:80, 36].all()


@pytest.mark.parametrize("size", [(17, 1), (1, 17)])
def test_tokens_are_a_matrix_with_a_column_for_each_channel(size: tuple[int, int]) -> None:
    maps = np.abs(np.random.default_rng(0).standard_normal((24, *size))).astype(np.float32)
    scaled = maps.reshape(24, 17) / maps.reshape(24, 17).max(axis=1, keepdims=True)
    figure = draw(activations(maps, kind="block"), scale=4)
    assert len(find_block(figure, enlarge(colour_map(scaled.T), 4))) == 1


def test_many_channels_of_tokens_are_broken_into_bands() -> None:
    figure = draw(activations(_tokens(3000), kind="block"))
    assert margin_is_empty(figure)
    assert figure.width == 1024 + 2 * MARGIN


def _tokens(channels: int) -> Pixels:
    return np.random.default_rng(0).standard_normal((channels, 5, 1)).astype(np.float32)
