"""The units that the page of a network begins with: of three depths, one for each class."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from retroscope.atlas.queries import channel_queries, hit_queries
from retroscope.atlas.queries.rankings import HitRanking
from retroscope.atlas.reader import Atlas
from retroscope.results.layers import Layer
from retroscope.web.site.channel_metrics import class_selectivity, decode_class_means
from retroscope.web.site.pages.page_facts import plate_url, unit_facts
from retroscope.web.site.site import Facts, Site

_UNITS_PER_DEPTH = (6, 3, 3)
"""Of the last layer, of the one at two thirds of the way, and of the one at a third."""
_CANDIDATES, _PLATE = 256, 9


class Highlight(NamedTuple):
    """A unit, and the class that excites it most."""

    layer: str
    channel: int
    label: str | None


def highlighted_units(site: Site) -> tuple[Highlight, ...]:
    """Units of three depths, deepest first: those most selective for different classes."""
    return _cached_highlights(site.atlas, site.atlas.file_version)


def example_unit(site: Site, highlights: tuple[Highlight, ...]) -> Facts | None:
    """The first of these units that has all projections of its plate, with its plates."""
    for unit in highlights:
        layer = site.atlas.layer(unit.layer)
        (hits,) = hit_queries.unit_hits(
            site.atlas, layer, unit.channel, rankings=[HitRanking()]
        ).values()
        if all(hit.activation is not None for hit in hits):
            plates = {
                kind: plate_url(site, unit.layer, unit.channel, kind=kind)
                for kind in ("patches", "projections", "lit")
            }
            return unit_facts(site, unit.layer, unit.channel) | plates
    return None


@lru_cache(maxsize=8)
def _cached_highlights(atlas: Atlas, _version: int) -> tuple[Highlight, ...]:
    return tuple(
        highlight
        for layer, count in _layers_of_three_depths(atlas).items()
        for highlight in _select(atlas, layer, count)
    )


def _layers_of_three_depths(atlas: Atlas) -> dict[Layer, int]:
    """Layers with maps, and how many units of each are shown."""
    layers = [layer for layer in atlas.layers if set(layer.size) != {1}] or list(atlas.layers)
    count = len(layers)
    numbers = [count - 1, (2 * count - 1) // 3, (count - 1) // 3] if layers else []
    counts: dict[Layer, int] = {}
    for number, units in zip(numbers, _UNITS_PER_DEPTH, strict=False):
        counts[layers[number]] = counts.get(layers[number], 0) + units
    return counts


def _select(atlas: Atlas, layer: Layer, count: int) -> Iterator[Highlight]:
    """The most selective of the strongest channels, first one for each class."""
    channels = _candidates(atlas, layer)
    blobs = channel_queries.class_means(atlas, layer, channels)
    if not atlas.labels or not blobs:
        yield from (Highlight(layer.name, channel, None) for channel in channels[:count])
        return
    means = decode_class_means(blobs)
    order = np.argsort(-np.nan_to_num(class_selectivity(means)), kind="stable")
    classes = np.where(np.isfinite(means), means, -np.inf).argmax(axis=1)
    first = [n for k, n in enumerate(order) if classes[n] not in classes[order[:k]]]
    rest = [n for n in order if n not in set(first)]
    numbers = list(blobs)
    for n in (*first, *rest)[:count]:
        yield Highlight(layer.name, numbers[n], atlas.labels[classes[n]].name)


def _candidates(atlas: Atlas, layer: Layer) -> list[int]:
    """The strongest channels; those that fill a plate, if any do."""
    strongest = channel_queries.strongest_channels(atlas, layer, _CANDIDATES)
    rows = channel_queries.channel_summaries(atlas, layer, range(layer.channels))
    full = {row.channel for row in rows if (row.fired_images or 0) >= _PLATE}
    return [channel for channel in strongest if channel in full] or strongest
