"""Spearman's rank correlation; equal values share the mean of their ranks."""

from math import nan

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def average_ranks(values: npt.ArrayLike) -> Values:
    """The rank of each value from 1; equal values share the mean of their ranks.

    >>> average_ranks([5.0, 1.0, 5.0]).tolist()
    [2.5, 1.0, 2.5]
    """
    flat = np.asarray(values, np.float64).ravel()
    _, group_of_value, counts = np.unique(flat, return_inverse=True, return_counts=True)
    ranks: Values = (counts.cumsum() - (counts - 1) / 2)[group_of_value]
    return ranks


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Spearman's correlation of two lists or maps; NaN if one of them is constant.

    >>> rank_correlation([1, 2, 3], [10, 20, 15])
    0.5
    """
    a, b = (ranks - ranks.mean() for ranks in map(average_ranks, (first, second)))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else nan
