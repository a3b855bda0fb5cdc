"""Layout of figures: blocks are placed beside and below each other, and never overlap."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from retroscope.errors import RetroscopeError
from retroscope.imaging.decoding import RGB
from retroscope.render.theme import BAND, HAIRLINE, PAPER

MARGIN = 20
GAP = 8
TIGHT = 3
VISIBLE = 96
"""Minimum pixels on the longer side of an enlarged tile."""

CLEARLY_VISIBLE = 176
"""The same for a figure with only a few tiles."""

_EMPTY_SIDE, _STRIP_WIDTH = 24, 1000


def row(blocks: Sequence[Image.Image], *, gap: int = GAP) -> Image.Image:
    """Blocks side by side, aligned at the top."""
    height = max((block.height for block in blocks), default=1)
    sheet = blank(sum(block.width + gap for block in blocks) - gap, height)
    left = 0
    for block in blocks:
        sheet.paste(block, (left, 0))
        left += block.width + gap
    return sheet


def column(blocks: Sequence[Image.Image], *, gap: int = GAP) -> Image.Image:
    """Blocks one below the other, aligned at the left."""
    width = max((block.width for block in blocks), default=1)
    sheet = blank(width, sum(block.height + gap for block in blocks) - gap)
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height + gap
    return sheet


def grid(blocks: Sequence[Image.Image], *, columns: int, gap: int = GAP) -> Image.Image:
    """Blocks in reading order, in cells of equal size: as wide and as high as the largest block.

    >>> grid([Image.new("RGB", (10, 6))] * 5, columns=3, gap=2).size
    (34, 14)
    """
    if columns < 1:
        raise RetroscopeError(f"cannot draw a grid of {columns} columns; give 1 or more")
    width = max((block.width for block in blocks), default=1)
    height = max((block.height for block in blocks), default=1)
    cells = [pad(block, width=width, height=height) for block in blocks]
    lines = [cells[n : n + columns] for n in range(0, len(cells), columns)]
    return column([row(line, gap=gap) for line in lines], gap=gap)


def page(blocks: Sequence[Image.Image], *, gap: int = GAP) -> Image.Image:
    """A finished figure: blocks one below the other, with a margin on all sides."""
    return ImageOps.expand(column(blocks, gap=gap), MARGIN, PAPER)


def pad(block: Image.Image, *, width: int = 0, height: int = 0, right: bool = False) -> Image.Image:
    """A block padded with paper to at least this size, at the top left or the top right."""
    sheet = blank(max(width, block.width), max(height, block.height))
    sheet.paste(block, (sheet.width - block.width if right else 0, 0))
    return sheet


def add_border(block: Image.Image) -> Image.Image:
    """A block with a hairline around it, which gives a white image an edge."""
    return ImageOps.expand(block, 1, HAIRLINE)


def enlarge(pixels: RGB, factor: int) -> Image.Image:
    """Each pixel as a square of `factor` pixels. Without any pixels, an empty tile."""
    height, width = pixels.shape[:2]
    if pixels.size == 0:
        return _empty_tile(max(height * factor, _EMPTY_SIDE), max(width * factor, _EMPTY_SIDE))
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return image.resize((width * factor, height * factor), Image.Resampling.NEAREST)


def _empty_tile(height: int, width: int) -> Image.Image:
    block = Image.new("RGB", (width, height), BAND)
    ImageDraw.Draw(block).line((0, height - 1, width - 1, 0), fill=HAIRLINE)
    return block


def enlargement_factor(
    height: int, width: int, *, visible: int = VISIBLE, scale: int | None = None
) -> int:
    """`scale`, or the smallest factor that enlarges a tile to `visible` pixels.

    >>> enlargement_factor(5, 5), enlargement_factor(224, 224)
    (20, 1)
    """
    if scale is None:
        return max(-(-visible // max(height, width, 1)), 1)
    if scale < 1:
        raise RetroscopeError(f"cannot draw at scale {scale}; give a whole number from 1 up")
    return scale


def strip_factor(
    height: int, width: int, count: int, *, visible: int = VISIBLE, scale: int | None = None
) -> int:
    """As `enlargement_factor`, for `count` slices in a row: each is visible, if the row is no wider
    than a page.

    >>> strip_factor(16, 8 * 16, 8), strip_factor(112, 8 * 112, 8), strip_factor(16, 16, 1)
    (6, 1, 6)
    """
    factor = enlargement_factor(height, width, visible=visible, scale=scale)
    if scale is not None or count < 2:
        return factor
    side = max(height, width // count)
    return max(factor, min(enlargement_factor(side, side), _STRIP_WIDTH // max(width, 1)))


def blank(width: int, height: int) -> Image.Image:
    """Empty paper."""
    return Image.new("RGB", (max(width, 1), max(height, 1)), PAPER)
