"""The k best images of each channel, with the position of the maximum in each."""

from dataclasses import dataclass
from types import ModuleType
from typing import Self

import torch

from retroscope.scanning.statistics.compiled_loops import compiled_loops

HIT_BYTES = 3 * 8
"""A score, an image and a position."""


@dataclass(frozen=True, eq=False)
class TopK:
    """Scores, images and positions of (channels, k), best first; ties go to the lower image.

    A position is an index into the flattened map. A slot without an image has image and position
    -1 and a score of minus infinity.
    """

    score: torch.Tensor
    image: torch.Tensor
    position: torch.Tensor

    @classmethod
    def empty(cls, channels: int, count: int, device: torch.device | None = None) -> Self:
        """No image yet."""
        empty = torch.full((channels, count), -1, dtype=torch.int64, device=device)
        score = torch.full((channels, count), -torch.inf, dtype=torch.float64, device=device)
        return cls(score, empty, empty.clone())

    def entry_mask(self, score: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Which of a batch's scores (images, channels) enter the ranking as it is now."""
        last = self.score[:, -1]
        earlier = (score == last) & (images[:, None] < self.image[:, -1])
        return ((score > last) | earlier) & (score > -torch.inf)

    def add(self, score: torch.Tensor, images: torch.Tensor, position: torch.Tensor) -> "TopK":
        """With one more batch: scores and positions of (images, channels), and the image numbers.

        The position of a score that does not enter may be anything.
        """
        if score.device.type != "cpu":  # to ask which scores enter would wait for the device
            return self.merge(_from_batch(score, images, position))
        if loops := compiled_loops():
            return self._insert(loops, score, images, position)
        channels = self.entry_mask(score, images).any(dim=0).nonzero()[:, 0]
        if len(channels) == 0:
            return self
        batch = _from_batch(score[:, channels], images, position[:, channels])
        return self._replace_rows(channels, self._rows(channels).merge(batch))

    def _insert(
        self, loops: ModuleType, score: torch.Tensor, images: torch.Tensor, position: torch.Tensor
    ) -> "TopK":
        scores = score if score.dtype in (torch.float32, torch.float64) else score.double()
        before = self.score, self.image, self.position
        ranking = TopK(
            *(torch.empty(column.shape, dtype=column.dtype, device="cpu") for column in before)
        )
        loops.insert_scores(
            *(tensor.contiguous().numpy() for tensor in (scores, images, position.int(), *before)),
            *(column.numpy() for column in (ranking.score, ranking.image, ranking.position)),
        )
        return ranking

    def merge(self, other: "TopK") -> "TopK":
        """The best of both, as many as this ranking holds."""
        score = torch.cat([self.score, other.score], dim=1)
        image = torch.cat([self.image, other.image], dim=1)
        position = torch.cat([self.position, other.position], dim=1)
        by_image = image.argsort(dim=1, stable=True)
        by_score = score.gather(1, by_image).argsort(dim=1, descending=True, stable=True)
        best = by_image.gather(1, by_score)[:, : self.score.shape[1]]
        return TopK(score.gather(1, best), image.gather(1, best), position.gather(1, best))

    def select_channels(self, channels: range) -> "TopK":
        """The ranking of a range of channels, as views."""
        rows = slice(channels.start, channels.stop)
        return TopK(self.score[rows], self.image[rows], self.position[rows])

    def _rows(self, rows: torch.Tensor) -> "TopK":
        return TopK(self.score[rows], self.image[rows], self.position[rows])

    def _replace_rows(self, rows: torch.Tensor, ranking: "TopK") -> "TopK":
        return TopK(
            self.score.index_copy(0, rows, ranking.score),
            self.image.index_copy(0, rows, ranking.image),
            self.position.index_copy(0, rows, ranking.position),
        )


def _from_batch(score: torch.Tensor, images: torch.Tensor, position: torch.Tensor) -> TopK:
    """A batch as a ranking that is not sorted yet."""
    score = score.T.double()
    finite = score > -torch.inf
    image = torch.where(finite, images, -1)
    return TopK(score, image, torch.where(finite, position.T, -1))
