"""Which hits are not projected yet, by the rules whose projections are shown."""

from typing import NamedTuple

from retroscope.atlas.queries.query import SqlSource
from retroscope.atlas.queries.rankings import AnyRanking, DefaultRankings, RankedQuery
from retroscope.results.layers import Layer

PLATE_SIZE = 9
"""The hits of each ranking of a channel that a plate shows."""

SHOWN_RULES = """
    coalesce((SELECT trim(value, '"') FROM meta WHERE key = 'rules'), 'deconvnet')"""
"""The rules whose projections are shown, as `Atlas.rules`."""
HAS_PROJECTION = f"""
    EXISTS (
        SELECT 1 FROM projections
        WHERE projections.layer = hits.layer AND projections.channel = hits.channel
            AND projections.image = hits.image AND projections.y = hits.y
            AND projections.x = hits.x AND projections.rules = {SHOWN_RULES})"""  # noqa: S608 - our own SQL
"""Whether a row of `hits` has one of these."""


class MissingHitsRow(NamedTuple):
    """How many hits have no projection: all, and the best of their channel.

    A hit of both default rankings counts once, and is a best one if it is that in either of them.
    """

    hits: int
    best_hits: int


_MISSING_HITS = RankedQuery(
    MissingHitsRow,
    f"""
    SELECT count(*) AS hits, coalesce(sum(is_best), 0) AS best_hits
    FROM (
        SELECT min(rank) = 0 AS is_best FROM {{rows}}
            AND layer = (SELECT id FROM layers WHERE name = ?) AND channel BETWEEN ? AND ?
            AND rank < {PLATE_SIZE} AND NOT {HAS_PROJECTION}
        GROUP BY channel, image, y, x)""",  # noqa: S608 - our own SQL
)


def count_missing(
    source: SqlSource,
    layer: Layer,
    *,
    channels: range | None = None,
    ranking: AnyRanking | None = None,
) -> MissingHitsRow:
    """The hits of a layer, or of these channels, that have no projection.

    By default they are those by maximum and by mean.
    """
    span = range(layer.channels) if channels is None else channels
    query = _MISSING_HITS.of(ranking or DefaultRankings())
    return query.scalar(source, layer.name, span.start, span.stop - 1)
