"""Network dissection: which concept's masks match the places where a channel is strong.

Bau et al. 2017, "Network Dissection: Quantifying Interpretability of Deep Visual Representations".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor, nan
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from retroscope.geometry import Field, ReceptiveField
from retroscope.imaging.decoding import Size
from retroscope.scanning.scoring.intervals import image_weights, tail_interval

STRONG_SHARE = 0.005
"""The share of a channel's positions that are above its threshold."""
MIN_OVERLAP = 0.04
"""A unit is named after a concept from this overlap on, as in the paper."""

LabelMap = npt.NDArray[np.int64]
"""The number of the concept under each pixel (height, width); 0 is none."""


class LargestValues:
    """The largest share of the values of each channel, of which the smallest is its threshold.

    It holds as many as the positions of all images require, so values can be added in any order.
    """

    def __init__(self, channels: int, max_positions: int, share: float = STRONG_SHARE) -> None:
        self._share = share
        self._limit = floor(share * max_positions) + 1
        self._values = torch.full((channels, 0), -torch.inf, device="cpu")
        self._counts = torch.zeros(channels, dtype=torch.int64, device="cpu")

    def add(self, maps: torch.Tensor) -> None:
        """The maps of some images (images, channels, height, width). NaN and infinity do not
        count.
        """
        values = maps.transpose(0, 1).flatten(1)
        finite = values.isfinite()
        self._counts += finite.sum(1)
        merged = torch.cat([self._values, torch.where(finite, values, -torch.inf)], dim=1)
        self._values = merged.topk(min(self._limit, merged.shape[1]), dim=1).values

    def thresholds(self) -> torch.Tensor:
        """The value of each channel that the given share of its positions, at most, exceeds.

        Infinite for a channel without finite values.
        """
        ranks = (self._counts * self._share).floor().long().clamp(max=self._values.shape[1] - 1)
        thresholds = self._values.gather(1, ranks[:, None])[:, 0]
        return torch.where(self._counts > 0, thresholds, torch.inf)


def upsample(maps: torch.Tensor, field: ReceptiveField, size: Size) -> torch.Tensor:
    """Maps (..., height, width) at the size of the input, interpolated between field centres.

    Each unit's value stands at the centre of its receptive field; pixels beyond the outermost
    centres have the value of the nearest.
    """
    rows = _interpolation(field.y, maps.shape[-2], size[0]).to(maps)
    columns = _interpolation(field.x, maps.shape[-1], size[1]).to(maps)
    return rows @ maps @ columns.T


def _interpolation(field: Field, units: int, pixels: int) -> torch.Tensor:
    """The weight of each unit for each pixel of an axis (pixels, units)."""
    if units == 1 or not field.stride:
        return torch.full((pixels, units), 1 / units, device="cpu")
    places = (torch.arange(pixels, dtype=torch.float64, device="cpu") - field.centre) / float(
        field.stride
    )
    places = places.clamp(0, units - 1)
    first = places.floor().long().clamp(max=units - 2)
    share = places - first
    weights = torch.zeros(pixels, units, dtype=torch.float64, device="cpu")
    weights.scatter_(1, first[:, None], (1 - share)[:, None])
    weights.scatter_(1, first[:, None] + 1, share[:, None])
    return weights


@dataclass
class ConceptCounts:
    """Pixels where channels are strong, where concepts are, and both; summed over images.

    The first entry of each sum is over all images, the others over bootstrap samples of them.
    """

    images: int
    strong: npt.NDArray[np.float64]
    present: npt.NDArray[np.float64]
    both: npt.NDArray[np.float64]
    _weights: npt.NDArray[np.float64] = field(repr=False)

    @classmethod
    def empty(cls, images: int, channels: int, concepts: int) -> Self:
        samples = image_weights(images)
        weights = np.concatenate([np.ones((1, images)), samples])
        count = len(weights)
        return cls(
            images,
            np.zeros((count, channels)),
            np.zeros((count, concepts)),
            np.zeros((count, channels, concepts)),
            weights,
        )

    def add(self, order: int, strong: torch.Tensor, concepts: torch.Tensor) -> None:
        """One image, by its place in the list: where each channel is strong (channels, pixels), and
        where each concept is (pixels, concepts).
        """
        weights = self._weights[:, order]
        strong, concepts = strong.float(), concepts.float()
        self.strong += weights[:, None] * strong.sum(1).numpy()
        self.present += weights[:, None] * concepts.sum(0).numpy()
        self.both += weights[:, None, None] * (strong @ concepts).numpy()

    def overlaps(self) -> npt.NDArray[np.float64]:
        """Intersection over union (samples, channels, concepts); 0 where there is no union."""
        union = self.strong[:, :, None] + self.present[:, None, :] - self.both
        return np.divide(self.both, union, out=np.zeros_like(union), where=union > 0)


@dataclass(frozen=True)
class BestConcept:
    """The concept that a channel matches best; `concept` is its index."""

    concept: int
    overlap: float
    low: float
    high: float
    chance: float

    @property
    def is_name(self) -> bool:
        """Whether the unit is named after it: enough overlap, and more than by chance."""
        return self.overlap >= MIN_OVERLAP and self.low > self.chance


def best_concepts(counts: ConceptCounts, chance: ConceptCounts | None) -> list[BestConcept]:
    """The best concept of each channel; the first of several.

    `chance` counts the same maps with the masks of other images: its best overlap is the level that
    the best of so many concepts reaches by chance. A single image has neither it nor an interval.
    """
    overlaps = counts.overlaps()
    levels = None if chance is None else chance.overlaps()[0].max(axis=1)
    best = overlaps[0].argmax(axis=1)
    concepts = []
    for channel, concept in enumerate(best.tolist()):
        low, high = (
            tail_interval(overlaps[1:, channel, concept]) if counts.images > 1 else (nan,) * 2
        )
        level = nan if levels is None else float(levels[channel])
        overlap = float(overlaps[0, channel, concept])
        concepts.append(BestConcept(concept, overlap, low, high, level))
    return concepts


def concept_planes(labels: LabelMap, numbers: Sequence[int]) -> torch.Tensor:
    """Where each concept is (pixels, concepts)."""
    flat = torch.from_numpy(labels).flatten()
    return flat[:, None] == torch.tensor(numbers, device="cpu")[None, :]


def partners(images: int, seed: int = 0) -> list[int]:
    """Another image for each image, at random: one cycle through all of them.

    >>> partners(1), sorted(partners(3))
    ([0], [0, 1, 2])
    """
    order = np.random.default_rng(seed).permutation(images)
    result = np.empty(images, np.int64)
    result[order] = np.roll(order, -1)
    return [int(partner) for partner in result]
