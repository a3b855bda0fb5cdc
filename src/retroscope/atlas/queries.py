"""What the pages ask an atlas, in SQL."""

from itertools import groupby
from typing import Any

from retroscope.atlas.reader import Atlas
from retroscope.results.values import Layer

Rows = list[tuple[Any, ...]]

_HITS = """
    SELECT hits.rank, hits.score, hits.image, hits.y, hits.x, images.key, labels.name,
        projections.activation, projections.note
    FROM hits
    JOIN images ON images.id = hits.image
    LEFT JOIN labels ON labels.id = images.label
    LEFT JOIN projections ON projections.layer = hits.layer
        AND projections.channel = hits.channel AND projections.image = hits.image
        AND projections.y = hits.y AND projections.x = hits.x AND projections.rules = 'deconvnet'
    WHERE hits.layer = ? AND hits.ranked_by = ? AND hits.channel = ?
    ORDER BY hits.rank LIMIT ?"""
_CHANNELS = """
    SELECT channel, maximum, mean, images, fired_images, positions, fired_positions, non_finite,
        dead, top_label
    FROM channels WHERE layer = ? AND channel BETWEEN ? AND ? ORDER BY channel"""
_SHARING = """
    SELECT others.channel, count(*) AS shared
    FROM hits AS own
    CROSS JOIN hits AS others ON others.image = own.image AND others.ranked_by = own.ranked_by
        AND others.layer = own.layer AND others.channel <> own.channel
    WHERE own.layer = ? AND own.ranked_by = 'max' AND own.channel = ?
    GROUP BY others.channel ORDER BY shared DESC, others.channel LIMIT ?"""
_OF_IMAGE = """
    SELECT layers.name, hits.channel, hits.rank, hits.score, hits.y, hits.x
    FROM hits JOIN layers ON layers.id = hits.layer
    WHERE hits.image = ? AND hits.ranked_by = 'max'
    ORDER BY layers.step, layers.id, hits.rank, hits.score DESC, hits.channel"""
_OF_LABEL = """
    SELECT layers.name, channels.channel, class_stats.mean_maximum, channels.fired_images,
        channels.images
    FROM channels
    JOIN layers ON layers.id = channels.layer
    JOIN class_stats ON class_stats.layer = channels.layer
        AND class_stats.channel = channels.channel
    WHERE channels.top_label = ? AND NOT channels.dead AND EXISTS (
        SELECT 1 FROM hits WHERE hits.layer = channels.layer AND hits.ranked_by = 'max'
            AND hits.channel = channels.channel AND hits.rank = 0)
    ORDER BY layers.step, layers.id, channels.channel"""
_ILLUSTRATED = """
    SELECT channel, max(EXISTS (
        SELECT 1 FROM projections
        WHERE projections.layer = hits.layer AND projections.channel = hits.channel
            AND projections.image = hits.image AND projections.y = hits.y
            AND projections.x = hits.x AND projections.rules = 'deconvnet'))
    FROM hits WHERE layer = ? AND ranked_by = ? AND rank < 9
    GROUP BY channel ORDER BY channel"""
_PATTERNS_FROM = """
    FROM patterns WHERE layer = ? AND channel = ? ORDER BY recipe <> 'olah', recipe"""
_PATTERNS = f"SELECT recipe, seed, steps, activation, note, caveat {_PATTERNS_FROM}"
_MEANS = "SELECT channel, mean_maximum FROM class_stats WHERE layer = ?"
_HEADS = "SELECT image, substr(blob, 1, 40) FROM winner_pictures"
_FIRST = """
    SELECT channel, score, EXISTS (
        SELECT 1 FROM projections
        WHERE projections.layer = hits.layer AND projections.channel = hits.channel
            AND projections.image = hits.image AND projections.y = hits.y
            AND projections.x = hits.x AND projections.rules = 'deconvnet')
    FROM hits WHERE layer = ? AND ranked_by = ? AND channel BETWEEN ? AND ? AND rank = 0"""
_HAS_HITS = """
    EXISTS (SELECT 1 FROM hits WHERE hits.layer = channels.layer AND hits.ranked_by = 'max'
        AND hits.channel = channels.channel AND hits.rank = 0)"""
