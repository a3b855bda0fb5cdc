"""Two atlases of the same architecture: how much each unit changed from one to the other."""

from dataclasses import dataclass
from functools import lru_cache
from math import isnan

from retroscope.atlas import queries
from retroscope.atlas.reader import Atlas
from retroscope.results.values import Layer
from retroscope.web.site.selectivity import Means, means_of
from retroscope.web.site.similar import cosines


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
    return _kept(one, other, layer.name, versions)


def change_of(one: Atlas, other: Atlas, layer: Layer, channel: int) -> Change:
    """How much one channel changed, without a look at the others."""
    return _changes((one, other), layer.name, range(channel, channel + 1))[0]


@lru_cache(maxsize=512)
def _kept(one: Atlas, other: Atlas, name: str, _versions: object) -> tuple[Change, ...]:
    """Kept while neither file is written."""
    return _changes((one, other), name, range(one.layer(name).channels))


def _changes(atlases: tuple[Atlas, Atlas], name: str, span: range) -> tuple[Change, ...]:
    pairs = [(atlas, atlas.layer(name)) for atlas in atlases]
    winners = [queries.winners(*pair, span) for pair in pairs]
    dead = [queries.dead_channels(*pair) for pair in pairs]
    alike = _alike(pairs, span)
    return tuple(
        _change(
            channel,
            [own.get(channel, frozenset()) for own in winners],
            alike.get(channel, float("nan")),
            (channel in dead[0], channel in dead[1]),
        )
        for channel in span
    )


def _change(
    channel: int, sets: list[frozenset[str]], classes: float, dead: tuple[bool, bool]
) -> Change:
    """One less the mean of what can be told: the share of common images, and the cosine.

    A unit that fires in one of the two alone has changed altogether.
    """
    shared = len(sets[0] & sets[1])
    most = max(map(len, sets))
    likenesses = [shared / most] if most else []
    likenesses += [] if isnan(classes) else [classes]
    change = 1 - sum(likenesses) / len(likenesses) if likenesses else 0.0
    if dead[0] != dead[1]:
        change = 1.0
    empty = not sets[0], not sets[1]
    return Change(channel, 0.0 if all(dead) else change, shared, classes, dead, empty)


def _alike(pairs: list[tuple[Atlas, Layer]], span: range) -> dict[int, float]:
    """The cosine between the responses to the common classes, for the channels known in both."""
    one, other = (queries.class_means(*pair, span) for pair in pairs)
    both = [channel for channel in one if channel in other]
    places = _common_classes(pairs[0][0], pairs[1][0])
    if not both or not places[0]:
        return {}
    rows = [
        _columns(means_of({channel: own[channel] for channel in both}), ours)
        for own, ours in zip((one, other), places, strict=True)
    ]
    return dict(zip(both, cosines(*rows).tolist(), strict=True))


def _columns(means: Means, places: list[int]) -> Means:
    """Those of some classes; as they are, where these are all: a choice of columns is a copy."""
    return means if places == list(range(means.shape[1])) else means[:, places]


def _common_classes(one: Atlas, other: Atlas) -> tuple[list[int], list[int]]:
    """The numbers of the classes of the same name, in each of the two."""
    there = {label.name: label.id for label in other.labels}
    both = [(label.id, there[label.name]) for label in one.labels if label.name in there]
    return [own for own, _ in both], [number for _, number in both]
