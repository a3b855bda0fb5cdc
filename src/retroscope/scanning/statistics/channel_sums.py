"""How each channel responds over all images, and over the images of each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch

from retroscope.results.statistics import accumulated_statistics, stored_statistics
from retroscope.scanning.statistics.summary import BatchSummary


@dataclass(frozen=True, eq=False)
class ChannelSums:
    """For each statistic that accumulates, its values: (channels) or (channels, bins)."""

    sums: Mapping[str, torch.Tensor]

    @classmethod
    def empty(cls, channels: int, device: torch.device | None = None) -> Self:
        """No image yet."""
        return cls.of_batch(BatchSummary.empty(channels, device))

    @classmethod
    def of_batch(cls, summary: BatchSummary) -> Self:
        """The sums of one batch."""
        rows = accumulated_statistics()
        return cls({row.name: of_batch(summary) for row, of_batch in rows})

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
        return {
            row.name: row.finish(self.sums) if row.finish else self[row.name]
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
        for label in set(labels) - {-1}:
            members = [index for index, member in enumerate(labels) if member == label]
            maximum = summary.maximum[members].double()
            finite = maximum > -torch.inf
            sums = (finite.sum(0), torch.where(finite, maximum, 0).sum(0), (maximum > 0).sum(0))
            rows[label] = rows[label] + torch.stack([column.double() for column in sums])
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