_STRONGEST = f"""
    SELECT channel FROM channels WHERE layer = ? AND NOT dead AND {_HAS_HITS}
    ORDER BY maximum DESC, channel LIMIT ?"""  # noqa: S608 - our own words
_PER_LABEL = """
    SELECT top_label, count(*) FROM channels
    WHERE top_label IS NOT NULL AND NOT dead GROUP BY top_label"""


def layer_id(atlas: Atlas, layer: Layer) -> int:
    """The layer's number in the file."""
    ((number,),) = _ask(atlas, "SELECT id FROM layers WHERE name = ?", layer.name)
    return int(number)


def conditions(atlas: Atlas) -> dict[str, tuple[int, int, int]]:
    """For each layer: channels that are known, dead ones, and those with values not finite."""
    rows = _ask(
        atlas,
        "SELECT layers.name, count(*), sum(dead), sum(non_finite > 0) "
        "FROM channels JOIN layers ON layers.id = channels.layer GROUP BY layers.id",
    )
    return {name: (known, dead, broken) for name, known, dead, broken in rows}


def strongest(atlas: Atlas, layer: Layer, count: int) -> list[int]:
    """The live channels of a layer with the highest maxima."""
    return [channel for (channel,) in _ask(atlas, _STRONGEST, layer_id(atlas, layer), count)]


def hits(atlas: Atlas, layer: Layer, channel: int, *, ranked_by: str, count: int = 9) -> Rows:
    """The images that excite a channel most, with their class and what is known of a projection."""
    return _ask(atlas, _HITS, layer_id(atlas, layer), ranked_by, channel, count)


def channels(atlas: Atlas, layer: Layer, span: range) -> Rows:
    """The statistics of channels of a layer."""
    return _ask(atlas, _CHANNELS, layer_id(atlas, layer), *_ends(span))


def first_hits(
    atlas: Atlas, layer: Layer, ranked_by: str, span: range
) -> dict[int, tuple[float, bool]]:
    """The score of each channel's first hit, and whether it has a projection."""
    rows = _ask(atlas, _FIRST, layer_id(atlas, layer), ranked_by, *_ends(span))
    return {channel: (score, bool(lit)) for channel, score, lit in rows}


def class_means(atlas: Atlas, layer: Layer, span: range) -> dict[int, bytes]:
    """The mean maximum of every class, by channel."""
    query = f"{_MEANS} AND channel BETWEEN ? AND ?"
    return dict(_ask(atlas, query, layer_id(atlas, layer), *_ends(span)))


def class_means_of(atlas: Atlas, layer: Layer, wanted: list[int]) -> dict[int, bytes]:
    """The same for some channels."""
    marks = ", ".join("?" * len(wanted))
    query = f"{_MEANS} AND channel IN ({marks})"
    return dict(_ask(atlas, query, layer_id(atlas, layer), *wanted))


def sharing(atlas: Atlas, layer: Layer, channel: int, count: int) -> Rows:
    """The channels of the same layer that have images among their hits with this one."""
    return _ask(atlas, _SHARING, layer_id(atlas, layer), channel, count)


def of_image(atlas: Atlas, image: int) -> Rows:
    """The channels that have this image among their hits."""
    return _ask(atlas, _OF_IMAGE, image)


def of_label(atlas: Atlas, label: int) -> Rows:
    """The live channels that respond to this class most."""
    return _ask(atlas, _OF_LABEL, label)


def units_per_label(atlas: Atlas) -> dict[int, int]:
    """How many live channels respond to each class most."""
    return dict(_ask(atlas, _PER_LABEL))


def kept_images(atlas: Atlas, *, label: int | None = None) -> list[int]:
    """The images whose picture is kept, those of a class or all of them."""
    if label is None:
        rows = _ask(atlas, "SELECT image FROM winner_pictures ORDER BY image")
    else:
        rows = _ask(
            atlas,
            "SELECT image FROM winner_pictures JOIN images ON images.id = image "
            "WHERE images.label = ? ORDER BY image",
            label,
        )
    return [image for (image,) in rows]


def first_pictures(atlas: Atlas) -> dict[int, int]:
    """A kept picture of each class that has one."""
    query = """
        SELECT images.label, min(images.id) FROM winner_pictures
        JOIN images ON images.id = image WHERE images.label IS NOT NULL GROUP BY images.label"""
    return dict(_ask(atlas, query))


