"""All that a pass over images accumulates. Sweeps merge in any order: they form a monoid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from retroscope.scanning.statistics.batch_summary import BatchSummary, concatenate_channels
from retroscope.scanning.statistics.channel_sums import ChannelSums
from retroscope.scanning.statistics.class_sums import ClassSums
from retroscope.scanning.statistics.plain_summary import Scratch
from retroscope.scanning.statistics.summary import summarise
from retroscope.scanning.statistics.topk import TopK, peak_positions

Array = npt.NDArray[np.generic]
Arrays = dict[str, Array]


@dataclass(frozen=True, eq=False)
class SweepBatch:
    """One batch as a sweep adds it: its summary, and where the maxima that enter a ranking are."""

    summary: BatchSummary
    positions: torch.Tensor

    @classmethod
    def concatenate(cls, layers: Sequence["SweepBatch"]) -> Self:
        """The channels of several layers as one."""
        return cls(
            concatenate_channels([layer.summary for layer in layers]),
            torch.cat([layer.positions for layer in layers], dim=1),
        )


@dataclass(frozen=True, eq=False)
class Sweep:
    """The best images of each channel by maximum and by mean, and its sums.

    The channels may be those of many layers: each layer of a batch is summarised while its maps
    are in memory, then all layers are added at once. Neither the order nor the grouping in which
    images are added changes a bit; ties in a ranking go to the lower image.
    """

    by_max: TopK
    by_mean: TopK
    channel_sums: ChannelSums
    class_sums: ClassSums

    @classmethod
    def empty(cls, channels: int, *, top: int, device: torch.device | None = None) -> Self:
        """No image yet."""
        return cls(
            TopK.empty(channels, top, device),
            TopK.empty(channels, top, device),
            ChannelSums.empty(channels, device),
            ClassSums.empty(channels, device),
        )

    def summarise(
        self,
        maps: torch.Tensor,
        images: torch.Tensor,
        *,
        channels: range | None = None,
        scratch: Scratch | None = None,
        track_positions: bool = True,
    ) -> SweepBatch:
        """What `add` needs of the maps of a batch, the images of these numbers.

        `channels` are those of the maps; by default, all. Without `track_positions`, all positions
        are -1.
        """
        summary = summarise(maps, scratch)
        if not track_positions:
            return SweepBatch(summary, torch.full_like(summary.non_finite, -1))
        if summary.peaks is not None:
            return SweepBatch(summary, summary.peaks)
        by_max, by_mean = (
            ranking if channels is None else ranking.select_channels(channels)
            for ranking in (self.by_max, self.by_mean)
        )
        mask = by_max.entry_mask(summary.maximum, images)
        mask |= by_mean.entry_mask(summary.mean, images)
        return SweepBatch(summary, peak_positions(maps, mask, finite=summary.is_finite))

    def add(self, batch: SweepBatch, images: torch.Tensor, labels: Sequence[int]) -> "Sweep":
        """With one more batch, the images of these numbers and classes."""
        return Sweep(
            self.by_max.add(batch.summary.maximum, images, batch.positions),
            self.by_mean.add(batch.summary.mean, images, batch.positions),
            self.channel_sums.merge(ChannelSums.of_batch(batch.summary)),
            self.class_sums.add(batch.summary, labels),
        )

    def with_exact_rankings(self, exact: "Sweep") -> "Sweep":
        """With the rankings and the maxima of another sweep, which computed them in full."""
        sums = self.channel_sums.replace_sum("maximum", exact.channel_sums["maximum"])
        return replace(self, by_max=exact.by_max, by_mean=exact.by_mean, channel_sums=sums)

    def select_channels(self, channels: range) -> "Sweep":
        """The sweep of a range of channels, as views."""
        return Sweep(
            self.by_max.select_channels(channels),
            self.by_mean.select_channels(channels),
            self.channel_sums.select_channels(channels),
            self.class_sums.select_channels(channels),
        )

    def merge(self, other: "Sweep") -> "Sweep":
        """The sweep over the images of both."""
        return Sweep(
            self.by_max.merge(other.by_max),
            self.by_mean.merge(other.by_mean),
            self.channel_sums.merge(other.channel_sums),
            self.class_sums.merge(other.class_sums),
        )

    def to_arrays(self) -> Arrays:
        """All numbers by name, for a checkpoint; of the classes, those that occur."""
        tensors = {
            **_name_ranking("by_max", self.by_max),
            **_name_ranking("by_mean", self.by_mean),
            **_add_prefix(_CHANNELS, self.channel_sums.sums),
            **_add_prefix(CLASSES, self.class_sums.to_tensors()),
        }
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], device: torch.device | None = None) -> Self:
        """The sweep that `to_arrays` was called on."""
        tensors = {
            name: torch.from_numpy(np.array(array)).to(device) for name, array in arrays.items()
        }
        return cls(
            _unname_ranking("by_max", tensors),
            _unname_ranking("by_mean", tensors),
            ChannelSums(_select_prefix(_CHANNELS, tensors)),
            ClassSums.from_tensors(_select_prefix(CLASSES, tensors)),
        )


_CHANNELS, CLASSES = "channels.", "classes."
CLASS_LABELS = f"{CLASSES}labels"


def _add_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _select_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _name_ranking(name: str, ranking: TopK) -> dict[str, torch.Tensor]:
    return {
        f"{name}.score": ranking.score,
        f"{name}.image": ranking.image,
        f"{name}.position": ranking.position,
    }


def _unname_ranking(name: str, tensors: Mapping[str, torch.Tensor]) -> TopK:
    columns = (tensors[f"{name}.{column}"] for column in ("score", "image", "position"))
    return TopK(*columns)


def concatenate_layers(layers: Sequence[Mapping[str, Array]]) -> Arrays:
    """The channels of several sweeps over the same images as one."""
    arrays = {
        name: np.concatenate([layer[name] for layer in layers], axis=int(name.startswith(CLASSES)))
        for name in layers[0]
        if name != CLASS_LABELS
    }
    return {**arrays, CLASS_LABELS: layers[0][CLASS_LABELS]}
