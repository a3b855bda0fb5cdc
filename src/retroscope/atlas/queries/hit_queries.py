"""The hits of a channel, in one ranking or several at once: a query costs more than a row."""

from collections.abc import Collection
from json import dumps
from typing import NamedTuple

from retroscope.atlas.queries.projection_queries import SHOWN_RULES
from retroscope.atlas.queries.query import Query, SqlSource
from retroscope.atlas.queries.rankings import HitRanking
from retroscope.results.layers import Layer


class UnitHitRow(NamedTuple):
    """A hit of a channel, with the class of its image; activation and note of its projection.

    `ranking` is the name of a ranking, or the number of a class.
    """

    ranking: str | int
    rank: int
    score: float
    image: int
    y: int
    x: int
    key: str
    label: str | None
    activation: float | None
    note: str | None


def _hits_query(table: str, ranking: str) -> Query[UnitHitRow]:
    return Query(
        UnitHitRow,
        f"""
        SELECT hits.{ranking} AS ranking, hits.rank, hits.score, hits.image, hits.y, hits.x,
            images.key, labels.name AS label, projections.activation, projections.note
        FROM {table} AS hits
        JOIN images ON images.id = hits.image
        LEFT JOIN labels ON labels.id = images.label
        LEFT JOIN projections ON projections.layer = hits.layer
            AND projections.channel = hits.channel AND projections.image = hits.image
            AND projections.y = hits.y AND projections.x = hits.x
            AND projections.rules = {SHOWN_RULES}
        WHERE hits.layer = (SELECT id FROM layers WHERE name = ?)
            AND hits.{ranking} IN (SELECT value FROM json_each(?))
            AND hits.channel = ? AND hits.rank < ?
        ORDER BY hits.rank""",  # noqa: S608 - our own SQL
    )


_RANKED_HITS, _CLASS_HITS = _hits_query("hits", "ranked_by"), _hits_query("class_hits", "label")


def unit_hits(
    source: SqlSource,
    layer: Layer,
    channel: int,
    *,
    rankings: Collection[HitRanking],
    count: int = 9,
) -> dict[HitRanking, list[UnitHitRow]]:
    """The first hits of a channel in each of these rankings, by rank."""
    keys = {ranking: _key(ranking) for ranking in rankings}
    hits: dict[str | int, list[UnitHitRow]] = {key: [] for key in keys.values()}
    for query, kind in ((_RANKED_HITS, str), (_CLASS_HITS, int)):
        own = [key for key in hits if isinstance(key, kind)]
        if own:  # an older atlas lacks one of the tables
            for row in query(source, layer.name, dumps(own), channel, count):
                hits[row.ranking].append(row)
    return {ranking: hits[key] for ranking, key in keys.items()}


def _key(ranking: HitRanking) -> str | int:
    return str(ranking.ranked_by) if ranking.label is None else ranking.label
