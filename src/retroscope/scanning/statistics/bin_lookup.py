"""Which bin of a histogram a float32 is in, found in a few steps."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_CELLS, _CELL_BITS = 1024, 22
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
    first, last = (np.arange(_CELLS, dtype=np.uint32) << _CELL_BITS | low for low in (0, _LOW_BITS))
    lowest, highest = (
        _values(np.where(np.arange(_CELLS) < _CELLS // 2, *ends))
        for ends in ((first, last), (last, first))
    )
    starts, stops = (np.searchsorted(edges, ends, side="left") for ends in (lowest, highest))
    return BinLookup(
        edges=np.append(np.asarray(edges, dtype=np.float64), np.inf),
        starts=starts.astype(np.int32),
        steps=int((stops - starts).max()),
    )


_LOW_BITS = (1 << _CELL_BITS) - 1


def _values(bits: npt.NDArray[np.uint32]) -> Floats:
    """The numbers that these bits of float32 stand for; those that are not finite as infinity."""
    values = bits.astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(values), values, np.copysign(np.inf, values)).astype(np.float64)
