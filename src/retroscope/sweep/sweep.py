"""All that a pass over pictures gathers of one layer: a monoid."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from retroscope.sweep.stats import ClassSums, Stats
from retroscope.sweep.summary import Scratch, summarise
from retroscope.sweep.topk import TopK, places_in

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class Sweep:
    """The best pictures of each channel by maximum and by mean, and its statistics.

    `merge` is associative, and its result does not depend on the order but for the rounding of
    sums; ties in a ranking go to the lower picture number.
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

    def add(
        self,
        maps: torch.Tensor,
        images: torch.Tensor,
        labels: torch.Tensor,
        *,
        scratch: Scratch | None = None,
    ) -> "Sweep":
        """With the maps of a batch, the numbers of its pictures and of their classes."""
        summary, places = summarise(maps, scratch), places_in(maps)
        return Sweep(
            self.by_max.add(summary.maximum, images, places),
            self.by_mean.add(summary.mean, images, places),
            self.stats.merge(Stats.of(summary)),
            self.classes.add(summary, labels) if len(self.classes.images) else self.classes,
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
        """All numbers, by name, to be kept."""
        return {
            f"{part.name}.{one.name}": getattr(getattr(self, part.name), one.name).cpu().numpy()
            for part in fields(self)
            for one in fields(getattr(self, part.name))
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, npt.NDArray[np.generic]], device: torch.device | None = None
    ) -> Self:
        """The sweep whose numbers these are."""
        kinds = {"by_max": TopK, "by_mean": TopK, "stats": Stats, "classes": ClassSums}
        parts = {
            name: kind(
                **{
                    one.name: torch.from_numpy(np.array(arrays[f"{name}.{one.name}"])).to(device)
                    for one in fields(kind)
                }
            )
            for name, kind in kinds.items()
        }
        return cls(**parts)
