"""Figures from blocks: nothing is covered, moved or resized."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from retroscope.errors import RetroscopeError
from retroscope.render.layout import (
    MARGIN,
    VISIBLE,
    add_border,
    column,
    enlarge,
    enlargement_factor,
    grid,
    pad,
    page,
    row,
)
from retroscope.render.theme import PAPER, Colour
from tests.render.figure_search import count_colour, margin_is_empty, pixels_of

SIDES = st.integers(1, 30)
SIZES = st.tuples(SIDES, SIDES)
RED: Colour = (200, 0, 0)


@given(st.integers(1, 40), st.integers(1, 20), SIZES, st.integers(0, 9))
def test_a_grid_is_as_large_as_its_equal_cells(
    count: int, columns: int, size: tuple[int, int], gap: int
) -> None:
    across, down = min(count, columns), -(-count // columns)
    expected = tuple(n * (side + gap) - gap for n, side in zip((across, down), size, strict=True))
    assert grid([_red(size)] * count, columns=columns, gap=gap).size == expected


@given(st.lists(SIZES, min_size=1, max_size=12), st.integers(1, 5), st.integers(0, 9))
def test_no_block_of_a_grid_covers_another(
    sizes: list[tuple[int, int]], columns: int, gap: int
) -> None:
    sheet = grid([_red(size) for size in sizes], columns=columns, gap=gap)
    assert count_colour(sheet, RED) == sum(width * height for width, height in sizes)


@given(st.lists(SIZES, min_size=1, max_size=8), st.integers(0, 9))
def test_rows_and_columns_add_up(sizes: list[tuple[int, int]], gap: int) -> None:
    blocks = [_red(size) for size in sizes]
    widths, heights = zip(*sizes, strict=True)
    between = gap * (len(sizes) - 1)
    assert row(blocks, gap=gap).size == (sum(widths) + between, max(heights))
    assert column(blocks, gap=gap).size == (max(widths), sum(heights) + between)


@given(st.lists(SIZES, min_size=1, max_size=4))
def test_a_page_has_an_empty_margin_on_each_side(sizes: list[tuple[int, int]]) -> None:
    figure = page([_red(size) for size in sizes])
    assert margin_is_empty(figure)
    assert (pixels_of(figure)[MARGIN, MARGIN] == RED).all()


@given(SIZES, SIZES)
def test_padding_only_adds_paper(size: tuple[int, int], least: tuple[int, int]) -> None:
    for right in (False, True):
        cell = pad(_red(size), width=least[0], height=least[1], right=right)
        assert cell.size == (max(size[0], least[0]), max(size[1], least[1]))
        assert count_colour(cell, RED) == size[0] * size[1]
        assert count_colour(cell, PAPER) == cell.width * cell.height - size[0] * size[1]


def test_a_frame_goes_around_a_block() -> None:
    assert add_border(_red((5, 7))).crop((1, 1, 6, 8)).tobytes() == _red((5, 7)).tobytes()


@given(st.integers(1, 8), SIZES)
def test_an_enlarged_pixel_is_a_square(factor: int, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    square = np.ones((factor, factor, 1), np.uint8)
    assert (pixels_of(enlarge(pixels, factor)) == np.kron(pixels, square)).all()


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_tile_is_enlarged_until_it_is_visible_and_no_further(height: int, width: int) -> None:
    factor, longer = enlargement_factor(height, width), max(height, width, 1)
    assert factor * longer >= VISIBLE
    assert factor == 1 or (factor - 1) * longer < VISIBLE


def test_the_scale_that_was_asked_for_is_used() -> None:
    assert enlargement_factor(5, 5, scale=3) == 3


@pytest.mark.parametrize("scale", [0, -2])
def test_a_scale_below_one_is_refused(scale: int) -> None:
    with pytest.raises(RetroscopeError, match=f"cannot draw at scale {scale}"):
        enlargement_factor(5, 5, scale=scale)


def test_a_grid_without_columns_is_refused() -> None:
    with pytest.raises(RetroscopeError, match="grid of 0 columns"):
        grid([_red((2, 2))], columns=0)


def test_an_image_without_pixels_is_still_seen() -> None:
    tile = enlarge(np.zeros((0, 3, 3), np.uint8), 2)
    assert min(tile.size) > 0
    assert count_colour(tile, PAPER) == 0


def _red(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, RED)
