"""How much each unit changed between atlases of the same architecture, two at a time."""

from dataclasses import dataclass
from functools import lru_cache
from heapq import nlargest
from math import isnan

from retroscope.atlas.queries import channel_queries
from retroscope.atlas.reader import Atlas
from retroscope.results.layers import Layer
from retroscope.unit import Unit
from retroscope.web.site.channel_metrics import (
    ClassMeans,
    cosine_similarity,
    decode_class_means,
)

MAX_UNITS = 240
"""Units of a layer that its comparison shows."""
_AtlasLayer = tuple[Atlas, Layer]


@dataclass(frozen=True)
class UnitChange:
    """How much a unit changed, from 0 to 1.

    `shared_images` counts the images among its nine best in both atlases. `class_similarity` is
    the cosine between its responses to the classes of both, NaN without common classes. `dead`
    and `without_hits` have a value for each atlas.
    """

    channel: int
    change: float
    shared_images: int
    class_similarity: float
    dead: tuple[bool, bool]
    without_hits: tuple[bool, bool]


@dataclass(frozen=True)
class LayerChanges:
    """How much the units of a layer changed from the first of some atlases to each of the others.

    `means` has the mean change to each. `units` has the changes of the units that changed most,
    by their largest change.
    """

    means: tuple[float, ...]
    units: tuple[tuple[UnitChange, ...], ...]


def common_layers(first: Atlas, *others: Atlas) -> list[Layer]:
    """The layers of the first atlas that all have, with equal numbers of channels."""
    channels = [{layer.name: layer.channels for layer in other.layers} for other in others]
    return [
        layer
        for layer in first.layers
        if all(counts.get(layer.name) == layer.channels for counts in channels)
    ]


def layer_changes(first: Atlas, second: Atlas, layer: Layer) -> tuple[UnitChange, ...]:
    """How much each channel of a layer changed, in the order of the channels."""
    versions = tuple(atlas.file_version for atlas in (first, second))
    return _cached_layer_changes((first, second), layer.name, versions)


def unit_change(first: Atlas, second: Atlas, unit: Unit) -> UnitChange:
    """How much one channel changed, without reading the others."""
    assert unit.channel is not None
    span = range(unit.channel, unit.channel + 1)
    return _channel_changes((first, second), unit.layer, span)[0]


def most_changed_units(atlases: tuple[Atlas, ...], layer: Layer) -> LayerChanges:
    """How much a layer changed from the first atlas, and its units that changed most."""
    versions = tuple(atlas.file_version for atlas in atlases)
    return _cached_most_changed(atlases, layer.name, versions)


def largest_change(unit: tuple[UnitChange, ...]) -> float:
    return max(change.change for change in unit)


@lru_cache(maxsize=512)
def _cached_most_changed(atlases: tuple[Atlas, ...], name: str, _versions: object) -> LayerChanges:
    first, *others = atlases
    by_atlas = [layer_changes(first, other, first.layer(name)) for other in others]
    return LayerChanges(
        means=tuple(sum(unit.change for unit in units) / len(units) for units in by_atlas),
        units=tuple(
            nlargest(
                MAX_UNITS,
                zip(*by_atlas, strict=True),
                key=lambda unit: (largest_change(unit), -unit[0].channel),
            )
        ),
    )


@lru_cache(maxsize=512)
def _cached_layer_changes(
    atlases: tuple[Atlas, Atlas], name: str, _versions: object
) -> tuple[UnitChange, ...]:
    """Computed again when either file is written."""
    return _channel_changes(atlases, name, range(atlases[0].layer(name).channels))


def _channel_changes(
    atlases: tuple[Atlas, Atlas], name: str, span: range
) -> tuple[UnitChange, ...]:
    pair = [(atlas, atlas.layer(name)) for atlas in atlases]
    winners = [channel_queries.top_images(*atlas_layer, span) for atlas_layer in pair]
    dead = [channel_queries.dead_channels(*atlas_layer) for atlas_layer in pair]
    similarities = _class_similarities(pair, span)
    return tuple(
        _compare_channel(
            channel,
            [images.get(channel, frozenset()) for images in winners],
            class_similarity=similarities.get(channel, float("nan")),
            dead=(channel in dead[0], channel in dead[1]),
        )
        for channel in span
    )


def _compare_channel(
    channel: int,
    images: list[frozenset[str]],
    *,
    class_similarity: float,
    dead: tuple[bool, bool],
) -> UnitChange:
    """One minus the mean of the known similarities: the share of common images, and the cosine.

    A unit that fires in only one of the two atlases changed completely.
    """
    shared = len(images[0] & images[1])
    larger = max(map(len, images))
    similarities = [shared / larger] if larger else []
    similarities += [] if isnan(class_similarity) else [class_similarity]
    change = 1 - sum(similarities) / len(similarities) if similarities else 0.0
    if dead[0] != dead[1]:
        change = 1.0
    return UnitChange(
        channel,
        0.0 if all(dead) else change,
        shared,
        class_similarity,
        dead,
        without_hits=(not images[0], not images[1]),
    )


def _class_similarities(pair: list[_AtlasLayer], span: range) -> dict[int, float]:
    """The cosine between the responses to the common classes, for the channels in both atlases."""
    first, second = (channel_queries.class_means(*atlas_layer, span) for atlas_layer in pair)
    channels = [channel for channel in first if channel in second]
    columns = _common_class_columns(pair[0][0], pair[1][0])
    if not channels or not columns[0]:
        return {}
    means = [
        _select_columns(
            decode_class_means({channel: blobs[channel] for channel in channels}), selection
        )
        for blobs, selection in zip((first, second), columns, strict=True)
    ]
    return dict(zip(channels, cosine_similarity(*means).tolist(), strict=True))


def _select_columns(means: ClassMeans, columns: list[int]) -> ClassMeans:
    """These columns; the table itself if they are all of it, since a selection is a copy."""
    return means if columns == list(range(means.shape[1])) else means[:, columns]


def _common_class_columns(first: Atlas, second: Atlas) -> tuple[list[int], list[int]]:
    """The numbers of the classes with the same name, in each of the two atlases."""
    number_by_name = {label.name: label.id for label in second.labels}
    common = [
        (label.id, number_by_name[label.name])
        for label in first.labels
        if label.name in number_by_name
    ]
    return [number for number, _ in common], [number for _, number in common]
