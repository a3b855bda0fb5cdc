"""How each channel responds over all images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch

from retroscope.results.statistics import (
    Statistic,
    accumulated_statistics,
    stored_statistics,
)
from retroscope.scanning.statistics.batch_summary import BatchSummary
from retroscope.scanning.statistics.exact_sums import add_exactly, read_sums, sum_exactly


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

    def add(self, summary: BatchSummary) -> "ChannelSums":
        """With one more batch."""
        return ChannelSums(
            {
                row.name: _add_batch(row, self[row.name], of_batch(summary))
                if row.add_batch is None
                else row.add_batch(self[row.name], summary)
                for row, of_batch in accumulated_statistics()
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


def _add_batch(row: Statistic, value: torch.Tensor, of_batch: torch.Tensor) -> torch.Tensor:
    return add_exactly(value, of_batch) if row.is_real_sum else row.merge(value, of_batch)
