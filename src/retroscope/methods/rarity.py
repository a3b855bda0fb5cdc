"""Which units of a layer respond unusually to a picture.

Against an atlas: those whose maximum few of its images reach. Without one: those whose peak
stands out most from their own map, or, in a layer without maps, from the layer's other channels.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from retroscope.methods.atlas_match import Scanned
from retroscope.results.projections import Activations
from retroscope.results.statistics import HISTOGRAM_EDGES, ChannelStats
from retroscope.unit import Unit

Numbers = npt.NDArray[np.float64]


class Reference(Scanned, Protocol):
    """What an atlas tells of other images."""

    def stats(self, unit: Unit | str) -> ChannelStats:
        """How a channel responds over all its images."""


Ranked = tuple[Unit, float, float, float | None]
"""A unit at its strongest position, its activation, contrast and rarity."""


def most_unusual(shown: Activations, count: int, atlas: Reference | None) -> list[Ranked]:
    """The most unusual units of a layer, one of each channel, the most unusual first.

    Channels that do not fire in this picture are left out.
    """
    peaks, contrasts = _peaks(shown.maps), _contrasts(shown.maps)
    firing = [int(channel) for channel in np.flatnonzero(np.isfinite(peaks) & (peaks > 0))]
    rarities: dict[int, float | None] = dict.fromkeys(firing)
    order = [(-contrasts[channel], 0.0, channel) for channel in firing]
    if atlas is not None:
        stats = {channel: atlas.stats(Unit(shown.layer.name, channel)) for channel in firing}
        rarities |= {one: rarity(stats[one], float(peaks[one])) for one in firing}
        order = [(_known(rarities[one]), -peaks[one] / _largest(stats[one]), one) for one in firing]
    return [
        (_strongest(shown, one), float(peaks[one]), float(contrasts[one]), rarities[one])
        for _, _, one in sorted(order)[:count]
    ]


def rarity(stats: ChannelStats, activation: float) -> float | None:
    """The share of an atlas's images whose maximum is as high or higher; None where it has none.

    Within a bin of the histogram images are taken to lie evenly.
    """
    if not stats.images:
        return None
    if activation > stats.maximum:
        return 0.0
    place = int(np.searchsorted(HISTOGRAM_EDGES, activation))
    low, high = _bin(place, stats.maximum)
    within = (high - activation) / (high - low) if high > low else 1.0
    higher = float(stats.histogram[place + 1 :].sum()) + within * float(stats.histogram[place])
    return min(max(higher / stats.images, 1 / stats.images), 1.0)


def _bin(place: int, maximum: float) -> tuple[float, float]:
    """The interval that a bin counts, which nothing fills above the maximum."""
    low = float(HISTOGRAM_EDGES[place - 1]) if place else 0.0
    high = float(HISTOGRAM_EDGES[place]) if place < len(HISTOGRAM_EDGES) else maximum
    return low, min(high, maximum)


def _known(share: float | None) -> float:
    return 2.0 if share is None else share


def _largest(stats: ChannelStats) -> float:
    return stats.maximum if stats.maximum > 0 else 1.0


def _peaks(maps: npt.NDArray[np.float32]) -> Numbers:
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    peaks: Numbers = np.where(np.isnan(flat), -np.inf, flat).max(axis=1)
    return peaks


def _contrasts(maps: npt.NDArray[np.float32]) -> Numbers:
    """How many standard deviations each peak stands above the mean of what it is compared with."""
    flat = np.nan_to_num(maps.reshape(len(maps), -1).astype(np.float64))
    rivals = flat if flat.shape[1] > 1 else np.broadcast_to(flat.T, (len(flat), len(flat)))
    spread = rivals.std(axis=1)
    over: Numbers = flat.max(axis=1) - rivals.mean(axis=1)
    return over / np.where(spread > 0, spread, 1)


def _strongest(shown: Activations, channel: int) -> Unit:
    values = np.nan_to_num(shown.maps[channel], nan=-np.inf)
    y, x = divmod(int(values.argmax()), values.shape[1])
    return Unit(shown.layer.name, channel, (y, x))
