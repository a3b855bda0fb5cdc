"""How alike images are at one place: a watermark is the same in all, a background is not."""

from collections.abc import Sequence
from math import nan

import numpy as np
import PIL.Image

from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB

_CELLS = 8
"""Cells along each axis whose mean colours are compared: a mark may move by a pixel or two."""


def pixel_likeness(images: Sequence[RGB], box: Box) -> float:
    """The mean correlation of the pixels in this box, over all pairs of images; NaN for one image.

    1 for the same pixels in all of them, also at different brightness; about 0 for unrelated ones.
    """
    if len(images) < 2:
        return nan
    cells = np.stack([_cells(image, box) for image in images])
    cells -= cells.mean(axis=1, keepdims=True)
    flat = cells.reshape(len(images), -1)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    flat = np.divide(flat, norms, out=np.zeros_like(flat), where=norms > 0)
    pairs = len(images) * (len(images) - 1)
    return float((np.square(flat.sum(axis=0)).sum() - np.square(flat).sum()) / pairs)


def _cells(image: RGB, box: Box) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The mean colours of a grid of cells: (cells, 3)."""
    visible = box.clip(image.shape[0], image.shape[1])
    crop = PIL.Image.fromarray(image).crop(
        (visible.left, visible.top, visible.right, visible.bottom)
    )
    grid = crop.resize((_CELLS, _CELLS), PIL.Image.Resampling.BOX)
    return np.asarray(grid, np.float64).reshape(-1, 3)
