"""Which pixels of an axis become a part of it when it is resized."""

from math import ceil, floor
from typing import NamedTuple

FILTER_RADIUS = 3
"""Of Lanczos, the widest of Pillow's filters, in pixels of the smaller image."""


class SourceInterval(NamedTuple):
    """The source pixels `first` to `last`, in which `start` to `stop` becomes the region."""

    first: int
    last: int
    start: float
    stop: float


def source_interval(length: int, resized: int, edges: tuple[int, int]) -> SourceInterval:
    """The source of an interval of a resized axis, with the margin that its filter reads."""
    scale = length / resized
    start, stop = edges[0] * scale, min(edges[1] * scale, length)
    margin = ceil(FILTER_RADIUS * max(scale, 1)) + 1
    first, last = max(floor(start) - margin, 0), min(ceil(stop) + margin, length)
    return SourceInterval(first, last, start - first, stop - first)
