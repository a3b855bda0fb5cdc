"""Rows of an atlas as the results that the rest of retroscope knows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retroscope.atlas.image_blobs import decode_image, decode_projection
from retroscope.atlas.queries.reader_queries import (
    ClassProfileRow,
    Label,
    NamedHitRow,
    PlateRow,
)
from retroscope.atlas.queries.table_rows import LayerRow, PatternRow
from retroscope.atlas.schema import Value
from retroscope.geometry import Field, ReceptiveField
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import GREY, crop
from retroscope.results.layers import Layer
from retroscope.results.patterns import Pattern
from retroscope.results.plates import Patch
from retroscope.results.projections import Projection
from retroscope.results.statistics import (
    ChannelStats,
    ClassStats,
    Statistic,
    StatisticValue,
    stored_statistics,
)
from retroscope.unit import Unit


@dataclass(frozen=True)
class HitRow:
    """A position that excites a channel, and its image: number, key and class."""

    unit: Unit
    score: float
    image: int
    key: str
    label: str | None


def layer_from_row(row: LayerRow) -> Layer:
    field = ReceptiveField(
        Field(row.field_y_size, row.field_y_stride, row.field_y_start),
        Field(row.field_x_size, row.field_x_stride, row.field_x_start),
        whole=bool(row.whole),
        global_context=bool(row.global_context),
    )
    return Layer(
        name=row.name,
        kind=row.kind,
        channels=row.channels,
        size=(row.height, row.width),
        field=field,
        aliases=tuple(json.loads(row.aliases)),
        index=row.step,
        note=row.note,
    )


def stats_from_cells(
    cells: Mapping[str, Value], classes: tuple[ClassStats, ...] = ()
) -> ChannelStats:
    """The statistics in columns of `channels`; those of other columns are missing."""
    values = {
        row.name: _decode_statistic(row, cells[row.name])
        for row in stored_statistics()
        if row.name in cells
    }
    return ChannelStats.from_values(values, classes)


def _decode_statistic(statistic: Statistic, cell: Value) -> StatisticValue:
    """NULL stands for NaN, or for a statistic that an older scan did not compute."""
    if isinstance(cell, bytes):
        return np.frombuffer(cell, "<i8").astype(np.int64)
    assert not isinstance(cell, str)
    return statistic.missing if cell is None else cell


def class_stats_from_row(row: ClassProfileRow, labels: Sequence[Label]) -> tuple[ClassStats, ...]:
    """How a channel responds to each class that has images, the highest mean maximum first."""
    maxima, shares = (
        np.frombuffer(blob, "<f4").tolist() for blob in (row.mean_maximum, row.fired_share)
    )
    stats = [
        ClassStats(label.name, label.images, maxima[label.id], shares[label.id])
        for label in labels
        if label.images
    ]
    return tuple(sorted(stats, key=_highest_mean_first))


def _highest_mean_first(stats: ClassStats) -> tuple[bool, float]:
    return np.isnan(stats.mean_maximum), -stats.mean_maximum


def hit_from_row(layer: Layer, row: NamedHitRow) -> HitRow:
    unit = Unit(layer.name, row.channel, (row.y, row.x))
    return HitRow(unit, row.score, row.image, row.key, row.label)


def patch_from_row(layer: Layer, row: PlateRow) -> Patch:
    """The patch of a hit, all grey if its image is not stored."""
    position = (row.y, row.x)
    box = layer.field.box(*position)
    if row.image_blob is None:
        grey = np.full((box.height, box.width, 3), GREY, np.uint8)
        return Patch(row.score, row.key, position, box, grey)
    image = decode_image(row.image_blob)
    projection = _projection(layer, row, image)
    return Patch(row.score, row.key, position, box, crop(image, box), projection)


def _projection(layer: Layer, row: PlateRow, image: RGB) -> Projection | None:
    """The projection of a hit, or None if it has none."""
    if row.rules is None:
        return None
    size = (image.shape[0], image.shape[1])
    position = (row.y, row.x)
    clipped = layer.field.box(*position).clip(*size)
    pixels = decode_projection(
        row.projection_blob, row.peak, size=(row.height, row.width), depth=row.depth
    )
    return Projection(
        unit=Unit(layer.name, row.channel, position),
        activation=row.activation,
        box=clipped,
        pixels=pixels,
        rules=row.rules,
        size=size,
        patch=crop(image, clipped),
        source=row.key,
        notes=tuple(row.note.splitlines()),
    )


def pattern_from_row(layer: Layer, row: PatternRow) -> Pattern:
    unit = Unit(layer.name, row.channel)
    return Pattern(
        image=decode_image(row.blob),
        objective=str(unit),
        activation=_nan_if_null(row.activation),
        recipe=row.recipe,
        seed=row.seed,
        steps=row.steps,
        score=_nan_if_null(row.score),
        started_at=_nan_if_null(row.started_at),
        unit=unit,
        opacity=None if row.opacity is None else _opacity_from_grey(row.opacity),
        notes=tuple(filter(None, row.note.split("\n"))),
        caveats=tuple(filter(None, row.caveat.split("\n"))),
    )


def _opacity_from_grey(blob: bytes) -> npt.NDArray[np.float32]:
    return (decode_image(blob)[..., 0] / 255).astype(np.float32)


def _nan_if_null(number: float | None) -> float:
    """SQLite stores NaN as NULL."""
    return float("nan") if number is None else number
