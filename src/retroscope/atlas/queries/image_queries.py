"""What the viewer asks about images and their classes."""

from collections.abc import Iterable
from typing import NamedTuple

from retroscope.atlas.queries.query import Query, SqlSource, as_list, check_lengths
from retroscope.atlas.queries.reader_queries import class_profile_bytes


class ImageHitRow(NamedTuple):
    """A hit in an image: the unit, its rank and its score."""

    layer: str
    channel: int
    rank: int
    score: float
    y: int
    x: int


class ClassUnitRow(NamedTuple):
    """A channel that responds to one class most."""

    layer: str
    channel: int
    mean_maximum: bytes
    fired_images: int
    images: int


class ClassSizeRow(NamedTuple):
    """A class, and how many units respond to it most."""

    label: int
    units: int


class ClassImageRow(NamedTuple):
    """A class, and the number of one of its images."""

    label: int
    image: int


class ImageKeyRow(NamedTuple):
    """A stored image: its number, name and class, and how many units have it among their hits."""

    image: int
    key: str
    label: int | None
    units: int


class ImageHeaderRow(NamedTuple):
    """The number of a stored image, and the first bytes of its WebP."""

    image: int
    header: bytes


_CLASS_UNITS = Query(
    ClassUnitRow,
    """
    SELECT layers.name AS layer, channels.channel, class_stats.mean_maximum,
        channels.fired_images, channels.images
    FROM channels
    JOIN layers ON layers.id = channels.layer
    JOIN class_stats ON class_stats.layer = channels.layer
        AND class_stats.channel = channels.channel
    WHERE channels.top_label = ? AND NOT channels.dead AND EXISTS (
        SELECT 1 FROM hits WHERE hits.layer = channels.layer AND hits.ranked_by = 'max'
            AND hits.channel = channels.channel AND hits.rank = 0)
    ORDER BY layers.step, layers.id, channels.channel""",
)
_UNITS_PER_CLASS = Query(
    ClassSizeRow,
    """
    SELECT top_label AS label, count(*) AS units FROM channels
    WHERE top_label IS NOT NULL AND NOT dead GROUP BY top_label""",
)
_IMAGE_HITS = Query(
    ImageHitRow,
    """
    SELECT layers.name AS layer, hits.channel, hits.rank, hits.score, hits.y, hits.x
    FROM hits JOIN layers ON layers.id = hits.layer
    WHERE hits.image = ? AND hits.ranked_by = 'max'
    ORDER BY layers.step, layers.id, hits.rank, hits.score DESC, hits.channel""",
)
_STORED_IMAGES = Query(int, "SELECT image FROM winner_pictures ORDER BY image")
_STORED_IMAGE_KEYS = Query(
    ImageKeyRow,
    """
    SELECT winner_pictures.image, images.key, images.label,
        (SELECT count(*) FROM hits
            WHERE hits.image = winner_pictures.image AND hits.ranked_by = 'max') AS units
    FROM winner_pictures JOIN images ON images.id = winner_pictures.image
    ORDER BY winner_pictures.image""",
)
_STORED_IMAGES_OF_CLASS = Query(
    int,
    """
    SELECT image FROM winner_pictures JOIN images ON images.id = image
    WHERE images.label = ? ORDER BY image""",
)
_FIRST_IMAGE_PER_CLASS = Query(
    ClassImageRow,
    """
    SELECT images.label, min(images.id) AS image
    FROM winner_pictures JOIN images ON images.id = image
    WHERE images.label IS NOT NULL GROUP BY images.label""",
)
_IMAGE_BLOB = Query(bytes, "SELECT blob FROM winner_pictures WHERE image = ?")
_IMAGE_HEADERS = Query(
    ImageHeaderRow,
    """
    SELECT image, substr(blob, 1, 40) AS header FROM winner_pictures
    WHERE image IN (SELECT value FROM json_each(?))""",
)
_ANY_IMAGE_HEADER = Query(bytes, "SELECT substr(blob, 1, 40) FROM winner_pictures LIMIT 1")


def image_hits(source: SqlSource, image: int) -> list[ImageHitRow]:
    """The hits in an image, layer by layer."""
    return _IMAGE_HITS(source, image)


def class_units(source: SqlSource, label: int) -> list[ClassUnitRow]:
    """The live channels that respond to a class most."""
    rows = _CLASS_UNITS(source, label)
    lengths = class_profile_bytes(source)
    check_lengths((row.mean_maximum for row in rows), lengths, "a class profile")
    return rows


def count_units_per_class(source: SqlSource) -> dict[int, int]:
    """How many live channels respond to each class most; no entry for none."""
    return {row.label: row.units for row in _UNITS_PER_CLASS(source)}


def stored_images(source: SqlSource, *, label: int | None = None) -> list[int]:
    """The numbers of the images that the atlas stores: all, or those of a class."""
    if label is None:
        return _STORED_IMAGES(source)
    return _STORED_IMAGES_OF_CLASS(source, label)


def stored_image_keys(source: SqlSource) -> list[ImageKeyRow]:
    """The images that the atlas stores, with their names, classes and numbers of units."""
    return _STORED_IMAGE_KEYS(source)


def first_image_per_class(source: SqlSource) -> dict[int, int]:
    """The number of the first stored image of each class that has one."""
    return {row.label: row.image for row in _FIRST_IMAGE_PER_CLASS(source)}


def image_blob(source: SqlSource, image: int) -> bytes | None:
    """A stored image as a WebP, or None if it is not stored."""
    return _IMAGE_BLOB.first(source, image)


def image_headers(source: SqlSource, images: Iterable[int]) -> dict[int, bytes]:
    """The first bytes of stored images, enough to read the size of each; by number."""
    rows = _IMAGE_HEADERS(source, as_list(images))
    return {row.image: row.header for row in rows}


def any_image_header(source: SqlSource) -> bytes | None:
    """The first bytes of one stored image; all have the size of the network's input."""
    return _ANY_IMAGE_HEADER.first(source)
