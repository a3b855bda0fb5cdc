"""What `Atlas` asks: layers, images, plates, statistics, hits, patterns."""

import json
from dataclasses import dataclass
from typing import NamedTuple

from retroscope.atlas.queries.query import Query, SqlSource, damaged_error, has_table
from retroscope.atlas.queries.rankings import DefaultRankings, HitRanking, RankedQuery
from retroscope.atlas.queries.table_rows import GraphRow, LayerRow, PatternRow
from retroscope.atlas.schema import Json, Value
from retroscope.results.statistics import stored_statistics


@dataclass(frozen=True)
class Label:
    """A class, and how many readable images it has."""

    id: int
    name: str
    images: int


@dataclass(frozen=True)
class ImageRow:
    """An image of the scanned list. `status` is one of `ImageStatus`."""

    id: int
    key: str
    label: str | None
    status: str
    error: str | None


class FactRow(NamedTuple):
    """A fact about the scan; the value is JSON."""

    key: str
    value: str


class ClassProfileRow(NamedTuple):
    """How a channel responds to each class: two float32 blobs."""

    mean_maximum: bytes
    fired_share: bytes


class PlateRow(NamedTuple):
    """A hit with the stored image, and with its projection: None if it has not been made."""

    channel: int
    rank: int
    score: float
    y: int
    x: int
    key: str
    image_blob: bytes | None
    rules: str | None
    activation: float | None
    projection_blob: bytes | None
    peak: float | None
    height: int | None
    width: int | None
    depth: int | None
    note: str | None


class NamedHitRow(NamedTuple):
    """A hit with the names of its image and class."""

    channel: int
    y: int
    x: int
    score: float
    image: int
    key: str
    label: str | None


class UnreadableImageRow(NamedTuple):
    """An image that could not be read, and why."""

    key: str
    error: str


class ProjectionCounts(NamedTuple):
    """How many hits have a projection, of how many. A hit of both rankings counts once."""

    projected: int
    hits: int


@dataclass(frozen=True)
class ScanFindings:
    """What the user of a finished scan should know."""

    unreadable_images: int
    dead_channels: int
    non_finite_channels: int


def _plate_query(hits: str, order: str) -> RankedQuery[PlateRow]:
    """The hits are selected first, so only the images and projections of those are read."""
    return RankedQuery(
        PlateRow,
        f"""
        SELECT hits.channel, hits.rank, hits.score, hits.y, hits.x, images.key,
            winner_pictures.blob AS image_blob, projections.rules, projections.activation,
            projections.blob AS projection_blob, projections.peak, projections.height,
            projections.width, projections.depth, projections.note
        FROM ({hits}) AS hits
        JOIN images ON images.id = hits.image
        LEFT JOIN winner_pictures ON winner_pictures.image = hits.image
        LEFT JOIN projections ON projections.layer = hits.layer
            AND projections.channel = hits.channel AND projections.image = hits.image
            AND projections.y = hits.y AND projections.x = hits.x AND projections.rules = ?
        ORDER BY {order}""",  # noqa: S608 - our own SQL
    )


def _hits_query(hits: str, order: str) -> RankedQuery[NamedHitRow]:
    return RankedQuery(
        NamedHitRow,
        f"""
        SELECT hits.channel, hits.y, hits.x, hits.score, hits.image, images.key,
            labels.name AS label
        FROM ({hits}) AS hits
        JOIN images ON images.id = hits.image
        LEFT JOIN labels ON labels.id = images.label
        ORDER BY {order}""",  # noqa: S608 - our own SQL
    )


_OF_CHANNEL = "SELECT hits.* FROM {rows} AND hits.layer = ? AND hits.channel = ?", "hits.rank"
_OF_LAYER = "SELECT hits.* FROM {rows} AND hits.layer = ? ORDER BY {order} LIMIT ?", "{order}"
_CHANNEL_PLATE, _LAYER_PLATE = _plate_query(*_OF_CHANNEL), _plate_query(*_OF_LAYER)
_CHANNEL_HITS, _LAYER_HITS = _hits_query(*_OF_CHANNEL), _hits_query(*_OF_LAYER)
_FACTS = Query(FactRow, "SELECT key, value FROM meta")
_LAYERS = Query(
    LayerRow,
    f"SELECT {', '.join(LayerRow._fields)} FROM layers ORDER BY step, id",  # noqa: S608
)
_GRAPH = Query(GraphRow, "SELECT step, operation, inputs FROM graph ORDER BY step")
_LABELS = Query(Label, "SELECT id, name, images FROM labels")
_LABEL_COUNT = Query(int, "SELECT count(*) FROM labels")
_IMAGE_COUNT = Query(int, "SELECT coalesce(max(id) + 1, 0) FROM images")
_IMAGES = Query(
    ImageRow,
    """
    SELECT images.id, images.key, labels.name AS label, images.status, images.error
    FROM images LEFT JOIN labels ON labels.id = images.label
    WHERE images.id >= ? AND images.id < ? ORDER BY images.id""",
)
_CLASS_PROFILE = Query(
    ClassProfileRow,
    "SELECT mean_maximum, fired_share FROM class_stats WHERE layer = ? AND channel = ?",
)
_PATTERNS = Query(
    PatternRow,
    f"""
    SELECT {", ".join(PatternRow._fields)}
    FROM patterns WHERE layer = ? AND channel = ?
    ORDER BY recipe <> 'zoom', recipe <> 'olah', recipe""",  # noqa: S608
)
_DATA_VERSION = Query(int, "PRAGMA data_version")
UNREADABLE_IMAGES = Query(
    UnreadableImageRow,
    "SELECT key, error FROM images WHERE status = 'unreadable' ORDER BY id",
)
"""Also printed as a command for `sqlite3`."""
_UNREADABLE_COUNT = Query(int, "SELECT count(*) FROM images WHERE status = 'unreadable'")
_HIT_PLACES_COUNT = Query(
    int,
    f"""
    SELECT count(*) FROM (
        SELECT DISTINCT layer, channel, image, y, x FROM {DefaultRankings.rows})""",  # noqa: S608
)
_PROJECTED_COUNT = Query(
    int,
    f"""
    SELECT count(*) FROM (
        SELECT DISTINCT layer, channel, image, y, x FROM {DefaultRankings.rows}
        INTERSECT SELECT layer, channel, image, y, x FROM projections WHERE rules = ?)""",  # noqa: S608
)
_DEAD_COUNT = Query(int, "SELECT count(*) FROM channels WHERE dead")
_NON_FINITE_COUNT = Query(int, "SELECT count(*) FROM channels WHERE non_finite > 0")


