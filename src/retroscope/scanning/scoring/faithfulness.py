"""Whether the pixels that a projection shows are those that the unit needs.

Only some pixels of the field are kept, the rest is the mean colour of the images; how much of the
activation is left says whether they were the right ones. Both definitions are on arrays: running
the network is up to the caller.
"""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

from retroscope.geometry import IMAGE_RANK, Box
from retroscope.results.projections import Pixels

SHARES = (0.05, 0.1, 0.2, 0.35, 0.5)
"""The shares of the pixels of the field that are kept."""

Values = npt.NDArray[np.float64]
PixelMask = npt.NDArray[np.bool_]


def largest_mask(strength: Values, share: float) -> PixelMask:
    """The share of the pixels with the highest values; among equal ones, the first in the rows.

    >>> largest_mask(np.array([[3.0, 1.0], [2.0, 2.0]]), 0.5).tolist()
    [[True, False], [True, False]]
    """
    order = np.argsort(-strength, axis=None, kind="stable")
    mask = np.zeros(strength.size, np.bool_)
    mask[order[: kept_count(strength.size, share)]] = True
    return mask.reshape(strength.shape)


def kept_count(pixels: int, share: float) -> int:
    """How many pixels a share is: at least one."""
    return max(1, round(pixels * share))


def projection_strength(pixels: Pixels) -> Values:
    """How much each pixel of a projection counts: its absolute values, summed over the colours."""
    strength: Values = np.abs(pixels).sum(axis=-1, dtype=np.float64)
    return strength


def blob_strength(field: Box, visible: Box, rank: int = IMAGE_RANK) -> Values:
    """Values that fall with the distance from the middle of a field, on its visible pixels.

    `rank` is the number of axes: 3 for volumes.
    """
    pairs = zip(field.intervals(rank), visible.intervals(rank), strict=True)
    squares = [
        (np.arange(*seen, dtype=np.float64) - (start + stop - 1) / 2) ** 2
        for (start, stop), seen in pairs
    ]
    distances: Values = reduce(np.add.outer, squares)
    return -distances


def random_strength(visible: Box, random: np.random.Generator, rank: int = IMAGE_RANK) -> Values:
    """A random value for each pixel: the largest of them are a random mask."""
    return random.random(visible.size(rank))


def kept_share(activations: Sequence[float], full: float) -> Values:
    """The share of an activation that is left, between nothing and all of it.

    NaN where there is nothing to keep: `full` is not above 0.

    >>> kept_share([2.0, -1.0, 5.0], 4.0).tolist()
    [0.5, 0.0, 1.0]
    """
    values = np.asarray(activations, np.float64)
    if not full > 0:
        return np.full(len(values), np.nan)
    return np.clip(values / full, 0, 1)


def area_under(shares: Values) -> float:
    """The mean of a curve over `SHARES`, by trapezoids: 1 if everything is kept everywhere."""
    widths = np.diff(SHARES)
    return float(((shares[1:] + shares[:-1]) / 2 * widths).sum() / widths.sum())


def faithfulness_numbers(areas: Mapping[str, float]) -> dict[str, float]:
    """The numbers of one hit from the areas under the curves of its masks."""
    return {
        "faithfulness": areas["projection"] - areas["random"],
        "faithfulness_over_blob": areas["projection"] - areas["blob"],
    }
