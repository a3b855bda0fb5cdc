"""The best images of each class for each channel."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch

from retroscope.scanning.statistics.batch_images import BatchImages
from retroscope.scanning.statistics.batch_summary import device_tensor
from retroscope.scanning.statistics.rows_by_class import split_rows, stack_rows
from retroscope.scanning.statistics.topk import TopK

_COLUMNS = ("score", "image", "position")


@dataclass(frozen=True, eq=False)
class ClassRankings:
    """A ranking by maximum for each class that occurs; `no_image` is that of any other.

    A row for each class, so that a batch costs no more than the classes that occur in it.
    """

    no_image: TopK
    rows: Mapping[int, TopK] = field(default_factory=dict)

    @classmethod
    def empty(cls, channels: int, count: int, device: torch.device | None = None) -> Self:
        """No image yet; `count` images are ranked for each class."""
        return cls(TopK.empty(channels, count, device))

    @property
    def count(self) -> int:
        """How many images are ranked for each class and channel."""
        return self.no_image.score.shape[1]

    def __getitem__(self, label: int) -> TopK:
        """The ranking of a class."""
        return self.rows.get(label, self.no_image)

    def add(
        self, maximum: torch.Tensor, batch: BatchImages, position: torch.Tensor
    ) -> "ClassRankings":
        """With one more batch: maxima and their positions of (images, channels)."""
        if self.count == 0:
            return self
        rows = {}
        for label, places in batch.places_by_class().items():
            members = device_tensor(torch.tensor(places, device="cpu"), maximum.device)
            ranking = self[label]
            rows[label] = ranking.add(maximum[members], batch.numbers[members], position[members])
        return replace(self, rows={**self.rows, **rows})

    def merge(self, other: "ClassRankings") -> "ClassRankings":
        """The rankings of the images of both."""
        shared = self.rows.keys() & other.rows.keys()
        merged = {label: self.rows[label].merge(other.rows[label]) for label in shared}
        return replace(self, rows={**self.rows, **other.rows, **merged})

    def renumber_classes(self, labels: Mapping[int, int]) -> "ClassRankings":
        """The same rankings under other numbers of the classes."""
        return replace(self, rows={labels[label]: row for label, row in self.rows.items()})

    def map_rankings(self, change: Callable[[TopK], TopK]) -> "ClassRankings":
        """Each ranking changed by a function."""
        return replace(self, rows={label: change(row) for label, row in self.rows.items()})

    def select_channels(self, channels: range) -> "ClassRankings":
        """The rankings of a range of channels, as views."""
        rows = {label: row.select_channels(channels) for label, row in self.rows.items()}
        return ClassRankings(self.no_image.select_channels(channels), rows)

    def image_numbers(self, labels: Collection[int] | None = None) -> Iterable[torch.Tensor]:
        """The images in the rankings of some classes, by default of all: tensors of numbers."""
        return (row.image for label, row in self.rows.items() if labels is None or label in labels)

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """The labels that occur (classes), and their rankings (classes, channels, count)."""
        rows = {label: vars(row) for label, row in self.rows.items()}
        return stack_rows(rows, vars(self.no_image))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Self:
        """The rankings that `to_tensors` was called on."""
        score = tensors["score"]
        rows = {label: TopK(*row) for label, row in split_rows(tensors, _COLUMNS)}
        return cls(TopK.empty(score.shape[1], score.shape[2], score.device), rows)
