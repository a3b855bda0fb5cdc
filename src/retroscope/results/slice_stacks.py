"""Volumes as stacks of slices: an image or a map whose slices lie one above the other.

Statistics, rankings and the atlas see a map of a volume as such a stack, which has rows and columns
as any map has:

    slice 0   rows 0 .. height - 1
    slice 1   rows height .. 2 * height - 1
    slice z   row y is row z * height + y of the stack

Of images of one size, the stacks are of one size, so nothing else changes. A stack of pixels that
is too high for a file goes on in a second column.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Scalar = TypeVar("Scalar", bound=np.generic)
Position = tuple[int, ...]
"""(y, x), of a volume (z, y, x), of a signal (x,)."""

VOLUME_RANK = 3
"""The axes of a volume: slices, rows and columns."""
_IMAGE_DIMENSIONS, _SIGNAL_DIMENSIONS = 3, 2
"""Of arrays whose last dimension are channels."""
MAX_SHEET_SIDE = 2**14 - 1
"""Pixels that a WebP may be high or wide."""


def to_stack(position: Sequence[int], size: Sequence[int]) -> tuple[int, int]:
    """Row and column in the stack of a map of this size.

    >>> to_stack((2, 1, 5), (4, 10, 8)), to_stack((1, 5), (10, 8)), to_stack((5,), (8,))
    ((21, 5), (1, 5), (0, 5))
    """
    row = 0
    for index, length in zip(position[:-1], size[:-1], strict=True):
        row = row * length + index
    return row, position[-1]


def from_stack(row: int, column: int, size: Sequence[int]) -> Position:
    """The position in a map of this size of a row and a column of its stack.

    >>> from_stack(21, 5, (4, 10, 8)), from_stack(1, 5, (10, 8)), from_stack(0, 5, (8,))
    ((2, 1, 5), (1, 5), (5,))
    """
    if len(size) == VOLUME_RANK:
        return (*divmod(row, size[1]), column)
    return (row, column)[-len(size) :]


def map_size(depth: int | None, height: int, width: int) -> tuple[int, ...]:
    """The size of a map as it is stored: the depth of images is None, that of signals 0.

    >>> map_size(4, 10, 8), map_size(None, 10, 8), map_size(0, 1, 8)
    ((4, 10, 8), (10, 8), (8,))
    """
    if depth is None:
        return height, width
    return (depth, height, width) if depth else (width,)


def slices_to_sheet(slices: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """Pixels (slices, height, width, channels) as one image of them, in columns from the left.

    >>> slices_to_sheet(np.zeros((5, 4, 6, 3), np.uint8)).shape
    (20, 6, 3)
    """
    depth, height, width, channels = slices.shape
    rows, columns = sheet_layout(depth, height)
    missing = rows * columns - depth
    if missing:
        padding = np.zeros((missing, height, width, channels), slices.dtype)
        slices = np.concatenate([slices, padding])
    grid = slices.reshape(columns, rows * height, width, channels)
    return grid.transpose(1, 0, 2, 3).reshape(rows * height, columns * width, channels)


def sheet_size(size: Sequence[int]) -> tuple[int, int]:
    """Height and width of the sheet of a volume (slices, height, width).

    >>> sheet_size((16, 112, 80)), sheet_size((200, 112, 80))
    ((1792, 80), (11200, 160))
    """
    depth, height, width = size
    rows, columns = sheet_layout(depth, height)
    return rows * height, columns * width


def sheet_to_slices(sheet: npt.NDArray[Scalar], size: Sequence[int]) -> npt.NDArray[Scalar]:
    """The slices (slices, height, width, channels) of the sheet of a volume of this size."""
    depth, height, width = size
    rows, columns = sheet_layout(depth, height)
    grid = sheet.reshape(rows * height, columns, width, -1).transpose(1, 0, 2, 3)
    return grid.reshape(rows * columns, height, width, -1)[:depth]


def sheet_layout(depth: int, height: int) -> tuple[int, int]:
    """How many slices of this height are above each other, and in how many columns.

    >>> sheet_layout(16, 112), sheet_layout(200, 112)
    ((16, 1), (100, 2))
    """
    columns = max(-(-depth * height // MAX_SHEET_SIDE), 1)
    rows = -(-depth // columns)
    while rows * height > MAX_SHEET_SIDE and rows > 1:
        columns += 1
        rows = -(-depth // columns)
    return rows, columns


def slice_origin(number: int, size: Sequence[int]) -> tuple[int, int]:
    """The first row and column of a slice in the sheet of a volume (slices, height, width).

    >>> slice_origin(3, (16, 112, 80)), slice_origin(101, (200, 112, 80))
    ((336, 0), (112, 80))
    """
    rows, _ = sheet_layout(size[0], size[1])
    column, row = divmod(number, rows)
    return row * size[1], column * size[2]


def stack_channels(pixels: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """Pixels of a projection as those of an image, (height, width, channels): a channel for each
    channel of each slice. Those of an image stay as they are, a signal is an image of one row.

    >>> stack_channels(np.zeros((5, 8, 9, 3))).shape, stack_channels(np.zeros((9, 2))).shape
    ((8, 9, 15), (1, 9, 2))
    """
    if pixels.ndim == _SIGNAL_DIMENSIONS:
        return pixels[None]
    if pixels.ndim == _IMAGE_DIMENSIONS:
        return pixels
    depth, height, width, channels = pixels.shape
    return np.moveaxis(pixels, 0, 2).reshape(height, width, depth * channels)


def unstack_channels(pixels: npt.NDArray[Scalar], rank: int, *, depth: int) -> npt.NDArray[Scalar]:
    """The pixels of a projection of which `stack_channels` has made an image; of `depth` slices.

    >>> unstack_channels(np.zeros((8, 9, 15)), 3, depth=5).shape
    (5, 8, 9, 3)
    """
    if rank < VOLUME_RANK:
        return pixels if rank > 1 else pixels[0]
    return np.moveaxis(pixels.reshape(*pixels.shape[:2], depth, -1), 2, 0)


def volume_size(facts: object) -> tuple[int, int, int] | None:
    """Slices, height and width of the images of an atlas, by its fact `preprocessing`.

    None for an atlas of images.

    >>> volume_size({"size": [16, 112, 112]}), volume_size({"size": [224, 224]})
    ((16, 112, 112), None)
    """
    size: Any = facts.get("size") if isinstance(facts, dict) else None
    if not isinstance(size, list) or len(size) != VOLUME_RANK:
        return None
    if not all(type(length) is int and length > 0 for length in size):
        return None
    return size[0], size[1], size[2]
