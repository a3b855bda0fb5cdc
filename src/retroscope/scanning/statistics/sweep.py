"""All that a pass over pictures gathers: a monoid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from retroscope.scanning.statistics.channel_sums import ClassSums, Stats
from retroscope.scanning.statistics.summary import Scratch, Summary, side_by_side, summarise
from retroscope.scanning.statistics.topk import TopK, places_in

Array = npt.NDArray[np.generic]
Arrays = dict[str, Array]


@dataclass(frozen=True, eq=False)
class Seen:
    """The maps of a batch: what they come to, and the places of those that enter a ranking."""

    summary: Summary
    place: torch.Tensor

    @classmethod
    def together(cls, layers: Sequence["Seen"]) -> Self:
        """The channels of several layers as one."""
        return cls(
            side_by_side([one.summary for one in layers]),
            torch.cat([one.place for one in layers], dim=1),
        )


_TABLES = {
    "by_max": ("score", "image", "place"),
    "by_mean": ("score", "image", "place"),
    "stats": tuple(one.name for one in fields(Stats)),
    "classes": ("images", "maxima", "fired"),
}


@dataclass(frozen=True, eq=False)
class Sweep:
    """The best pictures of each channel by maximum and by mean, and its statistics.

    Its channels may be those of many layers: a batch is looked at layer by layer, while the maps
    are there, and taken in at once. `merge` is associative, and its result does not depend on the
    order but for the rounding of sums; ties in a ranking go to the lower picture number.
    """

    by_max: TopK
    by_mean: TopK
    stats: Stats
    classes: ClassSums

    @classmethod
    def empty(
        cls, channels: int, *, top: int, classes: int = 0, device: torch.device | None = None
    ) -> Self:
        """No picture yet."""
        return cls(
            TopK.empty(channels, top, device),
            TopK.empty(channels, top, device),
            Stats.empty(channels, device),
            ClassSums.empty(classes, channels, device),
        )

    def look(
        self,
        maps: torch.Tensor,
        images: torch.Tensor,
        *,
        scratch: Scratch | None = None,
        places: bool = True,
    ) -> Seen:
        """What `take` needs of the maps of a batch, the pictures of these numbers.

        Without `places`, those in the rankings are -1.
        """
        summary = summarise(maps, scratch)
        if not places:
            return Seen(summary, torch.full_like(summary.non_finite, -1))
        wanted = self.by_max.enters(summary.maximum, images)
        wanted |= self.by_mean.enters(summary.mean, images)
        return Seen(summary, places_in(maps, wanted, finite=summary.finite))

    def take(self, seen: Seen, images: torch.Tensor, labels: Sequence[int]) -> "Sweep":
        """With the batch that was looked at."""
        return Sweep(
            self.by_max.add(seen.summary.maximum, images, seen.place),
            self.by_mean.add(seen.summary.mean, images, seen.place),
            self.stats.merge(Stats.of(seen.summary)),
            self.classes.add(seen.summary, labels),
        )

    def ranked_by(self, exact: "Sweep") -> "Sweep":
        """With the rankings and the highest values that another sweep found more exactly."""
        stats = replace(self.stats, maximum=exact.stats.maximum)
        return replace(self, by_max=exact.by_max, by_mean=exact.by_mean, stats=stats)

    def part(self, channels: range) -> "Sweep":
        """The same of some channels; the numbers stay where they are."""
        return Sweep(
            self.by_max.part(channels),
            self.by_mean.part(channels),
            self.stats.part(channels),
            self.classes.part(channels),
        )

    def merge(self, other: "Sweep") -> "Sweep":
        """Over the pictures of both."""
        return Sweep(
            self.by_max.merge(other.by_max),
            self.by_mean.merge(other.by_mean),
            self.stats.merge(other.stats),
            self.classes.merge(other.classes),
        )

    def arrays(self) -> Arrays:
        """All numbers, by name, to be kept; `classes` are (classes, channels)."""
        return {
            f"{part}.{name}": getattr(getattr(self, part), name).cpu().numpy()
            for part, names in _TABLES.items()
            for name in names
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], device: torch.device | None = None) -> Self:
        """The sweep whose numbers these are."""
        by_max, by_mean, stats, classes = (
            [torch.from_numpy(np.array(arrays[f"{part}.{name}"])).to(device) for name in names]
            for part, names in _TABLES.items()
        )
        return cls(TopK(*by_max), TopK(*by_mean), Stats(*stats), ClassSums.of(*classes))


def together(layers: Sequence[Mapping[str, Array]]) -> Arrays:
    """The channels of several sweeps over the same pictures as one."""
    return {
        name: np.concatenate([one[name] for one in layers], axis=int(name.startswith("classes")))
        for name in layers[0]
    }
