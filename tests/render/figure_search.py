"""Search of figures: for a block, for a colour, and for an empty margin."""

import numpy as np
from PIL import Image

from retroscope.imaging.decoding import RGB
from retroscope.render.layout import MARGIN
from retroscope.render.theme import PAPER, Colour


def pixels_of(figure: Image.Image) -> RGB:
    """The figure as an array."""
    return np.asarray(figure.convert("RGB"))


def find_block(figure: Image.Image, block: Image.Image) -> list[tuple[int, int]]:
    """Every `(y, x)` at which the figure contains the block, pixel for pixel."""
    whole, part = pixels_of(figure), pixels_of(block)
    height, width = part.shape[:2]
    rows, columns = whole.shape[0] - height + 1, whole.shape[1] - width + 1
    if rows < 1 or columns < 1:
        return []
    may_start = (whole[:rows, :columns] == part[0, 0]).all(axis=2)
    may_start &= (whole[height - 1 :, width - 1 :] == part[-1, -1]).all(axis=2)
    candidates = [(int(y), int(x)) for y, x in np.argwhere(may_start)]
    return [(y, x) for y, x in candidates if (whole[y : y + height, x : x + width] == part).all()]


def count_colour(figure: Image.Image, colour: Colour) -> int:
    """The number of pixels with exactly this colour."""
    return int((pixels_of(figure) == colour).all(axis=2).sum())


def margin_is_empty(figure: Image.Image) -> bool:
    """Whether the margin of the figure is empty."""
    border = pixels_of(figure).copy()
    border[MARGIN:-MARGIN, MARGIN:-MARGIN] = PAPER
    return bool((border == PAPER).all())
