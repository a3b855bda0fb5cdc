"""What is read of an atlas to join it with others: rows of many channels or images at a time."""

from collections.abc import Iterable
from typing import NamedTuple

from retroscope.atlas.queries.query import Query, SqlSource, as_list, damaged_error, has_table
from retroscope.atlas.queries.table_rows import (
    ClassStatsRow,
    PatternRow,
    ProjectionRow,
    StoredImageRow,
)
from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.atlas.schema import Value
from retroscope.results.statistics import stored_statistics


class ListedImageRow(NamedTuple):
    """An image of the list with the number of its class. `error` says why it cannot be read."""

    id: int
    key: str
    label: int | None
    status: str
    error: str | None


class LayerHitRow(NamedTuple):
    """A hit in a ranking of a layer."""

    channel: int
    score: float
    image: int
    y: int
    x: int


_LAYER_ID = Query(int, "SELECT id FROM layers WHERE name = ?")
_IMAGES = Query(
    ListedImageRow,
    """
    SELECT id, key, label, status, error FROM images
    WHERE id >= ? AND id < ? ORDER BY id""",
)
_IMAGE_FILES = Query(
    ImageFileRow,
    """
    SELECT image, size, modified, digest FROM image_files
    WHERE image >= ? AND image < ? ORDER BY image""",
)
_STORED_IMAGES = Query(
    StoredImageRow,
    """
    SELECT image, blob FROM winner_pictures
    WHERE image IN (SELECT value FROM json_each(?)) ORDER BY image""",
)
_HITS = Query(
    LayerHitRow,
    """
    SELECT channel, score, image, y, x FROM hits
    WHERE layer = ? AND ranked_by = ? ORDER BY channel, rank""",
)
_CLASS_HITS = Query(
    LayerHitRow,
    """
    SELECT channel, score, image, y, x FROM class_hits
    WHERE layer = ? AND label = ? ORDER BY channel, rank""",
)
_CLASS_STATS = Query(
    ClassStatsRow,
    """
    SELECT layer, channel, mean_maximum, fired_share FROM class_stats
    WHERE layer = ? ORDER BY channel""",
)
_PROJECTIONS = Query(
    ProjectionRow,
    f"""
    SELECT {", ".join(ProjectionRow._fields)} FROM projections
    WHERE layer = ? AND channel BETWEEN ? AND ?""",  # noqa: S608 - our own SQL
)
_PATTERNS = Query(
    PatternRow,
    f"SELECT {', '.join(PatternRow._fields)} FROM patterns WHERE layer = ?",  # noqa: S608
)


def layer_id(source: SqlSource, layer: str) -> int:
    """The number of a layer in the file."""
    return _LAYER_ID.scalar(source, layer)


def listed_images(source: SqlSource, images: range) -> list[ListedImageRow]:
    """The images with these numbers, of which none may be missing."""
    rows = _IMAGES(source, images.start, images.stop)
    if [row.id for row in rows] != list(images):
        raise damaged_error("numbers are missing in its list of images")
    return rows


def image_files(source: SqlSource, images: range) -> list[ImageFileRow]:
    """What is recorded of the files of these images."""
    if not has_table(source, "image_files"):
        return []
    return _IMAGE_FILES(source, images.start, images.stop)


def image_blobs(source: SqlSource, images: Iterable[int]) -> list[StoredImageRow]:
    """Those of these images that are stored."""
    return _STORED_IMAGES(source, as_list(images))


def layer_hits(source: SqlSource, layer: int, ranked_by: str) -> list[LayerHitRow]:
    """All hits of a layer in one ranking, channel by channel."""
    return _HITS(source, layer, ranked_by)


def layer_class_hits(source: SqlSource, layer: int, label: int) -> list[LayerHitRow]:
    """The best images of a class for a layer, channel by channel; none in an older atlas."""
    return _CLASS_HITS(source, layer, label) if has_table(source, "class_hits") else []


def layer_statistics(source: SqlSource, layer: int, channels: int) -> dict[str, list[Value]]:
    """The statistics of the channels of a layer, by name; all of them must be there."""
    names = ["channel", *(row.name for row in stored_statistics())]
    query = f"SELECT {', '.join(names)} FROM channels WHERE layer = ? ORDER BY channel"  # noqa: S608
    rows = source.sql(query, layer)
    if [row[0] for row in rows] != list(range(channels)):
        raise damaged_error("statistics of channels are missing")
    columns = zip(*rows, strict=True)
    return {name: list(column) for name, column in zip(names, columns, strict=True)}


def layer_class_stats(source: SqlSource, layer: int) -> list[ClassStatsRow]:
    """How the channels of a layer respond to each class; no rows without such statistics."""
    return _CLASS_STATS(source, layer)


def layer_projections(source: SqlSource, layer: int, channels: range) -> list[ProjectionRow]:
    """The projections of consecutive channels, by all rules."""
    return _PROJECTIONS(source, layer, channels.start, channels.stop - 1)


def layer_patterns(source: SqlSource, layer: int) -> list[PatternRow]:
    """The patterns of the channels of a layer."""
    return _PATTERNS(source, layer) if has_table(source, "patterns") else []
