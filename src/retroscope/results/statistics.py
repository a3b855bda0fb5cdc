"""The statistics of a channel. Each is one row of `STATISTICS`.

From the list follow the sums of a scan, the columns of table `channels`, what the reader returns,
the JSON and the reference page. No torch here: the functions of a row call methods of the tensors
that they are given.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from math import nan
from operator import add
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from retroscope.errors import choose
from retroscope.results.display import ArraySummary

if TYPE_CHECKING:
    from torch import Tensor

    from retroscope.scanning.statistics.batch_summary import BatchSummary

    Sums = Mapping[str, Tensor]

StatisticValue = int | float | npt.NDArray[np.int64] | None

HISTOGRAM_EDGES: npt.NDArray[np.float64] = 2.0 ** (np.arange(63) / 2 - 16)
"""63 edges, half an octave apart from 2**-16 to 2**15. The 64 bins are the same for every scan."""

INTEGER, REAL, INTEGERS = "INTEGER NOT NULL", "REAL", "BLOB NOT NULL"
"""The column types: an integer, a number whose NULL stands for NaN, little-endian int64 values."""


@dataclass(frozen=True)
class Statistic:
    """One statistic of a channel over the images of a scan.

    `of_batch` reduces a batch of images to one value per channel and `merge` combines the values
    of two batches. `merge` must be associative and commutative, and an image without positions must
    not change the result: it stands for the empty scan. `add_batch`, where there is one, merges the
    value of a batch without computing it on its own, which is faster. Where `is_real_sum`,
    `of_batch` returns the values of each image instead (images, channels), whose sum is the same in
    any order. `finish` computes what the atlas stores from the merged values of all statistics;
    without it, the merged value itself is stored.

    A row without `of_batch` is computed from the others alone. A row without `sql_type` is not
    stored: it is a sum that others need. `restore` computes it from the statistics that are stored,
    within rounding, so that finished scans can be joined.
    """

    name: str
    sql_type: str | None
    of_batch: "Callable[[BatchSummary], Tensor] | None" = None
    merge: "Callable[[Tensor, Tensor], Tensor]" = add
    add_batch: "Callable[[Tensor, BatchSummary], Tensor] | None" = None
    finish: "Callable[[Sums], Tensor] | None" = None
    doc: str = ""
    is_real_sum: bool = False
    restore: "Callable[[Sums], Tensor] | None" = None

    @property
    def is_array(self) -> bool:
        """Whether a channel has several values, stored as one blob."""
        return self.sql_type == INTEGERS

    @property
    def missing(self) -> StatisticValue:
        """What stands for the value in an atlas whose schema is older than the statistic."""
        return nan if self.sql_type == REAL else None


def _mean(sums: "Sums") -> "Tensor":
    return sums["total"] / sums["positions"].clamp(min=1)


def _std(sums: "Sums") -> "Tensor":
    variance = sums["squares"] / sums["positions"].clamp(min=1) - _mean(sums).square()
    return variance.clamp(min=0).sqrt()


def _mean_maximum(sums: "Sums") -> "Tensor":
    return sums["maxima"] / sums["images"].clamp(min=1)


def _std_maximum(sums: "Sums") -> "Tensor":
    variance = sums["squared_maxima"] / sums["images"].clamp(min=1) - _mean_maximum(sums).square()
    return variance.clamp(min=0).sqrt()


STATISTICS: tuple[Statistic, ...] = (
    Statistic(
        "images",
        INTEGER,
        of_batch=lambda batch: batch.has_finite.sum(0),
        doc="images with a finite value; the statistics cover these",
    ),
    Statistic(
        "positions",
        INTEGER,
        of_batch=lambda batch: len(batch.maximum) * batch.positions - batch.non_finite.sum(0),
        doc="finite positions of all images together",
    ),
    Statistic(
        "total",
        None,
        of_batch=lambda batch: batch.total,
        doc="sum of the finite values",
        is_real_sum=True,
        restore=lambda stored: stored["mean"] * stored["positions"],
    ),
    Statistic(
        "squares",
        None,
        of_batch=lambda batch: batch.squares,
        doc="sum of their squares",
        is_real_sum=True,
        restore=lambda stored: (
            (stored["std"].square() + stored["mean"].square()) * stored["positions"]
        ),
    ),
    Statistic("mean", REAL, finish=_mean, doc="mean over the finite positions"),
    Statistic("std", REAL, finish=_std, doc="standard deviation over the finite positions"),
    Statistic(
        "maximum",
        REAL,
        of_batch=lambda batch: batch.maximum.amax(0).double(),
        merge=lambda first, second: first.maximum(second),
        doc="the highest finite value",
    ),
    Statistic(
        "minimum",
        REAL,
        of_batch=lambda batch: batch.minimum.amin(0).double(),
        merge=lambda first, second: first.minimum(second),
        doc="the lowest finite value",
    ),
    Statistic(
        "maxima",
        None,
        of_batch=lambda batch: batch.finite_maximum,
        doc="sum of the images' maxima",
        is_real_sum=True,
        restore=lambda stored: stored["mean_maximum"] * stored["images"],
    ),
    Statistic(
        "squared_maxima",
        None,
        of_batch=lambda batch: batch.finite_maximum.square(),
        doc="sum of their squares",
        is_real_sum=True,
        restore=lambda stored: (
            (stored["std_maximum"].square() + stored["mean_maximum"].square()) * stored["images"]
        ),
    ),
    Statistic("mean_maximum", REAL, finish=_mean_maximum, doc="mean of the images' maxima"),
    Statistic(
        "std_maximum", REAL, finish=_std_maximum, doc="standard deviation of the images' maxima"
    ),
    Statistic(
        "fired_images",
        INTEGER,
        of_batch=lambda batch: (batch.maximum > 0).sum(0),
        doc="images with a value above zero",
    ),
    Statistic(
        "fired_positions",
        INTEGER,
        of_batch=lambda batch: batch.fired_positions.sum(0),
        doc="positions with a value above zero",
    ),
    Statistic(
        "non_finite",
        INTEGER,
        of_batch=lambda batch: batch.non_finite.sum(0),
        doc="positions whose value is NaN or infinite; no other statistic counts them",
    ),
    Statistic(
        "histogram",
        INTEGERS,
        of_batch=lambda batch: batch.histogram(HISTOGRAM_EDGES),
        add_batch=lambda counts, batch: batch.add_to_histogram(counts, HISTOGRAM_EDGES),
        doc="64 int64: images by their maximum, in half-octave bins from 2^-16 to 2^15; the first "
        "bin holds all that is not above 2^-16, the last all above 2^15",
    ),
    Statistic(
        "dead",
        INTEGER,
        finish=lambda sums: sums["fired_images"] == 0,
        doc="1 if `fired_images` is 0",
    ),
)


def accumulated_statistics() -> "tuple[tuple[Statistic, Callable[[BatchSummary], Tensor]], ...]":
    """The rows that accumulate over batches, each with its `of_batch`."""
    return tuple((row, row.of_batch) for row in STATISTICS if row.of_batch is not None)


def stored_statistics() -> tuple[Statistic, ...]:
    """The rows that are columns of table `channels`, in the order of the table."""
    return tuple(row for row in STATISTICS if row.sql_type is not None)


@dataclass(frozen=True)
class ClassStats:
    """How a channel responds to the images of one class."""

    label: str
    images: int
    mean_maximum: float
    fired_share: float


@dataclass(frozen=True, eq=False, repr=False)
class ChannelStats(ArraySummary):
    """How a channel responds over all images of a scan; `STATISTICS` defines each field.

    `histogram` counts the images by their maximum in the bins between `HISTOGRAM_EDGES`.
    `classes` is sorted by mean maximum, highest first. `stats["name"]` is any statistic by name,
    also one that has no field. What an older atlas does not have is None, or NaN for a float.
    """

    images: int | None
    positions: int | None
    mean: float
    std: float
    maximum: float
    fired_images: int | None
    fired_positions: int | None
    non_finite: int | None
    histogram: npt.NDArray[np.int64] | None
    classes: tuple[ClassStats, ...] = ()
    minimum: float = nan
    mean_maximum: float = nan
    std_maximum: float = nan
    extra: Mapping[str, StatisticValue] | None = None
    """The statistics that have no field."""

    @classmethod
    def from_values(
        cls, values: Mapping[str, StatisticValue], classes: tuple[ClassStats, ...] = ()
    ) -> Self:
        """The statistics in these values by name; a statistic that is not there is missing."""
        rows = {row.name: values.get(row.name, row.missing) for row in stored_statistics()}
        names = {column.name for column in fields(cls)}
        columns: dict[str, Any] = {name: rows.pop(name) for name in names & rows.keys()}
        rows.pop("dead", None)  # a property
        return cls(**columns, classes=classes, extra=rows or None)

    @property
    def values(self) -> dict[str, StatisticValue]:
        """Every statistic by name."""
        return {
            "images": self.images,
            "positions": self.positions,
            "mean": self.mean,
            "std": self.std,
            "maximum": self.maximum,
            "minimum": self.minimum,
            "mean_maximum": self.mean_maximum,
            "std_maximum": self.std_maximum,
            "fired_images": self.fired_images,
            "fired_positions": self.fired_positions,
            "non_finite": self.non_finite,
            "histogram": self.histogram,
            "dead": self.dead,
            **(self.extra or {}),
        }

    def __getitem__(self, name: str) -> StatisticValue:
        return choose("statistic", name, self.values)

    @property
    def dead(self) -> bool:
        """Whether the channel never fires."""
        return self.fired_images == 0

    @property
    def fired_image_share(self) -> float:
        return _share(self.fired_images, self.images)

    @property
    def fired_position_share(self) -> float:
        return _share(self.fired_positions, self.positions)


def _share(count: int | None, total: int | None) -> float:
    if count is None or total is None:
        return nan
    return count / total if total else 0.0
