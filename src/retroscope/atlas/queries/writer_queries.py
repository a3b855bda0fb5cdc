"""What `AtlasWriter` puts into the file, and what it looks up there."""

import json
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from retroscope.atlas.queries.query import Query, SqlSource
from retroscope.atlas.queries.rankings import AnyRanking, RankedQuery
from retroscope.atlas.schema import create_index
from retroscope.results.slice_stacks import map_size

_NO_LIMIT = 2**62

UPSERT_FACT = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
DELETE_FACT = "DELETE FROM meta WHERE key = ?"
UPSERT_STATE = "INSERT OR REPLACE INTO state VALUES (?, ?)"
INSERT_LABEL = "INSERT INTO labels VALUES (?, CAST(? AS TEXT), ?)"
INSERT_IMAGE = "INSERT INTO images VALUES (?, CAST(? AS TEXT), ?, ?, NULL)"
SET_STATUS = "UPDATE images SET status = ? WHERE id = ? AND status = ?"
SET_ERROR = "UPDATE images SET status = ?, error = CAST(? AS TEXT) WHERE id = ?"
COUNT_DOWN_LABEL = """
    UPDATE labels SET images = images - 1
    WHERE id = (SELECT label FROM images WHERE id = ? AND status <> ?)"""
DELETE_STATE = "DELETE FROM state"
DELETE_HITS = "DELETE FROM hits WHERE layer = ? AND ranked_by = ?"
DELETE_CLASS_HITS = "DELETE FROM class_hits WHERE layer = ? AND label = ?"
DELETE_SAMPLE_IMAGES = "DELETE FROM sample_images"
DROP_HIT_INDEX = "DROP INDEX IF EXISTS hits_by_image"
CREATE_HIT_INDEX = create_index("hits_by_image")
DELETE_STORED_IMAGE = "DELETE FROM winner_pictures WHERE image = ?"
DELETE_IMAGES_WITHOUT_HITS = """
    DELETE FROM winner_pictures
    WHERE NOT EXISTS (SELECT 1 FROM hits WHERE hits.image = winner_pictures.image)
        AND image NOT IN (SELECT image FROM class_hits)
        AND image NOT IN (SELECT image FROM sample_images)"""


@cache
def upsert(table: str, columns: tuple[str, ...], count: int = 1) -> str:
    """The statement that inserts so many rows, in place of those with the same keys."""
    marks = f"({', '.join('?' * len(columns))})"
    rows = ", ".join([marks] * count)
    return f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES {rows}"  # noqa: S608


class StatePartRow(NamedTuple):
    """A part of the state of an unfinished scan."""

    key: str
    value: bytes


class LayerNumberRow(NamedTuple):
    """A layer's number in the file, and how many channels it has, of which size."""

    name: str
    id: int
    channels: int
    depth: int | None
    height: int
    width: int

    @property
    def map_size(self) -> tuple[int, ...]:
        """The size of its maps."""
        return map_size(self.depth, self.height, self.width)


class MissingProjectionRow(NamedTuple):
    """A hit that has no projection. `score` is None if the hit is only in the ranking by mean.

    `rank` is that by maximum, or else that by mean.
    """

    channel: int
    image: int
    y: int
    x: int
    score: float | None
    rank: int


class ImageFileRow(NamedTuple):
    """The file of an image when the scan read it; `modified` in nanoseconds."""

    image: int
    size: int
    modified: int
    digest: bytes


_STATE = Query(StatePartRow, "SELECT key, value FROM state")
_LAYER_NUMBERS = Query(
    LayerNumberRow,
    "SELECT name, id, channels, depth, height, width FROM layers ORDER BY step, id",
)
_IMAGE_FILES = Query(
    ImageFileRow,
    """
    SELECT image, size, modified, digest FROM image_files
    WHERE image IN (SELECT value FROM json_each(?))
    ORDER BY image""",
)
_CREATION_TIME = Query(str, "SELECT value FROM meta WHERE key = 'created'")
_MISSING_PROJECTIONS = RankedQuery(
    MissingProjectionRow,
    """
    SELECT channel, image, y, x, max(CASE WHEN {is_activation} THEN score END) AS score,
        coalesce(min(CASE WHEN {is_activation} THEN rank END), min(rank)) AS rank
    FROM {rows} AND layer = ? AND rank < ? AND NOT EXISTS (
        SELECT 1 FROM projections
        WHERE projections.layer = hits.layer AND projections.channel = hits.channel
            AND projections.image = hits.image AND projections.y = hits.y
            AND projections.x = hits.x AND projections.rules = ?)
    GROUP BY image, channel, y, x
    ORDER BY image, channel, y, x
    LIMIT ?""",
)
_IMAGES_WITHOUT_PIXELS = Query(
    int,
    """
    SELECT image FROM (
        SELECT DISTINCT image FROM hits
        UNION SELECT image FROM class_hits
        UNION SELECT image FROM sample_images) AS wanted
    WHERE NOT EXISTS (SELECT 1 FROM winner_pictures WHERE winner_pictures.image = wanted.image)
    ORDER BY image""",
)
_CHANNELS_WITHOUT_PATTERN = Query(
    int,
    """
    WITH RECURSIVE numbers (channel) AS (
        SELECT 0 UNION ALL SELECT channel + 1 FROM numbers WHERE channel + 1 < ?)
    SELECT channel FROM numbers
    WHERE NOT EXISTS (
        SELECT 1 FROM patterns WHERE layer = ? AND patterns.channel = numbers.channel
            AND recipe = ? AND seed = ? AND steps = ?)
    ORDER BY channel""",
)


def creation_time(source: SqlSource) -> str | None:
    """When the scan was started, as JSON; None in an atlas without it."""
    return _CREATION_TIME.first(source)


def read_state(source: SqlSource) -> dict[str, bytes]:
    """The state of an unfinished scan, by part."""
    return {part.key: part.value for part in _STATE(source)}


def layer_numbers(source: SqlSource) -> dict[str, LayerNumberRow]:
    """All layers in running order, by name."""
    return {row.name: row for row in _LAYER_NUMBERS(source)}


def missing_projections(
    source: SqlSource,
    layer: int,
    *,
    ranking: AnyRanking,
    ranks: int | None,
    rules: str,
    limit: int | None,
) -> list[MissingProjectionRow]:
    """The hits of a layer that have no projection, each position once, image by image."""
    most_ranks, most_rows = (_NO_LIMIT if count is None else count for count in (ranks, limit))
    query = _MISSING_PROJECTIONS.of(ranking)
    return query(source, layer, most_ranks, rules, most_rows)


def image_files(source: SqlSource, images: Sequence[int]) -> list[ImageFileRow]:
    """What is recorded of the files of these images, by number."""
    return _IMAGE_FILES(source, json.dumps(list(images)))


def images_without_pixels(source: SqlSource) -> list[int]:
    """The images among the hits, and those of the sample, that are not stored yet."""
    return _IMAGES_WITHOUT_PIXELS(source)


def channels_without_pattern(
    source: SqlSource, layer: LayerNumberRow, recipe: str, *, seed: int, steps: int
) -> list[int]:
    """The channels of a layer that have no pattern with this recipe, seed and steps."""
    return _CHANNELS_WITHOUT_PATTERN(source, layer.channels, layer.id, recipe, seed, steps)
