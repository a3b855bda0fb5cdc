"""The rankings of several atlases as one, and what belongs to the hits that are in it."""

from collections.abc import Iterator, Sequence

import numpy as np

from retroscope.atlas.queries import join_queries
from retroscope.atlas.queries.join_queries import LayerHitRow
from retroscope.atlas.queries.table_rows import PatternRow, ProjectionRow, StoredImageRow
from retroscope.atlas.reader import Atlas
from retroscope.scanning.hit_table import HitTable, Place

_CHANNELS_AT_ONCE, _IMAGES_AT_ONCE = 64, 256


def join_hits(
    parts: Sequence[Sequence[LayerHitRow]], starts: Sequence[int], *, channels: int, top: int
) -> HitTable:
    """The best `top` of each channel; ties go to the lower number, as in one scan of all images.

    `starts` are the numbers that the first images of the parts get.
    """
    rows = [
        (row.channel, row.score, start + row.image, row.y, row.x)
        for part, start in zip(parts, starts, strict=True)
        for row in part
    ]
    columns = list(zip(*rows, strict=True)) or [()] * 5
    kinds = np.int64, np.float64, np.int64, np.int64, np.int64
    arrays = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    order = np.lexsort((arrays[2], -arrays[1], arrays[0]))
    channel, score, image, y, x = (array[order] for array in arrays)
    rank = np.arange(len(channel)) - np.searchsorted(channel, channel)
    is_best = rank < top
    places = channel[is_best], rank[is_best]
    width = int(rank[is_best].max(initial=-1)) + 1
    hits = HitTable(
        np.full((channels, width), -np.inf),
        *(np.full((channels, width), -1, np.int64) for _ in range(3)),
    )
    for array, column in (
        (hits.scores, score),
        (hits.images, image),
        (hits.ys, y),
        (hits.xs, x),
    ):
        array[places] = column[is_best]
    return hits


def read_projections(
    atlas: Atlas, layer: str, hits: set[Place], *, start: int
) -> Iterator[list[ProjectionRow]]:
    """The projections of an atlas that belong to these hits of a layer, some at a time.

    The numbers of the hits' images, and of those in the rows, begin at `start`.
    """
    number, channels = join_queries.layer_id(atlas, layer), atlas.layer(layer).channels
    for first in range(0, channels, _CHANNELS_AT_ONCE):
        portion = range(first, min(first + _CHANNELS_AT_ONCE, channels))
        rows = join_queries.layer_projections(atlas, number, portion)
        rows = [row._replace(image=start + row.image) for row in rows]
        yield [row for row in rows if (row.channel, row.image, row.y, row.x) in hits]


def read_pixels(
    atlas: Atlas, images: Sequence[int], *, start: int
) -> Iterator[list[StoredImageRow]]:
    """Those of these images that an atlas stores; their numbers begin at `start`."""
    for first in range(0, len(images), _IMAGES_AT_ONCE):
        numbers = [image - start for image in images[first : first + _IMAGES_AT_ONCE]]
        rows = join_queries.image_blobs(atlas, numbers)
        yield [row._replace(image=start + row.image) for row in rows]


def join_patterns(atlases: Sequence[Atlas], layer: str) -> list[PatternRow]:
    """The patterns of a layer; of two by the same recipe for a channel, the first."""
    patterns: dict[tuple[int, str], PatternRow] = {}
    for atlas in atlases:
        for row in join_queries.layer_patterns(atlas, join_queries.layer_id(atlas, layer)):
            patterns.setdefault((row.channel, row.recipe), row)
    return list(patterns.values())
