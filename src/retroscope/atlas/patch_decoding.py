"""Hits of an atlas as patches: their pixels, cut out of stored images, and their projections."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from retroscope.atlas.image_blobs import decode_image, decode_projection
from retroscope.atlas.queries.query import check_cells, damaged_error
from retroscope.atlas.queries.reader_queries import PlateRow
from retroscope.atlas.row_decoding import MAX_SIDE, check_range
from retroscope.atlas.schema import AtlasError, Json, Ranking
from retroscope.geometry import IMAGE_RANK, Box, ReceptiveField
from retroscope.imaging.bands import Bands
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import GREY
from retroscope.results.layers import Layer
from retroscope.results.plates import Patch, sample_quantile
from retroscope.results.projections import Projection
from retroscope.results.slice_stacks import (
    VOLUME_RANK,
    from_stack,
    sheet_size,
    sheet_to_slices,
    unstack_channels,
    volume_size,
)
from retroscope.unit import Unit

MAX_PLATE_PIXELS = 2**29
"""Pixels of all patches of a plate together: 1.6 GB."""
MAX_PLATE_HITS = 20_000
"""Patches of a plate; each is cut out of its image."""
MAX_PROJECTION_VALUES = 2**26
"""Values of a projection: 256 MB."""
_MAX_FLOAT32 = float(np.finfo(np.float32).max)


def check_plate_size(layer: Layer, hits: int) -> None:
    """Refuses a plate whose patches would need too much memory or time."""
    field = layer.field
    if hits > MAX_PLATE_HITS:
        raise AtlasError(
            f"{hits:,} hits of {layer.name} are too many to draw; the limit is {MAX_PLATE_HITS:,}, "
            "and hits lists them all"
        )
    sides = [axis.size for axis in field.axes(len(layer.size))]
    if hits * prod(sides) > MAX_PLATE_PIXELS:
        raise AtlasError(
            f"{hits} patches of {' x '.join(map(str, sides))} pixels, the field of {layer.name}, "
            f"are too large to draw; the limit is {MAX_PLATE_PIXELS:,} pixels in all"
        )


class StoredFormat(NamedTuple):
    """How an atlas stores its images: the bands that it shows, of so many channels, and the size of
    its volumes, which are sheets of slices; None for images.
    """

    bands: Bands
    channels: int
    volume: tuple[int, int, int] | None = None

    def decode(self, blob: bytes) -> RGB:
        """The pixels of an image or a volume."""
        return decode_image(blob) if self.volume is None else _decode_volume(blob, self.volume)


@lru_cache(maxsize=16)
def _decode_volume(blob: bytes, size: tuple[int, int, int]) -> RGB:
    """The slices of a volume, read-only. The plates of a unit show the same volumes in turn."""
    sheet = decode_image(blob)
    if sheet.shape[:2] != sheet_size(size):
        raise damaged_error(f"a volume is stored as {sheet.shape[0]} x {sheet.shape[1]} pixels")
    slices = sheet_to_slices(sheet, size)
    slices.setflags(write=False)
    return slices


PLAIN_IMAGES = StoredFormat((), 0)


def format_of(meta: Mapping[str, Json]) -> StoredFormat:
    """How an atlas stores its images; bands are none if they are shown as they are."""
    facts = meta.get("preprocessing")
    volume = volume_size(facts)
    numbers, mean = (
        (facts.get("bands"), facts.get("mean")) if isinstance(facts, Mapping) else (0, 0)
    )
    if not isinstance(numbers, list) or not isinstance(mean, list):
        return StoredFormat((), 0, volume)
    bands = tuple(band for band in numbers if isinstance(band, int) and 0 < band <= len(mean))
    return StoredFormat(bands, len(mean), volume)


def patches_from_rows(
    layer: Layer,
    rows: Sequence[PlateRow],
    ranked_by: Ranking,
    *,
    stored: StoredFormat = PLAIN_IMAGES,
) -> tuple[Patch, ...]:
    """The patches of hits in a ranking, of a sample with their quantiles."""
    check_plate_size(layer, len(rows))
    is_sample = ranked_by == Ranking.SAMPLE
    quantiles = [sample_quantile(row.rank) if is_sample else None for row in rows]
    return tuple(
        patch_from_row(layer, row, quantile, stored=stored)
        for row, quantile in zip(rows, quantiles, strict=True)
    )


def patch_from_row(
    layer: Layer, row: PlateRow, quantile: float | None, *, stored: StoredFormat = PLAIN_IMAGES
) -> Patch:
    """The patch of a hit, all grey if its image is not stored. `bands` are those that are shown."""
    position = from_stack(row.y, row.x, layer.size)
    for coordinate in (row.y, row.x):
        check_range(coordinate, 0, MAX_SIDE, f"position of a hit of {layer.name!r}")
    box = layer.field.box(*position)
    if row.image_blob is None:
        size = box.size(max(len(position), IMAGE_RANK))  # a signal is shown as an image of one row
        grey = np.full((*size, 3), GREY, np.uint8)
        return Patch(row.score, row.key, position, box, grey, quantile=quantile)
    image = stored.decode(row.image_blob)
    projection = _projection(layer, row, image, stored)
    size = image.shape[:-1]
    pixels = image[box.clip_to(size).slices(len(size))].copy()
    return Patch(row.score, row.key, position, box, pixels, projection, size, quantile)


def _projection(layer: Layer, row: PlateRow, image: RGB, form: StoredFormat) -> Projection | None:
    """The projection of a hit, or None if it has none."""
    if row.rules is None:
        return None
    stored = _stored_projection(row)
    position = from_stack(row.y, row.x, layer.size)
    rank = len(position)
    size = image.shape[:-1]
    visible = _projected_box(layer.field, position, size)
    pixels = decode_projection(
        stored.blob, stored.peak, size=(stored.height, stored.width), depth=stored.depth
    )
    slices = visible.depth if rank == VOLUME_RANK else 1
    if stored.depth % slices:
        raise damaged_error(f"a projection of {slices} slices has {stored.depth} channels")
    return Projection(
        unit=Unit(layer.name, row.channel, position),
        activation=stored.activation,
        box=visible,
        pixels=unstack_channels(pixels, rank, depth=slices),
        rules=stored.rules,
        size=size[-rank:],
        patch=image[visible.slices(len(size))].copy(),
        source=row.key,
        notes=tuple(stored.note.splitlines()),
        bands=form.bands if form.channels == stored.depth // slices else (),
    )


def _projected_box(field: ReceptiveField, position: Sequence[int], size: Sequence[int]) -> Box:
    """What a projection covers: what the unit sees, and behind gates the whole image."""
    return Box.whole(size) if field.global_context else field.box(*position).visible_in(size)


class _StoredProjection(NamedTuple):
    """The columns of a projection in a row of a plate."""

    rules: str
    activation: float
    blob: bytes
    peak: float
    height: int
    width: int
    depth: int
    note: str


def _stored_projection(row: PlateRow) -> _StoredProjection:
    """The projection of a hit that has one, within the limits."""
    cells = row[PlateRow._fields.index("rules") :]
    check_cells(_StoredProjection, [cells])
    stored = _StoredProjection._make(cells)
    sides = stored.height, stored.width
    if min(sides) < 0 or stored.depth < 1 or prod(sides) * stored.depth > MAX_PROJECTION_VALUES:
        raise damaged_error(f"a projection of {sides[0]} x {sides[1]} x {stored.depth} values")
    if abs(stored.peak) > _MAX_FLOAT32:
        raise damaged_error(f"a projection has the peak {stored.peak:g}")
    return stored
