"""Two atlases of the same architecture: how much each unit changed from one to the other."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from retroscope.atlas.reader import Atlas
from retroscope.results import Layer
from retroscope.web import queries
from retroscope.web.selectivity import Means, means_of
from retroscope.web.similar import cosine


@dataclass(frozen=True)
class Change:
    """How much a unit changed, from 0 to 1; how many of its best images both have, and the cosine
    between its responses to the classes that both have, NaN where there are none.
    """

    channel: int
    change: float
    shared: int
    classes: float
    dead: tuple[bool, bool]
    empty: tuple[bool, bool]


def common_layers(one: Atlas, other: Atlas) -> list[Layer]:
    """The layers that both have, with as many channels."""
    there = {layer.name: layer.channels for layer in other.layers}
    return [layer for layer in one.layers if there.get(layer.name) == layer.channels]


def changes(one: Atlas, other: Atlas, layer: Layer) -> tuple[Change, ...]:
    """How much every channel of a layer changed, in their order."""
    versions = tuple(atlas.sql("PRAGMA data_version")[0] for atlas in (one, other))
    return _changes(one, other, layer.name, versions)


@lru_cache(maxsize=512)
def _changes(one: Atlas, other: Atlas, name: str, _versions: object) -> tuple[Change, ...]:
    """Kept while neither file is written."""
    atlases = one, other
    layers = [atlas.layer(name) for atlas in atlases]
    pairs = list(zip(atlases, layers, strict=True))
    winners = [queries.winners(*pair) for pair in pairs]
    dead = [queries.dead_channels(*pair) for pair in pairs]
    profiles = [_profiles(*pair) for pair in pairs]
    places = _common_classes(*atlases)
    found = []
    for channel in range(layers[0].channels):
        sets = [own.get(channel, frozenset()) for own in winners]
        rows = [own.get(channel) for own in profiles]
        alike = _alike(rows, places)
        states = channel in dead[0], channel in dead[1]
        found.append(_change(channel, sets, alike, states))
    return tuple(found)


def _change(
    channel: int, sets: list[frozenset[str]], classes: float, dead: tuple[bool, bool]
) -> Change:
    """One less the mean of what can be told: the share of common images, and the cosine.

    A unit that fires in one of the two alone has changed altogether.
    """
    shared = len(sets[0] & sets[1])
    most = max(map(len, sets))
    likenesses = [shared / most] if most else []
    likenesses += [] if np.isnan(classes) else [classes]
    change = 1 - float(np.mean(likenesses)) if likenesses else 0.0
    if dead[0] != dead[1]:
        change = 1.0
    empty = not sets[0], not sets[1]
    return Change(channel, 0.0 if all(dead) else change, shared, classes, dead, empty)


def _alike(rows: "list[Means | None]", places: tuple[list[int], list[int]]) -> float:
    one, other = rows
    if one is None or other is None or not places[0]:
        return float("nan")
    return cosine(one[places[0]], other[places[1]])


def _profiles(atlas: Atlas, layer: Layer) -> dict[int, Means]:
    blobs = queries.class_means(atlas, layer, range(layer.channels))
    return dict(zip(blobs, means_of(blobs), strict=True))


def _common_classes(one: Atlas, other: Atlas) -> tuple[list[int], list[int]]:
    """The numbers of the classes of the same name, in each of the two."""
    there = {label.name: label.id for label in other.labels}
    both = [(label.id, there[label.name]) for label in one.labels if label.name in there]
    return [own for own, _ in both], [number for _, number in both]
