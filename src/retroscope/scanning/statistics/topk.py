"""The k best pictures of each channel, with the place of the maximum in each."""

from dataclasses import dataclass
from typing import Self

import torch


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

    def enters(self, score: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Which of a batch's scores (pictures, channels) are among the best so far."""
        last = self.score[:, -1]
        earlier = (score == last) & (images[:, None] < self.image[:, -1])
        return ((score > last) | earlier) & (score > -torch.inf)

    def add(self, score: torch.Tensor, images: torch.Tensor, place: torch.Tensor) -> "TopK":
        """With a batch: scores and places (pictures, channels), and the pictures' numbers.

        The places of those that do not enter may be anything.
        """
        if score.is_cuda:  # a look at who enters would wait for the device
            return self.merge(_batch(score, images, place))
        touched = self.enters(score, images).any(dim=0).nonzero()[:, 0]
        if len(touched) == 0:
            return self
        fresh = _batch(score[:, touched], images, place[:, touched])
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

    def part(self, channels: range) -> "TopK":
        """The same of some channels; the numbers stay where they are."""
        some = slice(channels.start, channels.stop)
        return TopK(self.score[some], self.image[some], self.place[some])

    def _rows(self, rows: torch.Tensor) -> "TopK":
        return TopK(self.score[rows], self.image[rows], self.place[rows])

    def _replaced(self, rows: torch.Tensor, fresh: "TopK") -> "TopK":
        return TopK(
            self.score.index_copy(0, rows, fresh.score),
            self.image.index_copy(0, rows, fresh.image),
            self.place.index_copy(0, rows, fresh.place),
        )


def _batch(score: torch.Tensor, images: torch.Tensor, place: torch.Tensor) -> TopK:
    """A batch as a ranking that is not sorted yet."""
    score = score.T.double()
    scored = score > -torch.inf
    image = torch.where(scored, images, -1)
    return TopK(score, image, torch.where(scored, place.T, -1))


def places_in(maps: torch.Tensor, wanted: torch.Tensor, *, finite: bool) -> torch.Tensor:
    """The first flat position of each map's maximum (pictures, channels), where it is wanted.

    The maps are (pictures, channels, height, width), and known to be `finite` or not; what is not
    finite is no maximum.
    """
    if maps.is_cuda:
        return _first_peaks(maps.flatten(2), finite=finite)
    found = torch.full(wanted.shape, -1, dtype=torch.int64)
    for row in wanted.any(dim=1).nonzero()[:, 0].tolist():
        channels = wanted[row].nonzero()[:, 0]
        columns = maps[row].permute(1, 2, 0).flatten(0, 1).index_select(1, channels)
        found[row, channels] = _first_peaks(columns.T.contiguous(), finite=finite)
    return found


def _first_peaks(lines: torch.Tensor, *, finite: bool) -> torch.Tensor:
    kept = lines if finite else torch.where(lines.isfinite(), lines, -torch.inf)
    return kept.argmax(dim=-1)
