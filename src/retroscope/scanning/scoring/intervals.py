"""Bootstrap intervals with a fixed seed: the same data give the same interval."""

from math import nan

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

MEAN_DRAWS, IMAGE_DRAWS = 1000, 100
"""Bootstrap samples of a mean over hits, and of a sum over images."""
_TAILS = (2.5, 97.5)


def mean_interval(values: Values, seed: int = 0) -> tuple[float, float]:
    """The interval that holds 95 % of the means of bootstrap samples. NaN values do not count.

    It is NaN for fewer than two values.

    >>> mean_interval(np.array([1.0, 1.0])), mean_interval(np.array([1.0]))
    ((1.0, 1.0), (nan, nan))
    """
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return nan, nan
    samples = np.random.default_rng(seed).integers(len(values), size=(MEAN_DRAWS, len(values)))
    return tail_interval(values[samples].mean(axis=1))


def tail_interval(samples: Values) -> tuple[float, float]:
    """The interval that holds 95 % of these samples; NaN if one of them is not finite."""
    low, high = np.percentile(samples, _TAILS) if np.isfinite(samples).all() else (nan, nan)
    return float(low), float(high)


def finite_mean(values: Values) -> float:
    """The mean of the values that are finite; NaN if there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else nan


def image_weights(images: int, seed: int = 0) -> Values:
    """How often each image is in each bootstrap sample (samples, images).

    Poisson weights, which an image has without the others: sums over images can be added in any
    order.
    """
    return np.random.default_rng(seed).poisson(1.0, (IMAGE_DRAWS, images)).astype(np.float64)
