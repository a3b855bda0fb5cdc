"""Which bin of a histogram a float32 is in, found in a few steps."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_CELLS, _LOW_BITS = 1024, 22
"""A float32 is in one of these cells by its first ten bits: its sign, exponent and first digit."""


@dataclass(frozen=True, eq=False)
class BinLookup:
    """The bins between edges, which are sorted. A value that is an edge is in the bin below it.

    The edges below a value are those below the lowest value of its cell, and some of the next.
    """

    edges: Floats
    """Infinity follows the last."""
    starts: npt.NDArray[np.int32]
    """Of each cell, the number of edges below its lowest value."""
    steps: int
    """The largest number of edges within a cell."""


@cache
def bin_lookup(edges: tuple[float, ...]) -> BinLookup:
    """The lookup of the bins between these edges."""
    cells = np.arange(_CELLS, dtype=np.uint32)
    smallest = cells << _LOW_BITS  # by magnitude
    largest = smallest | ((1 << _LOW_BITS) - 1)
    is_negative = cells >= _CELLS // 2
    lowest = _values(np.where(is_negative, largest, smallest))
    highest = _values(np.where(is_negative, smallest, largest))
    starts, stops = (np.searchsorted(edges, ends, side="left") for ends in (lowest, highest))
    return BinLookup(
        edges=np.append(np.asarray(edges, dtype=np.float64), np.inf),
        starts=starts.astype(np.int32),
        steps=int((stops - starts).max()),
    )


def _values(bits: npt.NDArray[np.uint32]) -> Floats:
    """The numbers that these bits of float32 stand for; those that are not finite as infinity."""
    values = bits.view(np.float32)
    return np.where(np.isfinite(values), values, np.copysign(np.inf, values)).astype(np.float64)
