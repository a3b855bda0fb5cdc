"""Random draws that are the same on every machine and under every version of numpy."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

_DRAWN_AT_ONCE = 512
One = TypeVar("One")


class Chance:
    """The draws of one seed, in order. Only the raw bits of PCG64 are used, which never change.

    >>> Chance(7).whole(0, 9), Chance(7).whole(0, 9)
    (6, 6)
    """

    def __init__(self, *seed: int) -> None:
        self._numbers = _numbers(np.random.PCG64(np.random.SeedSequence(seed)))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * next(self._numbers)

    def whole(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(next(self._numbers) * (high - low + 1))

    def perhaps(self, share: float) -> bool:
        return next(self._numbers) < share

    def pick(self, several: Sequence[One]) -> One:
        return several[int(next(self._numbers) * len(several))]


def _numbers(bits: np.random.PCG64) -> Iterator[float]:
    """Numbers from 0 to below 1, on a grid of 2**-32: what is made of them rounds the same."""
    while True:
        yield from ((bits.random_raw(_DRAWN_AT_ONCE) >> np.uint64(32)) / 2.0**32).tolist()
