"""How each channel responds over all images, and over the images of each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

import torch

from retroscope.results.statistics import accumulated_statistics, stored_statistics
from retroscope.scanning.statistics.batch_summary import BatchSummary, device_tensor
from retroscope.scanning.statistics.exact_sums import read_sums, sum_exactly


@dataclass(frozen=True, eq=False)
class ChannelSums:
    """For each statistic that accumulates, its values: (channels) or (channels, bins).

    A sum of real numbers is the digits of `sum_exactly`.
    """

    sums: Mapping[str, torch.Tensor]

    @classmethod
    def empty(cls, channels: int, device: torch.device | None = None) -> Self:
        """No image yet."""
        return cls.of_batch(BatchSummary.empty(channels, device))

    @classmethod
    def of_batch(cls, summary: BatchSummary) -> Self:
        """The sums of one batch."""
        values = {row.name: of_batch(summary) for row, of_batch in accumulated_statistics()}
        return cls(
            {
                row.name: sum_exactly(values[row.name]) if row.is_real_sum else values[row.name]
                for row, _ in accumulated_statistics()
            }
        )

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.sums[name]

    def merge(self, other: "ChannelSums") -> "ChannelSums":
        """The sums over the images of both."""
        return ChannelSums(
            {
                row.name: row.merge(self[row.name], other[row.name])
                for row, _ in accumulated_statistics()
            }
        )

    def replace_sum(self, name: str, values: torch.Tensor) -> "ChannelSums":
        """The same sums but for one."""
        return ChannelSums({**self.sums, name: values})

    def select_channels(self, channels: range) -> "ChannelSums":
        """The sums of a range of channels, as views."""
        rows = slice(channels.start, channels.stop)
        return ChannelSums({name: values[rows] for name, values in self.sums.items()})

    def finish(self) -> dict[str, torch.Tensor]:
        """The statistics that an atlas stores, by name."""
        sums = {
            row.name: read_sums(self[row.name]) if row.is_real_sum else self[row.name]
            for row, _ in accumulated_statistics()
        }
        return {
            row.name: row.finish(sums) if row.finish else sums[row.name]
            for row in stored_statistics()
        }


@dataclass(frozen=True, eq=False)
class ClassSums:
    """For each class a tensor (3, channels): the images, the sum of their maxima, and how many of
    them make the channel fire.

    A tensor for each class, so that a batch costs no more than the classes that occur in it.
    """

    rows: tuple[torch.Tensor, ...]
    """One for each class, and a last one that belongs to no class and stays zero."""

    @classmethod
    def empty(cls, classes: int, channels: int, device: torch.device | None = None) -> Self:
        """No image yet."""
        row = torch.zeros(3, channels, dtype=torch.float64, device=device)
        return cls((row,) * (classes + 1))

    @classmethod
    def from_tables(
        cls, images: torch.Tensor, maxima: torch.Tensor, fired_images: torch.Tensor
    ) -> Self:
        """From tables of (classes, channels)."""
        sums = torch.stack([images.double(), maxima, fired_images.double()], dim=1)
        return cls((*sums, sums.new_zeros(sums.shape[1:])))

    def add(self, summary: BatchSummary, labels: Sequence[int]) -> "ClassSums":
        """With one more batch; a label below zero is no class."""
        rows = list(self.rows)
        order = sorted(range(len(labels)), key=labels.__getitem__)
        order_on_device = device_tensor(torch.tensor(order), summary.maximum.device)
        maxima = summary.maximum[order_on_device].double()
        start = 0
        for label, members in groupby(order, key=labels.__getitem__):
            stop = start + len(list(members))
            if label >= 0:
                rows[label] = rows[label] + _class_row(maxima[start:stop])
            start = stop
        return ClassSums(tuple(rows))

    def merge(self, other: "ClassSums") -> "ClassSums":
        """The sums over the images of both."""
        pairs = zip(self.rows, other.rows, strict=True)
        return ClassSums(tuple(first + second for first, second in pairs))

    def select_channels(self, channels: range) -> "ClassSums":
        """The sums of a range of channels, as views."""
        columns = slice(channels.start, channels.stop)
        return ClassSums(tuple(row[:, columns] for row in self.rows))

    @property
    def images(self) -> torch.Tensor:
        """The images with a finite value: (classes, channels)."""
        return self._table(0).long()

    @property
    def maxima(self) -> torch.Tensor:
        """The sum of the images' maxima: (classes, channels)."""
        return self._table(1)

    @property
    def fired_images(self) -> torch.Tensor:
        """The images in which a channel fires: (classes, channels)."""
        return self._table(2).long()

    def _table(self, column: int) -> torch.Tensor:
        return torch.stack([row[column] for row in self.rows])[:-1]


def _class_row(maximum: torch.Tensor) -> torch.Tensor:
    """The row of `ClassSums` of images with these maxima (images, channels)."""
    finite = maximum > -torch.inf
    sums = finite.sum(0), torch.where(finite, maximum, 0).sum(0), (maximum > 0).sum(0)
    return torch.stack([column.double() for column in sums])
