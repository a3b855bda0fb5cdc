"""The statistics of several finished scans as those of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from retroscope.atlas.queries.query import check_cells, check_lengths, damaged_error
from retroscope.atlas.queries.table_rows import ClassStatsRow
from retroscope.atlas.schema import AtlasError, Value
from retroscope.results.statistics import (
    REAL,
    Statistic,
    accumulated_statistics,
    stored_statistics,
)
from retroscope.scanning.class_correlation import MaximaSums

Array = npt.NDArray[Any]
Columns = Mapping[str, Sequence[Value]]
"""The statistics of the channels of a layer, by name."""


def join_statistics(parts: Sequence[Columns]) -> dict[str, Array]:
    """The statistics of the channels of a layer over the images of all parts.

    Counts and extremes are exact. Means and deviations follow from their definitions, within
    rounding: sums that are not stored are restored from what is. What one part lacks is missing.
    """
    sums = [_sums(part) for part in parts]
    merged = {
        row.name: reduce(row.merge, (part[row.name] for part in sums))
        for row, _ in accumulated_statistics()
    }
    return {
        row.name: (row.finish(merged) if row.finish else merged[row.name]).numpy()
        for row in stored_statistics()
    }


def _sums(part: Columns) -> dict[str, torch.Tensor]:
    """All that accumulates, as it was at the end of the scan."""
    stored = {row.name: _read_column(row, part[row.name]) for row in stored_statistics()}
    sums = {}
    for row, _ in accumulated_statistics():
        assert row.sql_type or row.restore, f"{row.name} needs restore"
        sums[row.name] = row.restore(stored) if row.restore else stored[row.name]
    return sums


def _read_column(row: Statistic, cells: Sequence[Value]) -> torch.Tensor:
    """NULL stands for NaN, or for a statistic that an older scan did not compute."""
    if row.sql_type == REAL:
        if any(isinstance(cell, str | bytes) for cell in cells):
            raise damaged_error(f"{row.name!r} is not stored as a number")
        numbers = [np.nan if cell is None else cell for cell in cells]
        return torch.from_numpy(np.array(numbers, np.float64))
    if None in cells:
        raise AtlasError(
            f"an older retroscope made one of the atlases, without the statistic {row.name!r}; "
            "scan its images again"
        )
    if row.is_array:
        check_cells(bytes, [(cell,) for cell in cells])
        blobs = [cell for cell in cells if isinstance(cell, bytes)]
        check_lengths(blobs, len(blobs[0]), f"{row.name!r}")
        return torch.from_numpy(np.stack([np.frombuffer(blob, "<i8") for blob in blobs]))
    check_cells(int, [(cell,) for cell in cells])
    return torch.from_numpy(np.array(cells, np.int64))


@dataclass(frozen=True, eq=False)
class ClassProfiles:
    """How the channels of a layer respond to the classes of one atlas.

    `rows` have a value for each of its classes; `images` are their readable images, `numbers` the
    numbers of the classes in the joined atlas.
    """

    rows: Sequence[ClassStatsRow]
    images: Sequence[int]
    numbers: Sequence[int]

    def tables(self) -> tuple[Array, Array]:
        """The mean maxima and the shares that fire: (classes, channels)."""
        blobs = [(row.mean_maximum, row.fired_share) for row in self.rows]
        columns = list(zip(*blobs, strict=True))
        for column in columns:
            check_lengths(column, 4 * len(self.images), "a class profile")
        means, shares = (np.stack([np.frombuffer(blob, "<f4") for blob in c]) for c in columns)
        return means.T.astype(np.float64), shares.T.astype(np.float64)


@dataclass(frozen=True, eq=False)
class JoinedProfiles:
    """The mean maxima and the shares that fire (classes, channels), and the highest class.

    `images` are those of each class (classes, 1).
    """

    mean_maxima: Array
    fired_shares: Array
    top_label: Array
    images: Array


def join_class_profiles(parts: Sequence[ClassProfiles], classes: int) -> JoinedProfiles:
    """The means over the images of all parts, weighted by the images of each class.

    An atlas does not count by class the images without a finite value in a channel; where there are
    any, the weight of their part is a little too high.
    """
    weights = np.zeros((classes, 1))
    sums: list[Array] = [np.zeros(()), np.zeros(())]
    for part in parts:
        images = np.array(part.images, np.float64)[:, None]
        np.add.at(weights, np.array(part.numbers, np.int64), images)
        for place, table in enumerate(part.tables()):
            joined = np.zeros((classes, table.shape[1]))
            np.add.at(joined, np.array(part.numbers, np.int64), images * table)
            sums[place] = sums[place] + joined
    means, shares = (table / np.maximum(weights, 1) for table in sums)
    ranked = np.where(weights > 0, means, -np.inf)
    top_label = np.where((weights > 0).any(), ranked.argmax(0), -1)
    return JoinedProfiles(means, shares, top_label, weights)


def joined_maxima(columns: Mapping[str, Array], profiles: JoinedProfiles) -> MaximaSums:
    """What the correlations with classes are computed from, of joined statistics."""
    images, mean = columns["images"].astype(np.float64), columns["mean_maximum"]
    squares = images * (columns["std_maximum"] ** 2 + mean**2)
    class_images = np.broadcast_to(profiles.images, profiles.mean_maxima.shape)
    return MaximaSums(
        images, images * mean, squares, class_images, class_images * profiles.mean_maxima
    )
