"""Figures from blocks: pictures set beside and below each other, never over each other."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from retroscope.errors import RetroscopeError
from retroscope.render.theme import BAND, HAIRLINE, PAPER
from retroscope.results.values import Picture

MARGIN = 20
GAP = 8
TIGHT = 3
VISIBLE = 96
"""Pixels that the longer side of an enlarged tile has at least."""

CLEAR = 176
"""The same where a few pictures are all that is shown."""

_NOTHING = 24


def row(blocks: Sequence[Image.Image], *, gap: int = GAP) -> Image.Image:
    """Blocks side by side, their tops level."""
    height = max((block.height for block in blocks), default=1)
    sheet = blank(sum(block.width + gap for block in blocks) - gap, height)
    left = 0
    for block in blocks:
        sheet.paste(block, (left, 0))
        left += block.width + gap
    return sheet


def column(blocks: Sequence[Image.Image], *, gap: int = GAP) -> Image.Image:
    """Blocks one below the other, their left edges level."""
    width = max((block.width for block in blocks), default=1)
    sheet = blank(width, sum(block.height + gap for block in blocks) - gap)
    top = 0
    for block in blocks:
        sheet.paste(block, (0, top))
        top += block.height + gap
    return sheet


def grid(blocks: Sequence[Image.Image], *, columns: int, gap: int = GAP) -> Image.Image:
    """Blocks in reading order, in cells that are all as large as the largest block.

    >>> grid([Image.new("RGB", (10, 6))] * 5, columns=3, gap=2).size
    (34, 14)
    """
    if columns < 1:
        raise RetroscopeError(f"a grid of {columns} columns holds nothing; give 1 or more")
    width = max((block.width for block in blocks), default=1)
    height = max((block.height for block in blocks), default=1)
    cells = [padded(block, width=width, height=height) for block in blocks]
    lines = [cells[n : n + columns] for n in range(0, len(cells), columns)]
    return column([row(line, gap=gap) for line in lines], gap=gap)


def page(blocks: Sequence[Image.Image], *, gap: int = GAP) -> Image.Image:
    """A finished figure: blocks one below the other, with a margin all around."""
    body = column(blocks, gap=gap)
    sheet = blank(body.width + 2 * MARGIN, body.height + 2 * MARGIN)
    sheet.paste(body, (MARGIN, MARGIN))
    return sheet


def padded(
    block: Image.Image, *, width: int = 0, height: int = 0, right: bool = False
) -> Image.Image:
    """A block on paper of at least this size, at its left or right edge."""
    sheet = blank(max(width, block.width), max(height, block.height))
    sheet.paste(block, (sheet.width - block.width if right else 0, 0))
    return sheet


def framed(block: Image.Image) -> Image.Image:
    """A block with a hairline around it, so that a white picture has an edge."""
    sheet = Image.new("RGB", (block.width + 2, block.height + 2), HAIRLINE)
    sheet.paste(block, (1, 1))
    return sheet


def enlarged(picture: Picture, factor: int) -> Image.Image:
    """Each pixel as a square of `factor` pixels. A picture without pixels is an empty frame."""
    if picture.size == 0:
        return _nothing(*(max(side * factor, _NOTHING) for side in picture.shape[:2]))
    grown = np.repeat(np.repeat(picture, factor, axis=0), factor, axis=1)
    return Image.fromarray(np.ascontiguousarray(grown))


def _nothing(height: int, width: int) -> Image.Image:
    block = Image.new("RGB", (width, height), BAND)
    ImageDraw.Draw(block).line((0, height - 1, width - 1, 0), fill=HAIRLINE)
    return block


def factor_for(height: int, width: int, *, visible: int = VISIBLE, scale: int | None = None) -> int:
    """The smallest enlargement that makes a tile visible, or the one that was asked for.

    >>> factor_for(5, 5), factor_for(224, 224)
    (20, 1)
    """
    if scale is None:
        return max(-(-visible // max(height, width, 1)), 1)
    if scale < 1:
        raise RetroscopeError(f"cannot draw at scale {scale}; give a whole number from 1 up")
    return scale


def blank(width: int, height: int) -> Image.Image:
    """Empty paper."""
    return Image.new("RGB", (max(width, 1), max(height, 1)), PAPER)
