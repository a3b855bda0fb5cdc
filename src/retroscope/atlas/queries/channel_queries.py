"""What the viewer asks about layers, channels, their hits and their patterns."""

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from retroscope.atlas.queries.projection_queries import (
    HAS_PROJECTION,
    PLATE_SIZE,
)
from retroscope.atlas.queries.query import Query, SqlSource, as_list, check_lengths, has_table
from retroscope.atlas.queries.rankings import HitRanking, RankedQuery
from retroscope.atlas.queries.reader_queries import class_profile_bytes
from retroscope.atlas.schema import Ranking
from retroscope.results.layers import Layer

_HAS_HITS = """
    EXISTS (SELECT 1 FROM hits WHERE hits.layer = channels.layer AND hits.ranked_by = 'max'
        AND hits.channel = channels.channel AND hits.rank = 0)"""
_PREFERRED_PATTERN_FIRST = "ORDER BY recipe <> 'zoom', recipe <> 'olah', recipe"


class LayerConditionRow(NamedTuple):
    """How many channels of a layer have statistics, are dead, or have non-finite values; None if
    the atlas does not have the statistic.
    """

    layer: str
    known: int
    dead: int | None
    non_finite: int | None


class ChannelRow(NamedTuple):
    """The statistics of a channel that a page of its layer shows."""

    channel: int
    maximum: float | None
    images: int | None
    fired_images: int | None
    non_finite: int | None
    dead: bool | None
    top_label: int | None
    mean: float | None
    std: float | None
    minimum: float | None
    positions: int | None
    fired_positions: int | None


class NamedChannelRow(NamedTuple):
    """A channel, with the name of its layer."""

    layer: str
    channel: int


class HistogramRow(NamedTuple):
    """The statistics that say how unusual an activation of a channel is."""

    channel: int
    images: int | None
    maximum: float | None
    fired_images: int | None
    histogram: bytes | None


class FirstHitRow(NamedTuple):
    """The score of a channel's first hit, and whether any hit on its plate has a projection."""

    channel: int
    score: float
    has_projection: bool


class PlateContentRow(NamedTuple):
    """A channel with hits, and whether one of those on its plate has a projection."""

    channel: int
    has_projection: bool


class SharedImagesRow(NamedTuple):
    """A channel, and how many of its images are also among the hits of another channel."""

    channel: int
    shared: int


class PatternSummaryRow(NamedTuple):
    """A pattern without its pixels."""

    recipe: str
    seed: int
    steps: int
    activation: float | None
    note: str
    caveat: str


class ClassMeansRow(NamedTuple):
    """The mean maximum of a channel for each class, as a float32 blob."""

    channel: int
    means: bytes


class TopImageRow(NamedTuple):
    """The name of an image among the hits of a channel."""

    channel: int
    key: str


