"""How much more a channel responds to one class than to the others."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Means = npt.NDArray[np.float64]
"""The mean maximum of every class, a row for each channel; NaN for a class without images."""


def means_of(blobs: Mapping[int, bytes]) -> Means:
    """What the atlas keeps of some channels, in their order; no channel gives no row."""
    if not blobs:
        return np.zeros((0, 0))
    values = np.frombuffer(b"".join(blobs.values()), "<f4")
    return values.reshape(len(blobs), -1).astype(np.float64)


def selectivity(means: Means) -> npt.NDArray[np.float64]:
    """The class selectivity index of Morcos et al. 2018: (a - b) / (a + b) for the mean maximum of
    the strongest class and the mean of the others.

    0 is the same for all classes, 1 one class alone. A channel that no class makes fire, or with
    fewer than two classes, has none: NaN.

    >>> selectivity(np.array([[3.0, 1.0, 1.0], [2.0, 2.0, 2.0]])).tolist()
    [0.5, 0.0]
    """
    known = np.isfinite(means)
    fired = np.where(known, means, 0).clip(min=0)
    count = known.sum(axis=1)
    best = fired.max(axis=1, initial=0)
    others = (fired.sum(axis=1) - best) / np.maximum(count - 1, 1)
    total = best + others
    index = (best - others) / np.where(total > 0, total, 1)
    return np.where((total > 0) & (count > 1), index, np.nan)
