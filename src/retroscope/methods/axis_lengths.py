"""Lengths that users give along the axes of an image, a volume or a signal."""

from collections.abc import Sequence
from operator import index
from typing import SupportsIndex

from retroscope.errors import RetroscopeError
from retroscope.geometry import IMAGE_RANK, INPUTS, LENGTHS, format_size

Lengths = int | Sequence[int]
"""One number for all axes, or one for each."""


def along_axes(parameter: str, lengths: Lengths, rank: int) -> tuple[int, ...]:
    """A length for each axis; `parameter` is what it is of.

    >>> along_axes("size", 4, rank=2), along_axes("size", (2, 8, 8), rank=3)
    ((4, 4), (2, 8, 8))
    """
    if isinstance(lengths, SupportsIndex):
        return (index(lengths),) * rank
    if len(lengths) != rank:
        raise RetroscopeError(
            f"a {parameter} of {format_size(lengths) or 'no number'} for {INPUTS[rank]}s; give one "
            f"number, or one for each axis ({', '.join(LENGTHS[rank])})",
            parameter=parameter,
        )
    return tuple(map(index, lengths))


def format_lengths(lengths: Lengths) -> str:
    """
    >>> format_lengths(4), format_lengths((2, 8, 8))
    ('4', '2x8x8')
    """
    return str(lengths) if isinstance(lengths, SupportsIndex) else format_size(lengths)


def alike_in_slices(lengths: Sequence[int]) -> tuple[int, ...]:
    """The lengths, with the smaller of rows and columns for both; a depth stays.

    >>> alike_in_slices((16, 112, 96)), alike_in_slices((30,))
    ((16, 96, 96), (30,))
    """
    in_slice = lengths[-IMAGE_RANK:]
    return (*lengths[:-IMAGE_RANK], *[min(in_slice)] * len(in_slice))