_LAYER_ID = Query(int, "SELECT id FROM layers WHERE name = ?")
_LAYER_CONDITIONS = Query(
    LayerConditionRow,
    """
    SELECT layers.name AS layer, count(*) AS known, sum(dead) AS dead,
        sum(non_finite > 0) AS non_finite
    FROM channels JOIN layers ON layers.id = channels.layer GROUP BY layers.id""",
)
_LAYER_CONDITION = Query(
    LayerConditionRow,
    """
    SELECT layers.name AS layer, count(channels.channel) AS known, coalesce(sum(dead), 0) AS dead,
        coalesce(sum(non_finite > 0), 0) AS non_finite
    FROM layers LEFT JOIN channels ON channels.layer = layers.id
    WHERE layers.name = ? GROUP BY layers.id""",
)
_CHANNELS = Query(
    ChannelRow,
    """
    SELECT channel, maximum, images, fired_images, non_finite, dead, top_label, mean, std, minimum,
        positions, fired_positions
    FROM channels WHERE layer = ? AND channel BETWEEN ? AND ? ORDER BY channel""",
)
_HISTOGRAMS = Query(
    HistogramRow,
    "SELECT channel, images, maximum, fired_images, histogram FROM channels WHERE layer = ?",
)
_DEAD_CHANNELS = Query(int, "SELECT channel FROM channels WHERE layer = ? AND dead")
_ALL_DEAD_CHANNELS = Query(
    NamedChannelRow,
    """
    SELECT layers.name AS layer, channel FROM channels JOIN layers ON layers.id = channels.layer
    WHERE dead ORDER BY layers.id, channel""",
)
_ALL_NON_FINITE_CHANNELS = Query(
    NamedChannelRow,
    """
    SELECT layers.name AS layer, channel FROM channels JOIN layers ON layers.id = channels.layer
    WHERE non_finite > 0 ORDER BY layers.id, channel""",
)
_STRONGEST_CHANNELS = Query(
    int,
    f"""
    SELECT channel FROM channels WHERE layer = ? AND NOT dead AND {_HAS_HITS}
    ORDER BY maximum DESC, channel LIMIT ?""",  # noqa: S608 - our own SQL
)
_FIRST_HITS = RankedQuery(
    FirstHitRow,
    f"""
    SELECT channel, {{best}}(score) AS score, max({HAS_PROJECTION}) AS has_projection
    FROM {{rows}} AND layer = ? AND channel BETWEEN ? AND ? AND rank < {PLATE_SIZE}
    GROUP BY channel""",  # noqa: S608 - our own SQL
)
_PLATE_CONTENTS = RankedQuery(
    PlateContentRow,
    f"""
    SELECT channel, max({HAS_PROJECTION}) AS has_projection
    FROM {{rows}} AND layer = ? AND rank < {PLATE_SIZE}
    GROUP BY channel ORDER BY channel""",  # noqa: S608 - our own SQL
)
_CHANNELS_WITH_RULES = Query(
    int,
    """
    SELECT DISTINCT channel FROM projections
    WHERE layer = ? AND channel BETWEEN ? AND ? AND rules = ?""",
)
_SHARED_IMAGES = Query(
    SharedImagesRow,
    """
    SELECT others.channel, count(*) AS shared
    FROM hits AS unit_hits
    CROSS JOIN hits AS others ON others.image = unit_hits.image
        AND others.ranked_by = unit_hits.ranked_by AND others.layer = unit_hits.layer
        AND others.channel <> unit_hits.channel
    WHERE unit_hits.layer = ? AND unit_hits.ranked_by = 'max' AND unit_hits.channel = ?
    GROUP BY others.channel ORDER BY shared DESC, others.channel LIMIT ?""",
)
_TOP_IMAGES = Query(
    TopImageRow,
    """
    SELECT hits.channel, images.key FROM hits JOIN images ON images.id = hits.image
    WHERE hits.layer = ? AND hits.ranked_by = 'max' AND hits.channel BETWEEN ? AND ?
        AND hits.rank < 9
    ORDER BY hits.channel""",
)
_CLASS_MEANS = Query(
    ClassMeansRow,
    """
    SELECT channel, mean_maximum AS means FROM class_stats
    WHERE layer = ? AND channel IN (SELECT value FROM json_each(?)) ORDER BY channel""",
)
_CHANNELS_WITH_PATTERN = Query(int, "SELECT DISTINCT channel FROM patterns WHERE layer = ?")
_PATTERN_SUMMARIES = Query(
    PatternSummaryRow,
    f"""
    SELECT recipe, seed, steps, activation, note, caveat
    FROM patterns WHERE layer = ? AND channel = ? {_PREFERRED_PATTERN_FIRST}""",  # noqa: S608
)
_PATTERN_BLOB = Query(
    bytes,
    f"""
    SELECT blob FROM patterns WHERE layer = ? AND channel = ?
    {_PREFERRED_PATTERN_FIRST} LIMIT 1""",  # noqa: S608 - our own SQL
)


def layer_conditions(source: SqlSource) -> dict[str, LayerConditionRow]:
    """The condition of each layer that has statistics, by name."""
    return {row.layer: row for row in _LAYER_CONDITIONS(source)}


def layer_condition(source: SqlSource, layer: Layer) -> LayerConditionRow:
    """The condition of one layer."""
    return _LAYER_CONDITION.scalar(source, layer.name)


def channel_summaries(source: SqlSource, layer: Layer, channels: range) -> list[ChannelRow]:
    """The statistics of consecutive channels."""
    return _CHANNELS(source, _layer_id(source, layer), *_ends(channels))


def channel_histograms(source: SqlSource, layer: Layer) -> list[HistogramRow]:
    """The histograms of all channels of a layer."""
    return _HISTOGRAMS(source, _layer_id(source, layer))


def dead_channels(source: SqlSource, layer: Layer) -> frozenset[int]:
    """The channels of a layer that never fire."""
    return frozenset(_DEAD_CHANNELS(source, _layer_id(source, layer)))


