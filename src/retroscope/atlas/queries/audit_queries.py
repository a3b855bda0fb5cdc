"""What an audit asks: the statistics, hits and class profiles of all channels of a layer."""

from typing import NamedTuple

from retroscope.atlas.queries.query import Query, SqlSource, check_lengths
from retroscope.atlas.queries.reader_queries import class_profile_bytes
from retroscope.results.layers import Layer


class ChannelFactsRow(NamedTuple):
    """The statistics of a channel that rules look at; NULL in an atlas that is older than they."""

    channel: int
    images: int | None
    maximum: float | None
    minimum: float | None
    mean: float | None
    std: float | None
    fired_images: int | None
    fired_positions: int | None
    non_finite: int | None
    histogram: bytes | None


class LabelledHitRow(NamedTuple):
    """A hit by maximum, with the number of its image's class."""

    channel: int
    rank: int
    score: float
    image: int
    label: int | None
    y: int
    x: int


class ClassProfilesRow(NamedTuple):
    """How a channel responds to each class: two float32 blobs."""

    channel: int
    mean_maximum: bytes
    fired_share: bytes


_OF_LAYER = "layer = (SELECT id FROM layers WHERE name = ?)"
_CHANNELS = Query(
    ChannelFactsRow,
    f"""
    SELECT {", ".join(ChannelFactsRow._fields)} FROM channels
    WHERE {_OF_LAYER} ORDER BY channel""",  # noqa: S608 - our own SQL
)
_HITS = Query(
    LabelledHitRow,
    f"""
    SELECT hits.channel, hits.rank, hits.score, hits.image, images.label, hits.y, hits.x
    FROM hits JOIN images ON images.id = hits.image
    WHERE hits.{_OF_LAYER} AND hits.ranked_by = 'max'
    ORDER BY hits.channel, hits.rank""",  # noqa: S608 - our own SQL
)
_CLASS_PROFILES = Query(
    ClassProfilesRow,
    f"""
    SELECT channel, mean_maximum, fired_share FROM class_stats
    WHERE {_OF_LAYER} ORDER BY channel""",  # noqa: S608 - our own SQL
)
_READABLE_COUNT = Query(int, "SELECT count(*) FROM images WHERE status = 'ok'")


def channel_facts(source: SqlSource, layer: Layer) -> list[ChannelFactsRow]:
    """The statistics of all channels of a layer."""
    return _CHANNELS(source, layer.name)


def labelled_hits(source: SqlSource, layer: Layer) -> list[LabelledHitRow]:
    """The hits by maximum of all channels of a layer, by channel and rank."""
    return _HITS(source, layer.name)


def class_profiles(source: SqlSource, layer: Layer) -> list[ClassProfilesRow]:
    """How the channels of a layer respond to each class; none without classes."""
    rows = _CLASS_PROFILES(source, layer.name)
    blobs = (blob for row in rows for blob in (row.mean_maximum, row.fired_share))
    check_lengths(blobs, class_profile_bytes(source), "a class profile")
    return rows


def count_readable_images(source: SqlSource) -> int:
    """How many images the scan has read."""
    return _READABLE_COUNT.scalar(source)
