"""Units of a layer that respond unusually to an image.

With an atlas: units whose maximum is reached by few of its images. Without one: units whose peak
stands out of their own map or, in a layer without maps, out of the layer's other channels.
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from retroscope.methods.atlas_match import ScannedAtlas
from retroscope.results.projections import Activations, find_peaks
from retroscope.results.statistics import HISTOGRAM_EDGES, ChannelStats
from retroscope.unit import Unit

Float64Array = npt.NDArray[np.float64]
Maps = npt.NDArray[np.float32]
"""Channels, height, width."""


class ReferenceAtlas(ScannedAtlas, Protocol):
    """An atlas with the responses of its channels to all of its images."""

    def stats(self, unit: Unit | str) -> ChannelStats:
        """How a channel responds to all images."""


class RankedUnit(NamedTuple):
    """A unit at its strongest position; see `UnusualUnit` for the numbers."""

    unit: Unit
    activation: float
    contrast: float
    rarity: float | None


def most_unusual_units(
    activations: Activations, count: int, atlas: ReferenceAtlas | None
) -> list[RankedUnit]:
    """The most unusual units of a layer, at most one per channel, most unusual first.

    Channels that do not fire in this image are left out.
    """
    maps, layer = activations.maps, activations.layer.name
    (peaks, positions), contrasts = find_peaks(maps), _contrasts(maps)
    firing = [int(channel) for channel in np.flatnonzero(np.isfinite(peaks) & (peaks > 0))]
    rarities: dict[int, float | None] = dict.fromkeys(firing)
    order = [(-contrasts[channel], 0.0, channel) for channel in firing]
    if atlas is not None:
        order = []
        for channel in firing:
            stats = atlas.stats(Unit(layer, channel))
            rarities[channel] = rarity(stats, float(peaks[channel]))
            relative_peak = peaks[channel] / _positive_maximum(stats)
            order.append((_rarity_key(rarities[channel]), -relative_peak, channel))
    return [
        RankedUnit(
            Unit(layer, channel, positions[channel]),
            float(peaks[channel]),
            float(contrasts[channel]),
            rarities[channel],
        )
        for _, _, channel in sorted(order)[:count]
    ]


def rarity(stats: ChannelStats, activation: float) -> float | None:
    """The share of an atlas's images whose maximum is at least `activation`.

    Images are assumed to be evenly distributed within a bin of the histogram. None if the atlas
    has no images or no histogram.
    """
    if not stats.images or stats.histogram is None:
        return None
    if activation > stats.maximum:
        return 0.0
    bin_index = int(np.searchsorted(HISTOGRAM_EDGES, activation))
    low, high = _bin_interval(bin_index, stats.maximum)
    share_above = (high - activation) / (high - low) if high > low else 1.0
    in_bin, above = stats.histogram[bin_index], stats.histogram[bin_index + 1 :]
    images_above = float(above.sum()) + share_above * float(in_bin)
    return min(max(images_above / stats.images, 1 / stats.images), 1.0)


def _bin_interval(bin_index: int, maximum: float) -> tuple[float, float]:
    """The interval of a bin, cut off at the maximum."""
    low = float(HISTOGRAM_EDGES[bin_index - 1]) if bin_index else 0.0
    high = float(HISTOGRAM_EDGES[bin_index]) if bin_index < len(HISTOGRAM_EDGES) else maximum
    return low, min(high, maximum)


def _rarity_key(share: float | None) -> float:
    """A sort key that puts channels of unknown rarity last."""
    return 2.0 if share is None else share


def _positive_maximum(stats: ChannelStats) -> float:
    return stats.maximum if stats.maximum > 0 else 1.0


def _contrasts(maps: Maps) -> Float64Array:
    """How many standard deviations each peak lies above the mean of its population.

    The population is the map itself or, for 1x1 maps, all channels of the layer.
    """
    flat = np.nan_to_num(maps.reshape(len(maps), -1).astype(np.float64))
    population = flat if flat.shape[1] > 1 else np.broadcast_to(flat.T, (len(flat), len(flat)))
    std = population.std(axis=1)
    difference: Float64Array = flat.max(axis=1) - population.mean(axis=1)
    return difference / np.where(std > 0, std, 1)
