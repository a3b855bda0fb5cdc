"""All that a pass over images accumulates. Sweeps merge in any order: they form a monoid."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from retroscope.scanning.statistics.batch_images import BatchImages
from retroscope.scanning.statistics.batch_summary import (
    BatchSummary,
    concatenate_channels,
    device_tensor,
)
from retroscope.scanning.statistics.channel_sums import ChannelSums
from retroscope.scanning.statistics.class_rankings import ClassRankings
from retroscope.scanning.statistics.class_sums import ClassSums
from retroscope.scanning.statistics.extreme_positions import peak_positions, trough_positions
from retroscope.scanning.statistics.image_sample import ImageSample
from retroscope.scanning.statistics.plain_summary import Scratch
from retroscope.scanning.statistics.summary import summarise
from retroscope.scanning.statistics.topk import TopK

Array = npt.NDArray[np.generic]
Arrays = dict[str, Array]


@dataclass(frozen=True, eq=False)
class SweepBatch:
    """One batch as a sweep adds it: its summary, and where maxima and minima are.

    Those that enter no ranking may be anywhere.
    """

    summary: BatchSummary
    peaks: torch.Tensor
    troughs: torch.Tensor

    @classmethod
    def of_summary(cls, summary: BatchSummary, *, track_positions: bool = True) -> Self:
        """With the peaks and troughs of a summary; without `track_positions`, all are -1."""
        if track_positions and summary.peaks is not None and summary.troughs is not None:
            return cls(summary, summary.peaks, summary.troughs)
        nowhere = torch.full_like(summary.non_finite, -1)
        return cls(summary, nowhere, nowhere)

    @classmethod
    def concatenate(cls, layers: Sequence["SweepBatch"]) -> Self:
        """The channels of several layers as one."""
        return cls(
            concatenate_channels([layer.summary for layer in layers]),
            torch.cat([layer.peaks for layer in layers], dim=1),
            torch.cat([layer.troughs for layer in layers], dim=1),
        )


@dataclass(frozen=True, eq=False)
class Sweep:
    """The best images of each channel by maximum, mean and minimum, a sample, and its sums.

    The channels may be those of many layers: each layer of a batch is summarised while its maps
    are in memory, then all layers are added at once. Neither the order nor the grouping in which
    images are added changes a bit; ties in a ranking go to the lower image. The ranking by minimum
    has the `depth` of each image as its score.
    """

    by_max: TopK
    by_mean: TopK
    by_min: TopK
    sample: ImageSample
    class_rankings: ClassRankings
    channel_sums: ChannelSums
    class_sums: ClassSums

    @classmethod
    def empty(
        cls, channels: int, *, top: int, per_class: int = 0, device: torch.device | None = None
    ) -> Self:
        """No image yet; `per_class` images are ranked for each class."""
        return cls(
            by_max=TopK.empty(channels, top, device),
            by_mean=TopK.empty(channels, top, device),
            by_min=TopK.empty(channels, top, device),
            sample=ImageSample(channels),
            class_rankings=ClassRankings.empty(channels, per_class, device),
            channel_sums=ChannelSums.empty(channels, device),
            class_sums=ClassSums.empty(channels, device),
        )

    def summarise(
        self,
        maps: torch.Tensor,
        images: BatchImages,
        *,
        channels: range | None = None,
        scratch: Scratch | None = None,
        track_positions: bool = True,
    ) -> SweepBatch:
        """What `add` needs of the maps of a batch of images.

        `channels` are those of the maps; by default, all. Without `track_positions`, all positions
        are -1.
        """
        summary = summarise(maps, scratch)
        if not track_positions or summary.peaks is not None:
            return SweepBatch.of_summary(summary, track_positions=track_positions)
        by_max, by_mean, by_min = (
            ranking if channels is None else ranking.select_channels(channels)
            for ranking in (self.by_max, self.by_mean, self.by_min)
        )
        highest = by_max.entry_mask(summary.maximum, images.numbers)
        highest |= by_mean.entry_mask(summary.mean, images.numbers)
        highest[self._places_with_peaks(images)] = True
        lowest = by_min.entry_mask(summary.depth, images.numbers)
        finite = summary.is_finite
        return SweepBatch(
            summary,
            peak_positions(maps, highest, finite=finite),
            trough_positions(maps, lowest, finite=finite),
        )

    def _places_with_peaks(self, images: BatchImages) -> list[int]:
        """The images of a batch whose maxima all get a position: of the sample, or of a class."""
        by_class = images.places_by_class().values() if self.class_rankings.count else ()
        return [*self.sample.choose(images), *(place for places in by_class for place in places)]

    def add(self, batch: SweepBatch, images: BatchImages) -> "Sweep":
        """With one more batch of images."""
        summary, numbers = batch.summary, images.numbers
        maximum, peaks = summary.maximum, batch.peaks
        return Sweep(
            self.by_max.add(maximum, numbers, peaks),
            self.by_mean.add(summary.mean, numbers, peaks),
            self.by_min.add(summary.depth, numbers, batch.troughs),
            self.sample.add(maximum, images, peaks),
            self.class_rankings.add(maximum, images, peaks),
            self.channel_sums.add(summary),
            self.class_sums.add(summary, images.labels),
        )

    def with_exact_rankings(self, exact: "Sweep") -> "Sweep":
        """With the rankings, sample and extremes of another sweep, which computed them in full."""
        sums = self.channel_sums
        for name in ("maximum", "minimum"):
            sums = sums.replace_sum(name, exact.channel_sums[name])
        return replace(exact, channel_sums=sums, class_sums=self.class_sums)

    @property
    def parts(self) -> tuple[Any, ...]:
        """All fields; each selects channels and merges."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def select_channels(self, channels: range) -> "Sweep":
        """The sweep of a range of channels, as views."""
        return Sweep(*(part.select_channels(channels) for part in self.parts))

    def merge(self, other: "Sweep") -> "Sweep":
        """The sweep over the images of both."""
        pairs = zip(self.parts, other.parts, strict=True)
        return Sweep(*(mine.merge(theirs) for mine, theirs in pairs))

    def renumber(self, renumber: Callable[[Array | Sequence[int]], Array]) -> "Sweep":
        """The same sweep with other numbers of its images, which keep their order."""

        def change(ranking: TopK) -> TopK:
            images = torch.from_numpy(renumber(ranking.image.numpy()))
            return TopK(ranking.score, images, ranking.position)

        return replace(
            self,
            by_max=change(self.by_max),
            by_mean=change(self.by_mean),
            by_min=change(self.by_min),
            sample=self.sample.renumber(renumber),
            class_rankings=self.class_rankings.map_rankings(change),
        )

    def ranked_numbers(self, labels: Collection[int] | None = None) -> Iterator[torch.Tensor]:
        """The numbers of the images in a ranking or in the sample; -1 is an empty slot.

        Of the rankings by class, those of these `labels`, or of all.
        """
        for name in _RANKINGS:
            yield getattr(self, name).image.flatten()
        yield device_tensor(
            torch.tensor(self.sample.numbers, device="cpu").long(), self.by_max.image.device
        )
        for numbers in self.class_rankings.image_numbers(labels):
            yield numbers.flatten()

    def to_arrays(self) -> Arrays:
        """All numbers by name, for a checkpoint; of the classes, those that occur."""
        tensors: dict[str, torch.Tensor] = {}
        for name in _RANKINGS:
            tensors |= _add_prefix(f"{name}.", vars(getattr(self, name)))
        tensors |= _add_prefix(_SAMPLE, self.sample.to_tensors())
        tensors |= _add_prefix(CLASS_RANKINGS, self.class_rankings.to_tensors())
        tensors |= _add_prefix(_CHANNELS, self.channel_sums.sums)
        tensors |= _add_prefix(CLASSES, self.class_sums.to_tensors())
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], device: torch.device | None = None) -> Self:
        """The sweep that `to_arrays` was called on."""
        tensors = {
            name: torch.from_numpy(np.array(array)).to(device) for name, array in arrays.items()
        }
        return cls(
            by_max=TopK(**_select_prefix("by_max.", tensors)),
            by_mean=TopK(**_select_prefix("by_mean.", tensors)),
            by_min=TopK(**_select_prefix("by_min.", tensors)),
            sample=ImageSample.from_tensors(_select_prefix(_SAMPLE, tensors)),
            class_rankings=ClassRankings.from_tensors(_select_prefix(CLASS_RANKINGS, tensors)),
            channel_sums=ChannelSums(_select_prefix(_CHANNELS, tensors)),
            class_sums=ClassSums.from_tensors(_select_prefix(CLASSES, tensors)),
        )


_RANKINGS = ("by_max", "by_mean", "by_min")
_SAMPLE, _CHANNELS, CLASSES, CLASS_RANKINGS = "sample.", "channels.", "classes.", "class_rankings."
BY_CLASS = (CLASSES, CLASS_RANKINGS)
"""What the names of arrays begin with that have a row for each class."""
_OF_ALL_CHANNELS = ("sample.hash", "sample.number", *(f"{table}labels" for table in BY_CLASS))


def _add_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _select_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def concatenate_layers(layers: Sequence[Mapping[str, Array]]) -> Arrays:
    """The channels of several sweeps over the same images as one."""
    return {
        name: array
        if name in _OF_ALL_CHANNELS
        else np.concatenate(
            [layer[name] for layer in layers], axis=int(name.startswith((_SAMPLE, *BY_CLASS)))
        )
        for name, array in layers[0].items()
    }
