"""How alike images are at one place: a watermark is the same in all, a background is not."""

from collections.abc import Sequence
from math import nan

import numpy as np
import numpy.typing as npt
import PIL.Image

from retroscope.auditing.map_places import FRAMES
from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB

_CELLS = 8
"""Cells along each axis whose mean colours are compared: a mark may move by a pixel or two."""

Floats = npt.NDArray[np.float64]


def pixel_likeness(images: Sequence[RGB], place: Box | None) -> float:
    """The mean correlation of the pixels in a box, over all pairs of images; NaN for one image.

    1 for the same pixels in all of them, also at different brightness; about 0 for unrelated ones.
    Without a box, the pixels are those of the frame.
    """
    if len(images) < 2:
        return nan
    cells = np.stack([_cells(image, place) for image in images])
    cells -= cells.mean(axis=1, keepdims=True)
    flat = cells.reshape(len(images), -1)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    flat = np.divide(flat, norms, out=np.zeros_like(flat), where=norms > 0)
    pairs = len(images) * (len(images) - 1)
    return float((np.square(flat.sum(axis=0)).sum() - np.square(flat).sum()) / pairs)


def _cells(image: RGB, place: Box | None) -> Floats:
    """The mean colours of a grid of cells in the box, or around the image: (cells, 3)."""
    if place is None:
        grid = _mean_colours(image, FRAMES)
        ring = np.ones((FRAMES, FRAMES), np.bool_)
        ring[1:-1, 1:-1] = False
        return grid[ring]
    box = place.clip(image.shape[0], image.shape[1])
    return _mean_colours(image[box.top : box.bottom, box.left : box.right], _CELLS).reshape(-1, 3)


def _mean_colours(image: RGB, cells: int) -> Floats:
    grid = PIL.Image.fromarray(image).resize((cells, cells), PIL.Image.Resampling.BOX)
    return np.asarray(grid, np.float64)