def all_dead_channels(source: SqlSource) -> dict[str, list[int]]:
    """The channels that never fire, by layer."""
    return _by_layer(_ALL_DEAD_CHANNELS(source))


def all_non_finite_channels(source: SqlSource) -> dict[str, list[int]]:
    """The channels with values that are NaN or infinite, by layer."""
    return _by_layer(_ALL_NON_FINITE_CHANNELS(source))


def _by_layer(rows: Iterable[NamedChannelRow]) -> dict[str, list[int]]:
    groups = groupby(rows, key=lambda row: row.layer)
    return {layer: [row.channel for row in group] for layer, group in groups}


def strongest_channels(source: SqlSource, layer: Layer, count: int) -> list[int]:
    """The live channels of a layer with the highest maxima."""
    return _STRONGEST_CHANNELS(source, _layer_id(source, layer), count)


def first_hits(
    source: SqlSource,
    layer: Layer,
    channels: range,
    *,
    ranked_by: str = Ranking.MAX,
    label: int | None = None,
) -> dict[int, FirstHitRow]:
    """The first hit of each of consecutive channels that has one, by channel."""
    ranking = HitRanking(Ranking(ranked_by), label)
    query = _FIRST_HITS.of(ranking)
    rows = query(source, _layer_id(source, layer), *_ends(channels))
    return {row.channel: row for row in rows}


def plate_contents(
    source: SqlSource, layer: Layer, *, ranked_by: str = Ranking.MAX, label: int | None = None
) -> list[PlateContentRow]:
    """The channels of a layer that have a plate, and whether there are projections on it."""
    ranking = HitRanking(Ranking(ranked_by), label)
    return _PLATE_CONTENTS.of(ranking)(source, _layer_id(source, layer))


def channels_with_rules(
    source: SqlSource, layer: Layer, rules: str, *, channels: range | None = None
) -> set[int]:
    """The channels of a layer, or those among these, that have projections by some rules."""
    ends = _ends(range(layer.channels) if channels is None else channels)
    return set(_CHANNELS_WITH_RULES(source, _layer_id(source, layer), *ends, rules))


def channels_sharing_images(
    source: SqlSource, layer: Layer, channel: int, *, count: int
) -> list[SharedImagesRow]:
    """The channels of a layer that have the most images in common with one channel."""
    return _SHARED_IMAGES(source, _layer_id(source, layer), channel, count)


def top_images(source: SqlSource, layer: Layer, channels: range) -> dict[int, frozenset[str]]:
    """The names of the images on the plates of consecutive channels, by channel."""
    rows = _TOP_IMAGES(source, _layer_id(source, layer), *_ends(channels))
    plates = groupby(rows, key=lambda row: row.channel)
    return {channel: frozenset(row.key for row in plate) for channel, plate in plates}


def class_means(source: SqlSource, layer: Layer, channels: Iterable[int]) -> dict[int, bytes]:
    """The mean maximum for every class, by channel; only channels that have it."""
    rows = _CLASS_MEANS(source, _layer_id(source, layer), as_list(channels))
    check_lengths((row.means for row in rows), class_profile_bytes(source), "a class profile")
    return {row.channel: row.means for row in rows}


def channels_with_pattern(source: SqlSource, layer: Layer) -> frozenset[int]:
    """The channels of a layer that have a pattern."""
    if not has_table(source, "patterns"):
        return frozenset()
    return frozenset(_CHANNELS_WITH_PATTERN(source, _layer_id(source, layer)))


def pattern_summaries(source: SqlSource, layer: Layer, channel: int) -> list[PatternSummaryRow]:
    """The patterns of a channel; the first is the one that is shown."""
    if not has_table(source, "patterns"):
        return []
    return _PATTERN_SUMMARIES(source, _layer_id(source, layer), channel)


def pattern_blob(source: SqlSource, layer: Layer, channel: int) -> bytes | None:
    """The first pattern of a channel, as a WebP."""
    if not has_table(source, "patterns"):
        return None
    return _PATTERN_BLOB.first(source, _layer_id(source, layer), channel)


def _layer_id(source: SqlSource, layer: Layer) -> int:
    return _LAYER_ID.scalar(source, layer.name)


def _ends(channels: range) -> tuple[int, int]:
    """The ends that `BETWEEN` takes."""
    return channels.start, channels.stop - 1
