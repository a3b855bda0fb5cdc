"""Units of a layer that respond unusually to an image.

With an atlas: units whose maximum is reached by few of its images. Without one: units whose peak
stands out of their own map or, in a layer without maps, out of the layer's other channels.

Either way, a channel is judged by its inner positions. At the border of a map, convolutions read
padding in place of pixels, and many channels respond to that in every image.
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from retroscope.geometry import Field
from retroscope.methods.atlas_match import ScannedAtlas
from retroscope.results.layers import Layer
from retroscope.results.projections import Activations, find_peaks
from retroscope.results.statistics import HISTOGRAM_EDGES, ChannelStats
from retroscope.results.unit_numbers import UnitName
from retroscope.unit import Unit

Float64Array = npt.NDArray[np.float64]
Maps = npt.NDArray[np.float32]
"""Channels, height, width; of a volume the depth before the height."""


class ReferenceAtlas(ScannedAtlas, Protocol):
    """An atlas with the responses of its channels to all of its images."""

    def stats(self, unit: Unit | str) -> ChannelStats:
        """How a channel responds to all images."""

    def names(self, unit: Unit | str) -> tuple[UnitName, ...]:
        """What a channel is called."""


class RankedUnit(NamedTuple):
    """A unit at its strongest inner position; see `UnusualUnit` for the numbers."""

    unit: Unit
    activation: float
    z_score: float
    rarity: float | None


def most_unusual_units(
    activations: Activations, count: int, atlas: ReferenceAtlas | None, *, size: tuple[int, ...]
) -> list[RankedUnit]:
    """The most unusual units of a layer, at most one per channel, most unusual first.

    `size` is that of the image. Channels that do not fire at an inner position are left out.
    """
    maps, layer = activations.maps, activations.layer.name
    peaks, positions = find_peaks(np.where(inner_positions(activations.layer, size), maps, -np.inf))
    z_scores = _z_scores(maps, peaks)
    firing = [int(channel) for channel in np.flatnonzero(np.isfinite(peaks) & (peaks > 0))]
    rarities: dict[int, float | None] = dict.fromkeys(firing)
    order = [(-z_scores[channel], 0.0, channel) for channel in firing]
    if atlas is not None:
        order = []
        for channel in firing:
            stats = atlas.stats(Unit(layer, channel))
            is_tied = int((peaks == peaks[channel]).sum()) > 1
            rarities[channel] = rarity(stats, float(peaks[channel]), is_tied=is_tied)
            relative_peak = peaks[channel] / _positive_maximum(stats)
            order.append((_rarity_key(rarities[channel]), -relative_peak, channel))
    return [
        RankedUnit(
            Unit(layer, channel, positions[channel]),
            float(peaks[channel]),
            float(z_scores[channel]),
            rarities[channel],
        )
        for _, _, channel in sorted(order)[:count]
    ]


def inner_positions(layer: Layer, size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Where a unit of this layer is not at the border of an image of this size, as a map.

    The first and the last row and column of the map, and slice of a volume, are at the border if
    their fields reach further out of the image than those of the next.

    >>> from retroscope.geometry import ReceptiveField
    >>> field = ReceptiveField(Field(3, start=-1), Field(3))
    >>> inner_positions(Layer("conv1", "conv", 8, (4, 2), field), (4, 4)).astype(int).tolist()
    [[0, 0], [1, 1], [1, 1], [0, 0]]
    """
    axes = zip(layer.field.axes(len(size)), layer.size, size, strict=True)
    inner = np.zeros(layer.size, np.bool_)
    inner[tuple(_inner_span(field, count, length) for field, count, length in axes)] = True
    return inner


def _inner_span(field: Field, count: int, length: int) -> slice:
    """The positions along an axis without those at the border of an image of this length."""
    if count < 2:
        return slice(None)
    first, second, second_last, last = (
        _visible_length(field, index, length) for index in (0, 1, count - 2, count - 1)
    )
    return slice(int(first < second), count - int(last < second_last))


def _visible_length(field: Field, index: int, length: int) -> int:
    """How much of the field at a position lies in an image of this length."""
    start, stop = field.at(index)
    return max(min(stop, length) - max(start, 0), 0)


def rarity(stats: ChannelStats, activation: float, *, is_tied: bool = False) -> float | None:
    """The share of an atlas's images whose maximum is at least `activation`.

    Images are assumed to be evenly distributed within a bin of the histogram; with `is_tied`, all
    of its bin count. Channels tie where a rectifier has a ceiling, such as ReLU6: then many images
    have the same maximum. None if the atlas has no images or no histogram.
    """
    if not stats.images or stats.histogram is None:
        return None
    if activation > stats.maximum:
        return 0.0
    bin_index = int(np.searchsorted(HISTOGRAM_EDGES, activation))
    low, high = _bin_interval(bin_index, stats.maximum)
    share_above = (high - activation) / (high - low) if high > low and not is_tied else 1.0
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


def _z_scores(maps: Maps, peaks: Float64Array) -> Float64Array:
    """How many standard deviations the peak of each map lies above the mean of its population.

    The population is the map itself or, for 1x1 maps, all channels of the layer.
    """
    flat = np.nan_to_num(maps.reshape(len(maps), -1).astype(np.float64))
    population = flat if flat.shape[1] > 1 else np.broadcast_to(flat.T, (len(flat), len(flat)))
    std = population.std(axis=1)
    z_scores: Float64Array = (peaks - population.mean(axis=1)) / np.where(std > 0, std, 1)
    return z_scores
