"""How far a channel's maxima tell one class of images from all others, from sums alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from retroscope.results.layers import Layer
from retroscope.results.unit_numbers import CLASS_CORRELATION, Subject, UnitNumber
from retroscope.scanning.statistics.channel_sums import ChannelSums
from retroscope.scanning.statistics.class_sums import ClassTables
from retroscope.scanning.statistics.exact_sums import read_sums
from retroscope.unit import Unit

Array = npt.NDArray[Any]

_WITHIN_95 = 1.959963984540054
"""A normal deviate is within so many standard deviations in 95 % of cases."""
_ROUNDING = 2.0**-50
"""A variance below this share of the mean square is rounding: the maxima are all the same."""
_DRAWS, _SEED = 1000, 0


@dataclass(frozen=True, eq=False)
class MaximaSums:
    """Of the images' maxima: their number, sum and sum of squares (channels), and those of classes.

    `class_images` and `class_total` are (classes, channels). Images without a class count in the
    first three alone.
    """

    images: Array
    total: Array
    squares: Array
    class_images: Array
    class_total: Array

    @classmethod
    def of_sweep(cls, sums: ChannelSums, tables: ClassTables) -> Self:
        """Those of the channels of a sweep."""
        return cls(
            images=sums["images"].cpu().numpy().astype(np.float64),
            total=read_sums(sums["maxima"]).cpu().numpy(),
            squares=read_sums(sums["squared_maxima"]).cpu().numpy(),
            class_images=tables.images.numpy().astype(np.float64),
            class_total=tables.maxima.numpy(),
        )


@dataclass(frozen=True, eq=False)
class ClassCorrelations:
    """Of each channel, the correlation with the class that it correlates with most, and which.

    A number that is not defined is NaN, and its label -1.
    """

    values: Array
    lows: Array
    highs: Array
    chances: Array
    labels: Array


def correlate_classes(sums: MaximaSums) -> ClassCorrelations:
    """The correlation of the maxima with being of a class, for the best class of each channel.

    With n images of which n_c are of class c, the sum S of their maxima, S_c of those of the class,
    and Q of the squares,

        r = (n S_c - n_c S) / sqrt((n Q - S^2) (n n_c - n_c^2)).

    It is not defined for maxima that are all the same and for a class of all images or of none;
    only a positive one says that a class is the channel's. The interval is that of Fisher's z.
    """
    r = _correlations(sums)
    labels = r.argmax(0)
    values = np.take_along_axis(r, labels[None], axis=0)[0]
    is_defined = values > 0
    values = np.where(is_defined, values, np.nan)
    lows, highs = _fisher_interval(values, sums.images)
    chances = np.where(np.isfinite(r).any(0), _expected_best(sums), np.nan)
    return ClassCorrelations(values, lows, highs, chances, np.where(is_defined, labels, -1))


def _correlations(sums: MaximaSums) -> Array:
    """r for each class and channel; minus infinity where it is not defined."""
    n, total = sums.images, sums.total
    spread = n * sums.squares - total**2
    spread = np.where(spread > _ROUNDING * n * sums.squares, spread, 0)
    split = sums.class_images * (n - sums.class_images)
    is_defined = (spread > 0) & (split > 0)
    scale = np.sqrt(np.where(is_defined, spread * split, 1))
    r = (n * sums.class_total - sums.class_images * total) / scale
    correlations: Array = np.where(is_defined, r.clip(-1, 1), -np.inf)
    return correlations


def _fisher_interval(r: Array, images: Array) -> tuple[Array, Array]:
    """Which correlations 95 % of samples have, by Fisher's z; NaN for three images or fewer."""
    with np.errstate(divide="ignore"):  # a correlation of 1 has no other
        z = np.arctanh(r)
    deviation = _WITHIN_95 / np.sqrt(np.where(images > 3, images - 3, np.nan))
    return np.tanh(z - deviation), np.tanh(z + deviation)


def _expected_best(sums: MaximaSums) -> Array:
    """The expected highest |r| over the classes of each channel if labels were shuffled."""
    counts = np.concatenate([sums.images[None], sums.class_images])
    expected: dict[bytes, float] = {}
    chances = []
    for column in np.ascontiguousarray(counts.T):
        key = column.tobytes()
        if key not in expected:
            expected[key] = expected_best(column[0], column[1:])
        chances.append(expected[key])
    return np.array(chances)


def expected_best(images: float, class_images: Array) -> float:
    """The expected highest |r| over classes of these sizes, whose labels are shuffled.

    Of shuffled labels, the sums S_c have the covariance of a draw without replacement; for classes
    of many images they are normal. The mean over 1,000 such draws with a fixed seed.

    >>> round(expected_best(100, np.array([50.0, 50.0])), 2)  # sqrt(2 / pi) / sqrt(99)
    0.08
    """
    shares = np.append(class_images, images - class_images.sum()) / max(images, 1)
    is_class = (shares > 0) & (shares < 1)
    is_class[-1] = False  # images without a class
    if not is_class.any():
        return float("nan")
    draws = np.random.default_rng(_SEED).standard_normal((_DRAWS, len(shares)))
    draws *= np.sqrt(shares)
    draws -= shares * draws.sum(1, keepdims=True)
    draws = np.abs(draws[:, is_class]) / np.sqrt((shares * (1 - shares))[is_class])
    best = draws.max(1) / np.sqrt(images - 1)
    return float(np.minimum(best, 1).mean())


def correlation_numbers(
    layer: Layer, sums: MaximaSums, class_names: Sequence[str]
) -> list[UnitNumber]:
    """The numbers that an atlas stores of the channels of a layer."""
    found = correlate_classes(sums)
    columns = (found.values, found.lows, found.highs, found.chances, found.labels, sums.images)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        UnitNumber(
            Unit(layer.name, channel),
            CLASS_CORRELATION,
            *(value, low, high, chance),
            subject=Subject.UNIT,
            basis=_describe(int(images), class_names, label),
        )
        for channel, (value, low, high, chance, label, images) in enumerate(rows)
    ]


def _describe(images: int, class_names: Sequence[str], label: int) -> str:
    """What a number is computed from, and which class it is of."""
    basis = f"maxima of {images} images of {len(class_names)} classes"
    return basis if label < 0 else f"{basis}, best class {class_names[label]!r}"
