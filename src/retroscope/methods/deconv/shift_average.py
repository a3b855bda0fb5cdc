"""Averages over small shifts of the image, which remove the grid that strides leave.

A convolution of stride s reads its input at every s-th position, and a projection shows at which.
Moved by a pixel, the image meets the grid elsewhere. The projections, moved back, differ in the
grid and agree in what the unit sees (Odena 2016 on the grid; Smilkov 2017 on averaging).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import torch.nn.functional as F

from retroscope.engine.batching import NetworkInput
from retroscope.results.projections import Pixels, Projection

Offset = tuple[int, int]


def shift_offsets(shifts: int) -> list[Offset]:
    """The shifts along each axis, down and right, but for the image as it is.

    >>> shift_offsets(2)
    [(0, 1), (1, 0), (1, 1)]
    """
    steps = range(-((shifts - 1) // 2), shifts // 2 + 1)
    return [offset for offset in product(steps, steps) if offset != (0, 0)]


def shift_images(image: NetworkInput, offsets: Iterable[Offset]) -> Iterator[NetworkInput]:
    """The image moved down and right. What comes in from outside repeats its border."""
    height, width = image.size
    for down, right in offsets:
        margin = max(abs(down), abs(right))
        padded = F.pad(image.tensor[None], [margin] * 4, mode="replicate")[0]
        top, left = margin - down, margin - right
        yield replace(image, tensor=padded[:, top : top + height, left : left + width])


def average_shifts(
    projection: Projection, offsets: Iterable[Offset], shifted: Iterable[Projection]
) -> Projection:
    """The mean of a projection and of those in shifted images, moved back to the image's place."""
    total, count = projection.full().astype(np.float64), 1
    for offset, moved in zip(offsets, shifted, strict=True):
        total += _move_back(moved.full(), offset)
        count += 1
    box = projection.box
    pixels = (total / count)[box.top : box.bottom, box.left : box.right]
    note = f"averaged over {count} shifts of the image by up to a few pixels"
    return replace(
        projection,
        pixels=pixels.astype(projection.pixels.dtype),
        notes=(*projection.notes, note),
    )


def _move_back(pixels: Pixels, offset: Offset) -> Pixels:
    """The pixels moved up and left; what comes in from outside is zero."""
    down, right = offset
    height, width = pixels.shape[:2]
    result = np.zeros_like(pixels)
    rows = slice(max(0, -down), min(height, height - down))
    columns = slice(max(0, -right), min(width, width - right))
    result[rows, columns] = pixels[
        rows.start + down : rows.stop + down, columns.start + right : columns.stop + right
    ]
    return result
