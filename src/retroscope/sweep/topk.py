"""The k best pictures of each channel, with the place of the maximum in each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch

Places = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""The flat position of the maximum for pairs of a batch row and a channel."""


@dataclass(frozen=True, eq=False)
class TopK:
    """Scores, pictures and places (channels, k), best first; equal scores by picture number.

    A slot without a picture has picture and place -1 and a score of minus infinity.
    """

    score: torch.Tensor
    image: torch.Tensor
    place: torch.Tensor

    @classmethod
    def empty(cls, channels: int, count: int, device: torch.device | None = None) -> Self:
        """No picture yet."""
        nothing = torch.full((channels, count), -1, dtype=torch.int64, device=device)
        score = torch.full((channels, count), -torch.inf, dtype=torch.float64, device=device)
        return cls(score, nothing, nothing.clone())

    def add(self, score: torch.Tensor, images: torch.Tensor, places: Places) -> "TopK":
        """With a batch: scores (pictures, channels) and the pictures' numbers.

        The place is looked up only for those that enter.
        """
        score = score.double()
        last, tied = self.score[:, -1], score == self.score[:, -1]
        earlier = tied & (images[:, None] < self.image[:, -1])
        enters = ((score > last) | earlier) & (score > -torch.inf)
        rows, channels = enters.nonzero(as_tuple=True)
        if len(rows) == 0:
            return self
        touched, inverse = torch.unique(channels, return_inverse=True)
        shape = len(touched), len(images)
        fresh = TopK(
            torch.full(shape, -torch.inf, dtype=torch.float64, device=score.device),
            torch.full(shape, -1, dtype=torch.int64, device=score.device),
            torch.full(shape, -1, dtype=torch.int64, device=score.device),
        )
        fresh.score[inverse, rows] = score[rows, channels]
        fresh.image[inverse, rows] = images[rows]
        fresh.place[inverse, rows] = places(rows, channels)
        return self._replaced(touched, self._rows(touched).merge(fresh))

    def merge(self, other: "TopK") -> "TopK":
        """The best of both, as many as this one keeps."""
        score = torch.cat([self.score, other.score], dim=1)
        image = torch.cat([self.image, other.image], dim=1)
        place = torch.cat([self.place, other.place], dim=1)
        by_image = image.argsort(dim=1, stable=True)
        by_score = score.gather(1, by_image).argsort(dim=1, descending=True, stable=True)
        best = by_image.gather(1, by_score)[:, : self.score.shape[1]]
        return TopK(score.gather(1, best), image.gather(1, best), place.gather(1, best))

    def _rows(self, rows: torch.Tensor) -> "TopK":
        return TopK(self.score[rows], self.image[rows], self.place[rows])

    def _replaced(self, rows: torch.Tensor, fresh: "TopK") -> "TopK":
        return TopK(
            self.score.index_copy(0, rows, fresh.score),
            self.image.index_copy(0, rows, fresh.image),
            self.place.index_copy(0, rows, fresh.place),
        )


def places_in(maps: torch.Tensor) -> Places:
    """Looks up the first position of the maximum in maps (pictures, channels, height, width)."""

    def look(rows: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
        found = torch.empty_like(rows)
        for row in torch.unique(rows).tolist():
            own = rows == row
            found[own] = _first_peaks(maps[row], channels[own])
        return found

    return look


def _first_peaks(maps: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    """The first position of the maximum in some of a picture's maps (channels, height, width)."""
    chosen = maps.permute(1, 2, 0).flatten(0, 1).index_select(1, channels)
    place = chosen.argmax(dim=0)
    if bool(chosen.gather(0, place[None]).isfinite().all()):
        return place
    return torch.where(chosen.isfinite(), chosen, -torch.inf).argmax(dim=0)
