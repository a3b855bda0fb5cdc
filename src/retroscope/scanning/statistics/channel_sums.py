"""How each channel responds over all pictures, and over those of each class."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch

from retroscope.results.values import HISTOGRAM_EDGES
from retroscope.scanning.statistics.summary import Summary

BINS = len(HISTOGRAM_EDGES) + 1


@dataclass(frozen=True, eq=False)
class Stats:
    """Sums over pictures and positions, a number for each channel; `histogram` has bins too."""

    images: torch.Tensor
    positions: torch.Tensor
    total: torch.Tensor
    squares: torch.Tensor
    maximum: torch.Tensor
    fired_images: torch.Tensor
    fired_positions: torch.Tensor
    non_finite: torch.Tensor
    histogram: torch.Tensor

    @classmethod
    def empty(cls, channels: int, device: torch.device | None = None) -> Self:
        """No picture yet."""
        count = torch.zeros(channels, dtype=torch.int64, device=device)
        total = torch.zeros(channels, dtype=torch.float64, device=device)
        histogram = torch.zeros(channels, BINS, dtype=torch.int64, device=device)
        lowest = total - torch.inf
        return cls(count, count, total, total, lowest, count, count, count, histogram)

    @classmethod
    def of(cls, summary: Summary) -> Self:
        """Of one batch."""
        seen = summary.maximum > -torch.inf
        finite = summary.positions - summary.non_finite
        return cls(
            images=seen.sum(0),
            positions=finite.sum(0),
            total=summary.total.double().sum(0),
            squares=summary.squares.double().sum(0),
            maximum=summary.maximum.double().amax(0),
            fired_images=(summary.maximum > 0).sum(0),
            fired_positions=summary.fired.sum(0),
            non_finite=summary.non_finite.sum(0),
            histogram=_histogram(summary.maximum, seen),
        )

    def merge(self, other: "Stats") -> "Stats":
        """Over the pictures of both."""
        merged = {
            one.name: getattr(self, one.name) + getattr(other, one.name)
            for one in fields(self)
            if one.name != "maximum"
        }
        return Stats(**merged, maximum=torch.maximum(self.maximum, other.maximum))

    def part(self, channels: range) -> "Stats":
        """The same of some channels; the numbers stay where they are."""
        some = slice(channels.start, channels.stop)
        return Stats(**{one.name: getattr(self, one.name)[some] for one in fields(self)})

    @property
    def mean(self) -> torch.Tensor:
        """Over all finite positions of all pictures."""
        return self.total / self.positions.clamp(min=1)

    @property
    def std(self) -> torch.Tensor:
        """Over all finite positions of all pictures."""
        spread = self.squares / self.positions.clamp(min=1) - self.mean.square()
        return spread.clamp(min=0).sqrt()


def _histogram(maximum: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    edges = torch.from_numpy(HISTOGRAM_EDGES).to(maximum.device)
    bins = torch.bucketize(maximum.double(), edges).T.contiguous()
    counts = torch.zeros(len(bins), BINS, dtype=torch.int64, device=maximum.device)
    return counts.scatter_add_(1, bins, seen.T.to(torch.int64).contiguous())


@dataclass(frozen=True, eq=False)
class ClassSums:
    """For each class (3, channels): pictures, the sum of maxima, and how often a channel fires.

    A row for each class, so that a batch costs no more than the classes that are in it.
    """

    rows: tuple[torch.Tensor, ...]
    """The last is of no class, and stays zero."""

    @classmethod
    def empty(cls, classes: int, channels: int, device: torch.device | None = None) -> Self:
        """No picture yet."""
        row = torch.zeros(3, channels, dtype=torch.float64, device=device)
        return cls((row,) * (classes + 1))

    @classmethod
    def of(cls, images: torch.Tensor, maxima: torch.Tensor, fired: torch.Tensor) -> Self:
        """Of tables (classes, channels)."""
        sums = torch.stack([images.double(), maxima, fired.double()], dim=1)
        return cls((*sums, sums.new_zeros(sums.shape[1:])))

    def add(self, summary: Summary, labels: Sequence[int]) -> "ClassSums":
        """With a batch; a label below zero is no class."""
        rows = list(self.rows)
        for label in set(labels) - {-1}:
            own = [number for number, one in enumerate(labels) if one == label]
            maximum = summary.maximum[own].double()
            seen = maximum > -torch.inf
            sums = (seen.sum(0), torch.where(seen, maximum, 0).sum(0), (maximum > 0).sum(0))
            rows[label] = rows[label] + torch.stack([one.double() for one in sums])
        return ClassSums(tuple(rows))

    def merge(self, other: "ClassSums") -> "ClassSums":
        """Over the pictures of both."""
        return ClassSums(tuple(a + b for a, b in zip(self.rows, other.rows, strict=True)))

    def part(self, channels: range) -> "ClassSums":
        """The same of some channels; the numbers stay where they are."""
        some = slice(channels.start, channels.stop)
        return ClassSums(tuple(row[:, some] for row in self.rows))

    @property
    def images(self) -> torch.Tensor:
        """Of each class and channel."""
        return self._table(0).long()

    @property
    def maxima(self) -> torch.Tensor:
        """Of each class and channel, summed over its pictures."""
        return self._table(1)

    @property
    def fired(self) -> torch.Tensor:
        """In how many pictures of each class a channel fires."""
        return self._table(2).long()

    def _table(self, line: int) -> torch.Tensor:
        return torch.stack([row[line] for row in self.rows])[:-1]
