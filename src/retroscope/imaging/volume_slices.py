"""Volumes and clips: the slices of a file or a folder, of which a network takes a number.

A slice is an image; the slices of a clip are its frames. A network that takes `depth` slices gets
as many evenly spaced ones of whatever an image has: the middle one of each of `depth` equal parts.
Of fewer, some are repeated. No slice is mixed of others.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np
import PIL.Image

from retroscope.errors import ImageError
from retroscope.imaging.decoding import (
    DAMAGE,
    MAX_PIXELS,
    TooLargeError,
    report_damage,
    to_rgb_pil,
)
from retroscope.imaging.raster import (
    MAX_VALUES,
    AnyValues,
    accepted_counts,
    refuse_impossible_raster,
    refuse_unusable_type,
)

Slice = PIL.Image.Image | AnyValues
"""A photograph of mode RGB, or an array (height, width, channels) in the units of a file."""


class Slices(Protocol):
    """The slices of a volume or a clip, which are read when they are needed."""

    @property
    def count(self) -> int:
        """How many there are."""

    def read(self, numbers: Sequence[int]) -> Iterator[Slice]:
        """Those with these numbers, which ascend and may be repeated."""


def evenly_spaced(count: int, depth: int) -> list[int]:
    """Which of `count` slices a network of `depth` slices gets: the middles of equal parts.

    >>> evenly_spaced(75, 5), evenly_spaced(3, 3), evenly_spaced(2, 4)
    ([7, 22, 37, 52, 67], [0, 1, 2], [0, 0, 1, 1])
    """
    return [(2 * number + 1) * count // (2 * depth) for number in range(depth)]


def describe_choice(count: int, depth: int) -> tuple[str, ...]:
    """The note on slices that are left out or repeated; slices count from 1 there.

    >>> describe_choice(75, 5)
    ('5 of 75 slices are used, evenly spaced, from slice 8 to slice 68',)
    """
    if count == depth:
        return ()
    if count < depth:
        return (f"{count} slices are repeated evenly, since the network takes {depth}",)
    first, last = evenly_spaced(count, depth)[0] + 1, evenly_spaced(count, depth)[-1] + 1
    span = f"slice {first}" if first == last else f"from slice {first} to slice {last}"
    used = "slice is" if depth == 1 else "slices are"
    return (f"{depth} of {count} {used} used, evenly spaced, {span}",)


@dataclass(frozen=True, eq=False)
class ArraySlices:
    """The slices of an array (depth, height, width, channels)."""

    values: AnyValues

    @property
    def count(self) -> int:
        return len(self.values)

    def read(self, numbers: Sequence[int]) -> Iterator[Slice]:
        return (self.values[number] for number in numbers)


@dataclass(frozen=True, eq=False)
class PageSlices:
    """The frames of an animation, or the pages of a file, that Pillow reads as photographs."""

    image: PIL.Image.Image
    pages: Sequence[int]
    name: str

    @property
    def count(self) -> int:
        return len(self.pages)

    def read(self, numbers: Sequence[int]) -> Iterator[Slice]:
        page, size = self.image.tell(), self.image.size
        try:
            for number in numbers:
                with report_damage(f"slice {number + 1} of {self.name}"):
                    self.image.seek(self.pages[number])
                    frame = to_rgb_pil(self.image.copy())
                self._check_size(frame, number, size)
                yield frame
        finally:
            with suppress(*DAMAGE):
                self.image.seek(page)  # it may be the user's own

    def _check_size(self, frame: PIL.Image.Image, number: int, size: tuple[int, int]) -> None:
        if frame.size != size:
            raise ImageError(
                f"{self.name} has pages of different sizes: slice {number + 1} is {frame.height} x "
                f"{frame.width} and another {size[1]} x {size[0]} pixels; save its slices in one "
                "size"
            )


def as_slices(array: AnyValues, channels: int, name: str) -> ArraySlices:
    """The slices of an array for a network that takes `channels`.

    >>> as_slices(np.zeros((2, 16, 8, 9)), 2, "a.npy").values.shape
    (16, 8, 9, 2)
    >>> as_slices(np.zeros((16, 8, 9)), 1, "a.npy").count
    16
    """
    axis = _channel_axis(array.shape, channels, name)
    refuse_unusable_type(array.dtype, name)
    values = np.moveaxis(array[..., None] if array.ndim == 3 else array, axis, 3)
    refuse_impossible_volume(values.shape, name)
    return ArraySlices(values)


def refuse_impossible_volume(shape: Sequence[int], name: str) -> None:
    """Raises for volumes that are empty or too large.

    The shape is (depth, height, width, channels). The size of a slice is checked as that of an
    image.
    """
    depth, height, width, channels = shape
    if depth < 1:
        raise ImageError(f"{name} has no slices")
    refuse_impossible_raster((height, width, channels), name)
    if prod(shape) > MAX_VALUES:
        raise TooLargeError(
            f"{name} has {prod(shape):,} values in {depth:,} slices of {height} x {width}, over "
            f"the limit of {MAX_VALUES:,}; cut it into parts or make it smaller"
        )


def volume_shape(shape: Sequence[int], channels: int, name: str) -> tuple[int, int, int, int]:
    """Depth, height, width and channels of an array of this shape.

    >>> volume_shape((16, 8, 9), 1, "a.npy")
    (16, 8, 9, 1)
    """
    axis = _channel_axis(shape, channels, name)
    sizes = [*shape, 1][:4]
    count = sizes.pop(axis)
    return sizes[0], sizes[1], sizes[2], count


def _channel_axis(shape: Sequence[int], channels: int, name: str) -> int:
    """The dimension of the channels: of three, one to be added; of four, the first or the last."""
    numbers, counts = tuple(shape), accepted_counts(channels)
    if len(numbers) not in (3, 4):
        raise ImageError(
            f"{name} has shape {numbers}, and the network takes volumes: (depth, height, width), "
            "(channels, depth, height, width) or (depth, height, width, channels)"
        )
    if len(numbers) == 3:
        if 1 not in counts:
            raise ImageError(
                f"{name} has shape {numbers}, which is one channel of (depth, height, width), and "
                f"the network takes {channels}; add a dimension of the channels, first or last"
            )
        return 3
    is_first, is_last = numbers[0] in counts, numbers[3] in counts
    if is_first and is_last:
        raise ImageError(
            f"{name} has shape {numbers}, whose channels may come first or last; pad or crop the "
            "volume to tell them apart"
        )
    if not (is_first or is_last):
        expected = " or ".join(map(str, counts))
        raise ImageError(
            f"{name} has shape {numbers}, and the network takes volumes of {expected} channels; "
            "give an array with as many in its first or last dimension"
        )
    return 0 if is_first else 3


def refuse_long_animation(count: int, size: tuple[int, int], name: str) -> None:
    """Raises for an animation that takes too long to decode: one frame is made of those before."""
    if count * size[0] * size[1] > 3 * MAX_PIXELS:
        raise TooLargeError(
            f"{name} has {count:,} frames of {size[0]} x {size[1]} pixels, over the limit of "
            f"{3 * MAX_PIXELS:,} pixels in all; save its frames as images in a folder"
        )
