"""Random draws that are the same on every machine and with every version of numpy."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

_BATCH = 512
Option = TypeVar("Option")


class SeededRandom:
    """The random draws of one seed, from the raw bits of PCG64, which never change.

    >>> SeededRandom(7).integer(0, 9), SeededRandom(7).integer(0, 9)
    (6, 6)
    """

    def __init__(self, *seed: int) -> None:
        self._numbers = _uniform_numbers(np.random.PCG64(np.random.SeedSequence(seed)))

    def uniform(self, low: float, high: float) -> float:
        """A number from `low` to below `high`."""
        return low + (high - low) * next(self._numbers)

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, inclusive."""
        return low + int(next(self._numbers) * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return next(self._numbers) < probability

    def choice(self, options: Sequence[Option]) -> Option:
        """One of the options, all equally likely."""
        return options[int(next(self._numbers) * len(options))]


def _uniform_numbers(bits: np.random.PCG64) -> Iterator[float]:
    """Numbers from 0 to below 1 in steps of 2**-32, so arithmetic on them rounds the same."""
    while True:
        yield from ((bits.random_raw(_BATCH) >> np.uint64(32)) / 2.0**32).tolist()