def picture_blob(atlas: Atlas, image: int) -> bytes | None:
    """A kept picture as it is stored."""
    rows = _ask(atlas, "SELECT blob FROM winner_pictures WHERE image = ?", image)
    return rows[0][0] if rows else None


def picture_heads(atlas: Atlas, images: list[int]) -> dict[int, bytes]:
    """The first bytes of kept pictures, which tell their size."""
    marks = ", ".join("?" * len(images))
    return dict(_ask(atlas, f"{_HEADS} WHERE image IN ({marks})", *images))


def first_head(atlas: Atlas) -> bytes | None:
    """The first bytes of one kept picture: all have the size that the network takes."""
    rows = _ask(atlas, f"{_HEADS} LIMIT 1")
    return rows[0][1] if rows else None


def unreadable(atlas: Atlas) -> int:
    ((count,),) = _ask(atlas, "SELECT count(*) FROM images WHERE status = 'unreadable'")
    return int(count)


def illustrated(atlas: Atlas, layer: Layer, ranked_by: str) -> Rows:
    """Each channel that has hits, and whether one of them has a projection."""
    return _ask(atlas, _ILLUSTRATED, layer_id(atlas, layer), ranked_by)


def histograms(atlas: Atlas, layer: Layer) -> Rows:
    """What tells how unusual a value is: channel, images, maximum, images that fire, histogram."""
    query = "SELECT channel, images, maximum, fired_images, histogram FROM channels WHERE layer = ?"
    return _ask(atlas, query, layer_id(atlas, layer))


def winners(atlas: Atlas, layer: Layer, span: range) -> dict[int, frozenset[str]]:
    """The names of the images that excite channels of a layer most."""
    rows = _ask(
        atlas,
        "SELECT hits.channel, images.key FROM hits JOIN images ON images.id = hits.image "
        "WHERE hits.layer = ? AND hits.ranked_by = 'max' AND hits.channel BETWEEN ? AND ? "
        "AND hits.rank < 9 ORDER BY hits.channel",
        layer_id(atlas, layer),
        *_ends(span),
    )
    by_channel = groupby(rows, key=lambda row: row[0])
    return {channel: frozenset(key for _, key in own) for channel, own in by_channel}


def dead_channels(atlas: Atlas, layer: Layer) -> frozenset[int]:
    query = "SELECT channel FROM channels WHERE layer = ? AND dead"
    return frozenset(channel for (channel,) in _ask(atlas, query, layer_id(atlas, layer)))


def pattern_channels(atlas: Atlas, layer: Layer) -> frozenset[int]:
    """The channels of a layer that have a pattern; an atlas from before there were any has none."""
    if not _has_patterns(atlas):
        return frozenset()
    query = "SELECT DISTINCT channel FROM patterns WHERE layer = ?"
    return frozenset(channel for (channel,) in _ask(atlas, query, layer_id(atlas, layer)))


def patterns(atlas: Atlas, layer: Layer, channel: int) -> Rows:
    """Of each pattern of a channel: recipe, seed, steps, activation, notes and caveats; the one
    that is shown comes first.
    """
    if not _has_patterns(atlas):
        return []
    return _ask(atlas, _PATTERNS, layer_id(atlas, layer), channel)


def pattern_blob(atlas: Atlas, layer: Layer, channel: int) -> bytes | None:
    """The first pattern of a channel, as it is stored."""
    if not _has_patterns(atlas):
        return None
    query = f"SELECT blob {_PATTERNS_FROM} LIMIT 1"
    rows = _ask(atlas, query, layer_id(atlas, layer), channel)
    return rows[0][0] if rows else None


def _has_patterns(atlas: Atlas) -> bool:
    return bool(_ask(atlas, "SELECT 1 FROM sqlite_master WHERE name = 'patterns'"))


def condition(atlas: Atlas, layer: Layer) -> tuple[int, int]:
    """How many channels of a layer are known, and how many of them are dead."""
    query = "SELECT count(*), coalesce(sum(dead), 0) FROM channels WHERE layer = ?"
    ((known, dead),) = _ask(atlas, query, layer_id(atlas, layer))
    return known, dead


def _ends(span: range) -> tuple[int, int]:
    return span.start, span.stop - 1


def _ask(atlas: Atlas, query: str, *values: int | str) -> Rows:
    return atlas.sql(query, *values)
