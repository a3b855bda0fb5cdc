"""Averages over small shifts of the image, which remove the grid that strides leave.

A convolution of stride s reads its input at every s-th position, and a projection shows at which.
Moved by a pixel, the image meets the grid elsewhere. The projections, moved back, differ in the
grid and agree in what the unit sees (Odena 2016 on the grid; Smilkov 2017 on averaging).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import torch.nn.functional as F

from retroscope.engine.batching import NetworkInput
from retroscope.results.projections import Pixels, Projection

Offset = tuple[int, ...]


def shift_offsets(shifts: int, size: Sequence[int]) -> list[Offset]:
    """The shifts of an image of this size along each axis, down and right, but for the image as it
    is. Along an axis of one position, such as the depth of one slice, nothing can be shifted.

    >>> shift_offsets(2, (8, 8)), shift_offsets(2, (8, 1))
    ([(0, 1), (1, 0), (1, 1)], [(1, 0)])
    """
    steps = range(-((shifts - 1) // 2), shifts // 2 + 1)
    along_axes = [steps if length > 1 else (0,) for length in size]
    return [offset for offset in product(*along_axes) if any(offset)]


def shift_images(image: NetworkInput, offsets: Iterable[Offset]) -> Iterator[NetworkInput]:
    """The image moved down and right. What comes in from outside repeats its border."""
    size = image.size
    for offset in offsets:
        margin = max(map(abs, offset))
        padded = F.pad(image.tensor[None], [margin] * 2 * len(size), mode="replicate")[0]
        kept = (
            slice(margin - shift, margin - shift + length)
            for shift, length in zip(offset, size, strict=True)
        )
        yield replace(image, tensor=padded[(slice(None), *kept)])


def average_shifts(
    projection: Projection, offsets: Iterable[Offset], shifted: Iterable[Projection]
) -> Projection:
    """The mean of a projection and of those in shifted images, moved back to the image's place."""
    total, count = projection.full().astype(np.float64), 1
    for offset, moved in zip(offsets, shifted, strict=True):
        total += _move_back(moved.full(), offset)
        count += 1
    pixels = (total / count)[projection.box.slices(len(projection.size))]
    note = f"averaged over {count} shifts of the image by up to a few pixels"
    return replace(
        projection,
        pixels=pixels.astype(projection.pixels.dtype),
        notes=(*projection.notes, note),
    )


def _move_back(pixels: Pixels, offset: Offset) -> Pixels:
    """The pixels moved up and left; what comes in from outside is zero."""
    result = np.zeros_like(pixels)
    pairs = list(zip(offset, pixels.shape, strict=False))
    if any(abs(shift) >= length for shift, length in pairs):
        return result
    inside = [(max(0, -shift), min(length, length - shift)) for shift, length in pairs]
    moved = zip(inside, offset, strict=True)
    result[tuple(slice(*interval) for interval in inside)] = pixels[
        tuple(slice(start + shift, stop + shift) for (start, stop), shift in moved)
    ]
    return result
