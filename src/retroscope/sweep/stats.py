"""How each channel responds over all pictures, and over those of each class."""

from dataclasses import dataclass, fields
from typing import Self

import torch

from retroscope.results import HISTOGRAM_EDGES
from retroscope.sweep.summary import Summary

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
    """For each class: pictures, and for each channel the sum of maxima and how often it fires."""

    images: torch.Tensor
    maxima: torch.Tensor
    fired: torch.Tensor

    @classmethod
    def empty(cls, classes: int, channels: int, device: torch.device | None = None) -> Self:
        """No picture yet."""
        return cls(
            torch.zeros(classes, channels, dtype=torch.int64, device=device),
            torch.zeros(classes, channels, dtype=torch.float64, device=device),
            torch.zeros(classes, channels, dtype=torch.int64, device=device),
        )

    def add(self, summary: Summary, labels: torch.Tensor) -> "ClassSums":
        """With a batch; a label below zero is no class."""
        known = labels >= 0
        labels, maximum = labels[known], summary.maximum[known].double()
        seen = maximum > -torch.inf
        return ClassSums(
            self.images.index_add(0, labels, seen.to(torch.int64)),
            self.maxima.index_add(0, labels, torch.where(seen, maximum, 0)),
            self.fired.index_add(0, labels, (maximum > 0).to(torch.int64)),
        )

    def merge(self, other: "ClassSums") -> "ClassSums":
        """Over the pictures of both."""
        return ClassSums(
            self.images + other.images, self.maxima + other.maxima, self.fired + other.fired
        )
