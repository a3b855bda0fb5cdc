"""The hits of a few trial images, and how many a scan will have by them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

from retroscope.atlas.writer import MissingProjection
from retroscope.results.layers import Layer
from retroscope.scanning.statistics.topk import TopK
from retroscope.scanning.trial_runs import SweepTrial

_SEEN_TWICE = 3
"""Rankings of so many tell channels that fire in one image from those of two, and of more."""


@dataclass(frozen=True)
class LayerHits:
    """What the trial images say of the hits of a layer.

    `firing` is for each channel the number of images in which it fires, as far as its ranking goes.
    `divergence` is how fast the rankings by maximum and by mean grow apart.
    """

    firing: Sequence[int]
    divergence: float
    is_exact: bool = True
    """Whether all images of a channel are in its ranking, at least of those that fire rarely."""

    def expected(self, images: int, *, trial_images: int, ranks: int, by_mean: bool) -> float:
        """How many hits the first `ranks` of the rankings have among so many images."""
        scale = images / max(trial_images, 1)
        seen = sum(min(ranks, count * scale) for count in self.firing if count)
        unseen = 0.0
        if self.is_exact:
            live = live_channels(self.firing, trial_images=trial_images, images=images)
            unseen = live - sum(map(bool, self.firing))
        hits = seen + unseen * min(ranks, scale)
        return hits * (1 + self.share_by_mean_alone(images, ranks)) if by_mean else hits

    def share_by_mean_alone(self, images: int, ranks: int) -> float:
        """The share of the first hits by mean that are none of the first hits by maximum."""
        shared: float = max(images / max(ranks, 1), 1.0) ** -self.divergence
        return 1 - shared


@dataclass(frozen=True)
class HitTrial:
    """The best hit of every channel among the trial images, and what they say of each layer."""

    hits: Sequence[MissingProjection]
    layers: Mapping[str, LayerHits]


def find_hits(layers: Sequence[Layer], trial: SweepTrial) -> HitTrial:
    """The hits of a trial, as a scan would record them."""
    hits: list[MissingProjection] = []
    by_layer: dict[str, LayerHits] = {}
    for layer in layers:
        sweep = trial.sweeps.layer_sweep(layer.index)
        by_mean = sweep.by_mean.image[:, 0].tolist()
        of_layer = [
            MissingProjection(
                *(layer.name, channel, image, *divmod(position, layer.size[-1])),
                *(score, 0, layer.size),
            )
            for channel, (score, image, position) in enumerate(_best(sweep.by_max))
            if image >= 0 and score != 0
        ]
        same = sum(by_mean[hit.channel] == hit.image for hit in of_layer)
        fires = (sweep.by_max.image >= 0) & (sweep.by_max.score != 0)
        by_layer[layer.name] = LayerHits(
            fires.sum(dim=1).tolist(),
            divergence(same, len(of_layer), images=trial.images),
            is_exact=fires.shape[1] >= min(_SEEN_TWICE, trial.images),
        )
        hits += of_layer
    return HitTrial(hits, by_layer)


def _best(ranking: TopK) -> list[tuple[float, int, int]]:
    """The score, image and position of the best of each channel."""
    columns = ranking.score[:, 0], ranking.image[:, 0], ranking.position[:, 0]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def divergence(same: int, channels: int, *, images: int) -> float:
    """The exponent with which two rankings grow apart: 0 if they are alike, 1 if unrelated.

    The best image is the same in a share of `images ** -exponent` of the channels. That holds
    roughly for correlated Gaussian scores, of any number of images and any correlation.

    >>> divergence(8, 8, images=4), divergence(2, 8, images=4)
    (0.0, 1.0)
    """
    if images < 2 or channels == 0:
        return 0.0
    return min(log(channels / max(same, 0.5)) / log(images), 1.0)


def live_channels(firing: Sequence[int], *, trial_images: int, images: int) -> float:
    """How many channels fire in at least one of so many images, by those of the trial.

    Chao's estimate: channels that fire in one image of the trial, and in two, tell how many fire in
    none of it.

    >>> live_channels([0, 0, 1, 1, 2, 8], trial_images=8, images=8)
    4.0
    >>> live_channels([0, 0, 1, 1, 2, 8], trial_images=8, images=10_000)
    5.75
    """
    seen, once, twice = (
        sum(map(bool, firing)),
        *(sum(count == number for count in firing) for number in (1, 2)),
    )
    more = max(images - trial_images, 0)
    if trial_images == 0 or once == 0 or more == 0:
        return float(seen)
    pairs = once**2 / (2 * twice) if twice else once * (once - 1) / 2
    unseen = (trial_images - 1) / trial_images * pairs
    if unseen == 0:
        return float(seen)
    found = unseen * (1 - (1 - once / (trial_images * unseen + once)) ** more)
    return min(seen + found, float(len(firing)))
