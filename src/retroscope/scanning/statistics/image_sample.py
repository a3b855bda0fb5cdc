"""A random sample of the images, the same for all channels, with the maxima of each channel.

The images whose keys have the lowest hashes are the sample, so it depends neither on the order nor
on the grouping in which images are added, and samples merge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from retroscope.results.plates import SAMPLE_QUANTILES
from retroscope.scanning.statistics.batch_images import BatchImages

Array = npt.NDArray[Any]

SAMPLE_IMAGES = 128
"""The images of a sample; of fewer images, all."""
SAMPLE_BYTES = 4 + 4
"""What an image of the sample takes for each channel."""


SAMPLE_HITS = len(SAMPLE_QUANTILES) + 1
"""The images that an atlas shows of each channel: at these quantiles, and at random."""
_SCATTER, _SCATTER_RANGE = 2654435761, 2**32
"""Knuth's multiplicative hash: the random images of neighbouring channels are unrelated."""


@dataclass(frozen=True, eq=False)
class SampledImage:
    """An image with the maximum of each channel and the first position of it: (channels).

    Without a finite value, the maximum is minus infinity and the position -1.
    """

    hash: int
    number: int
    score: torch.Tensor
    position: torch.Tensor

    @property
    def key(self) -> tuple[int, int]:
        """What decides whether it is in the sample: the lowest keys are."""
        return self.hash, self.number


@dataclass(frozen=True, eq=False)
class ImageSample:
    """The sampled images in the order of their hashes; ties go to the lower number."""

    channels: int
    images: Sequence[SampledImage] = ()

    def choose(self, batch: BatchImages) -> list[int]:
        """The places in a batch of the images that enter the sample."""
        present = [(*image.key, -1) for image in self.images]
        entering = [(image.hash, image.number, place) for place, image in enumerate(batch.images)]
        lowest = nsmallest(SAMPLE_IMAGES, [*present, *entering])
        return [place for *_, place in lowest if place >= 0]

    def add(
        self, maximum: torch.Tensor, batch: BatchImages, position: torch.Tensor
    ) -> "ImageSample":
        """With one more batch: maxima and their positions of (images, channels)."""
        places = self.choose(batch)
        if not places:
            return self
        entering = [
            _sampled_image(
                *(batch.images[place].hash, batch.images[place].number),
                maximum[place],
                position[place],
            )
            for place in places
        ]
        return self.merge(ImageSample(self.channels, entering))

    def merge(self, other: "ImageSample") -> "ImageSample":
        """The sample of the images of both."""
        lowest = nsmallest(
            SAMPLE_IMAGES, [*self.images, *other.images], key=lambda image: image.key
        )
        return replace(self, images=tuple(lowest))

    def select_channels(self, channels: range) -> "ImageSample":
        """The sample for a range of channels, as views."""
        rows = slice(channels.start, channels.stop)
        images = (
            replace(image, score=image.score[rows], position=image.position[rows])
            for image in self.images
        )
        return ImageSample(len(channels), tuple(images))

    def renumber(self, renumber: Callable[[Sequence[int]], Array]) -> "ImageSample":
        """The same images under other numbers, which keep their order."""
        numbers = renumber(self.numbers).tolist()
        images = zip(self.images, numbers, strict=True)
        return replace(self, images=tuple(replace(image, number=n) for image, n in images))

    @property
    def numbers(self) -> list[int]:
        """The numbers of the images."""
        return [image.number for image in self.images]

    @property
    def hashes(self) -> list[int]:
        """The hashes of the images' keys."""
        return [image.hash for image in self.images]

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """Hashes and numbers (images), scores and positions (images, channels)."""
        nothing = torch.empty(0, self.channels, device="cpu")
        images = self.images
        return {
            "hash": torch.tensor(self.hashes, dtype=torch.int64, device="cpu"),
            "number": torch.tensor(self.numbers, dtype=torch.int64, device="cpu"),
            "score": torch.stack([image.score for image in images]) if images else nothing,
            "position": torch.stack([image.position for image in images])
            if images
            else nothing.int(),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Self:
        """The sample that `to_tensors` was called on."""
        hashes, numbers = tensors["hash"].tolist(), tensors["number"].tolist()
        columns = zip(hashes, numbers, tensors["score"], tensors["position"], strict=True)
        images = (  # in memory of their own: a view would keep all images of a segment
            SampledImage(key_hash, number, score.clone(), position.clone())
            for key_hash, number, score, position in columns
        )
        return cls(tensors["score"].shape[1], tuple(images))


def _sampled_image(
    key_hash: int, number: int, maximum: torch.Tensor, position: torch.Tensor
) -> SampledImage:
    """A row of a batch, in memory of its own: a view would keep the whole batch."""
    is_finite = maximum > -torch.inf
    score = torch.where(is_finite, maximum, -torch.inf).float()
    return SampledImage(key_hash, number, score, torch.where(is_finite, position, -1).int())


def choose_strata(scores: Array) -> Array:
    """Which sampled images an atlas shows of each channel: indices (channels, `SAMPLE_HITS`).

    `scores` are (channels, images) in the order of the sample. The first are the images at the
    `SAMPLE_QUANTILES` of the channel's scores, where ties follow the order of the sample; the last
    is any image. An image without a finite value has the score minus infinity and does not count;
    without any other, the index is -1.

    >>> choose_strata(np.array([[1.0, 3.0, 2.0]]))
    array([[1, 1, 1, 1, 2, 0]])
    """
    channels, images = scores.shape
    is_finite = scores > -np.inf
    counts = is_finite.sum(1)
    by_score = np.argsort(scores, axis=1, kind="stable")
    in_order = np.argsort(~is_finite, axis=1, kind="stable")
    last = np.maximum(counts - 1, 0)
    scattered = np.arange(channels, dtype=np.int64) * _SCATTER % _SCATTER_RANGE
    strata = [
        images - counts + np.rint(share * last).astype(np.int64) for share in SAMPLE_QUANTILES
    ]
    chosen = [_take(by_score, stratum) for stratum in strata]
    chosen.append(_take(in_order, scattered % np.maximum(counts, 1)))
    return np.where(counts[:, None] > 0, np.stack(chosen, axis=1), -1)


def _take(table: Array, columns: Array) -> Array:
    """One column of each row."""
    if table.shape[1] == 0:
        return columns
    taken: Array = np.take_along_axis(
        table, np.minimum(columns, table.shape[1] - 1)[:, None], axis=1
    )[:, 0]
    return taken