def read_facts(source: SqlSource) -> dict[str, Json]:
    """The facts about the scan, by key."""
    return {fact.key: _decode_fact(fact) for fact in _FACTS(source)}


def _decode_fact(fact: FactRow) -> Json:
    try:
        value: Json = json.loads(fact.value)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise damaged_error(f"the fact {fact.key!r} is not JSON ({error})") from error
    if fact.key == "created" and not isinstance(value, str):
        raise damaged_error("its time of creation is not a text")
    return value


def list_layers(source: SqlSource) -> list[LayerRow]:
    """All layers in running order."""
    return _LAYERS(source)


def graph_steps(source: SqlSource) -> list[GraphRow]:
    """The layers and the steps where maps meet, in running order; none in an older atlas."""
    return _GRAPH(source) if has_table(source, "graph") else []


def list_labels(source: SqlSource) -> tuple[Label, ...]:
    """All classes in their order."""
    return tuple(_LABELS(source))


def class_profile_bytes(source: SqlSource) -> int:
    """How long a float32 blob with a number for each class is."""
    return 4 * _LABEL_COUNT.scalar(source)


def count_images(source: SqlSource) -> int:
    """How many images the scanned list has."""
    return _IMAGE_COUNT.scalar(source)


def list_images(source: SqlSource, start: int, stop: int) -> list[ImageRow]:
    """The images with numbers from `start` to below `stop`."""
    return _IMAGES(source, start, stop)


def find_image(source: SqlSource, number: int) -> ImageRow:
    """The image with this number."""
    rows = list_images(source, number, number + 1)
    if not rows:
        raise damaged_error(f"image {number} is not in its list of images")
    return rows[0]


def channel_statistics(source: SqlSource, layer: int, channel: int) -> dict[str, Value] | None:
    """The statistics of a channel by name, or None if the scan has not got there."""
    names = [row.name for row in stored_statistics()]
    query = f"SELECT {', '.join(names)} FROM channels WHERE layer = ? AND channel = ?"  # noqa: S608
    rows = source.sql(query, layer, channel)
    return dict(zip(names, rows[0], strict=True)) if rows else None


def class_profile(source: SqlSource, layer: int, channel: int) -> ClassProfileRow | None:
    """How a channel responds to each class, or None if there are no classes."""
    return _CLASS_PROFILE.first(source, layer, channel)


def channel_plate(
    source: SqlSource, layer: int, channel: int, *, ranking: HitRanking, rules: str
) -> list[PlateRow]:
    """The hits of a channel by rank."""
    return _CHANNEL_PLATE.of(ranking)(source, layer, channel, rules)


def layer_plate(
    source: SqlSource, layer: int, count: int, *, ranking: HitRanking, rules: str
) -> list[PlateRow]:
    """The best hits of a layer, over all channels."""
    return _LAYER_PLATE.of(ranking)(source, layer, count, rules)


def channel_hits(
    source: SqlSource, layer: int, channel: int, *, ranking: HitRanking
) -> list[NamedHitRow]:
    """The hits that `channel_plate` gives, without images."""
    return _CHANNEL_HITS.of(ranking)(source, layer, channel)


def layer_hits(
    source: SqlSource, layer: int, count: int, *, ranking: HitRanking
) -> list[NamedHitRow]:
    """The hits that `layer_plate` gives, without images."""
    return _LAYER_HITS.of(ranking)(source, layer, count)


def channel_patterns(source: SqlSource, layer: int, channel: int) -> list[PatternRow]:
    """The patterns of a channel, the preferred recipe first."""
    return _PATTERNS(source, layer, channel) if has_table(source, "patterns") else []


def data_version(source: SqlSource) -> int:
    """A number that changes when another connection has written the file."""
    return _DATA_VERSION.scalar(source)


def projection_counts(source: SqlSource, rules: str) -> ProjectionCounts:
    """How many hits by maximum or mean have a projection by these rules, of how many."""
    return ProjectionCounts(
        _PROJECTED_COUNT.scalar(source, rules), _HIT_PLACES_COUNT.scalar(source)
    )


def count_unreadable_images(source: SqlSource) -> int:
    """How many images of the list could not be read."""
    return _UNREADABLE_COUNT.scalar(source)


def scan_findings(source: SqlSource) -> ScanFindings:
    """How many images could not be read, and how many channels are dead or not finite."""
    return ScanFindings(
        unreadable_images=_UNREADABLE_COUNT.scalar(source),
        dead_channels=_DEAD_COUNT.scalar(source),
        non_finite_channels=_NON_FINITE_COUNT.scalar(source),
    )
