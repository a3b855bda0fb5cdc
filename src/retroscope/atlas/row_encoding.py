"""Results of a scan as rows of an atlas."""

import json
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from retroscope.atlas.database import encode_text
from retroscope.atlas.image_blobs import encode_image, encode_projection, fits_stack
from retroscope.atlas.queries.query import Row
from retroscope.atlas.queries.table_rows import (
    ClassStatsRow,
    GraphRow,
    LayerRow,
    NameRow,
    NumberRow,
    PatternRow,
    ProjectionRow,
    SampleRow,
    StoredImageRow,
)
from retroscope.atlas.schema import ImageStatus, Json, Value
from retroscope.imaging.decoding import RGB
from retroscope.results.layers import GraphStep, Layer
from retroscope.results.patterns import Pattern
from retroscope.results.projections import Projection
from retroscope.results.slice_stacks import (
    VOLUME_RANK,
    stack_channels,
    to_stack,
)
from retroscope.results.statistics import Statistic, stored_statistics
from retroscope.results.unit_numbers import UnitName, UnitNumber

Array = npt.NDArray[Any]


def fact_rows(facts: Mapping[str, Json]) -> Iterator[Row]:
    """Facts about the scan, as rows of `meta`."""
    return ((key, json.dumps(fact, allow_nan=False)) for key, fact in facts.items())


def channel_columns() -> tuple[str, ...]:
    """The columns of table `channels`, in the order of `channel_rows`."""
    return ("layer", "channel", *(row.name for row in stored_statistics()), "top_label")


def layer_row(number: int, layer: Layer) -> LayerRow:
    """A layer, with its number in the file."""
    y, x, z = layer.field.y, layer.field.x, layer.field.z
    depth, height, width = _stored_size(layer.size)
    return LayerRow(
        id=number,
        name=layer.name,
        kind=layer.kind,
        channels=layer.channels,
        height=height,
        width=width,
        field_y_size=y.size,
        field_y_stride=_number(y.stride),
        field_y_start=y.start,
        field_x_size=x.size,
        field_x_stride=_number(x.stride),
        field_x_start=x.start,
        whole=layer.field.whole,
        global_context=layer.field.global_context,
        aliases=json.dumps(layer.aliases),
        note=layer.note,
        step=layer.index,
        convolution=json.dumps(layer.convolution),
        depth=depth,
        field_z_size=None if z is None else z.size,
        field_z_stride=None if z is None else _number(z.stride),
        field_z_start=None if z is None else z.start,
    )


def _stored_size(size: Sequence[int]) -> tuple[int | None, int, int]:
    """Depth, height and width; the depth of an image is None, that of a signal 0."""
    if len(size) == VOLUME_RANK:
        return size[0], size[1], size[2]
    return (0, 1, size[0]) if len(size) == 1 else (None, size[0], size[1])


def graph_row(step: GraphStep) -> GraphRow:
    """A layer or a meeting of maps, with what it reads."""
    return GraphRow(step.step, step.operation, json.dumps(step.inputs))


def _number(stride: int | Fraction) -> float:
    return float(stride) if isinstance(stride, Fraction) else stride


def label_rows(names: Sequence[str], labels: Sequence[int]) -> Iterator[Row]:
    """Every class with its number of images."""
    labelled = [label for label in labels if label >= 0] if names else []
    counts = np.bincount(np.array(labelled, np.int64), minlength=len(names)).tolist()
    return zip(range(len(names)), map(encode_text, names), counts, strict=True)


def image_rows(keys: Sequence[str], labels: Sequence[int], *, first: int = 0) -> Iterator[Row]:
    """Every image of a list, pending. A label below 0 means no class, and so does an empty list."""
    image_labels = labels if len(labels) else [-1] * len(keys)
    for number, (key, label) in enumerate(zip(keys, image_labels, strict=True), start=first):
        yield number, encode_text(key), None if label < 0 else int(label), ImageStatus.PENDING


def channel_rows(layer: int, count: int, arrays: Mapping[str, Array]) -> Iterator[Row]:
    """The statistics of every channel of a layer, as `channel_columns`. NaN is stored as NULL."""
    columns = [_statistic_cells(row, arrays[row.name], count) for row in stored_statistics()]
    top_labels = np.broadcast_to(arrays.get("top_label", np.array(-1)), count).tolist()
    labels = [None if label < 0 else label for label in top_labels]
    for channel, row in enumerate(zip(*columns, labels, strict=True)):
        yield layer, channel, *row


def _statistic_cells(statistic: Statistic, array: Array, count: int) -> list[Value]:
    """A cell for each of `count` channels."""
    if statistic.is_array:
        return [row.tobytes() for row in array.astype("<i8")]
    cells: list[Value] = np.broadcast_to(array, count).tolist()
    return cells


def hit_rows(
    layer: int, key: str | int, scores: Array, *, images: Array, positions: tuple[Array, Array]
) -> Iterator[Row]:
    """The hits in arrays (channels, ranks), in the order of their key.

    They are a `RankedHitRow`, if `key` is a ranking, or a `ClassHitRow`, if it is a class.
    Empty slots are left out, also of the ranks. They are plain tuples: an atlas has half a million.
    """
    is_hit = images >= 0
    ranks = np.cumsum(is_hit, axis=1) - 1
    channels = np.broadcast_to(np.arange(len(is_hit))[:, None], is_hit.shape)
    columns = (array[is_hit].tolist() for array in (channels, ranks, scores, images, *positions))
    count = int(is_hit.sum())
    return zip(repeat(layer, count), repeat(key, count), *columns, strict=True)


def class_stats_rows(
    layer: int, mean_maximum: Array, fired_share: Array
) -> Iterator[ClassStatsRow]:
    """A row for each channel of two arrays (labels, channels)."""
    means, shares = (np.ascontiguousarray(array.T, "<f4") for array in (mean_maximum, fired_share))
    for channel, (mean, share) in enumerate(zip(means, shares, strict=True)):
        yield ClassStatsRow(layer, channel, mean.tobytes(), share.tobytes())


def sample_rows(layer: int, scores: Array, positions: Array) -> Iterator[SampleRow]:
    """A row for each channel of two arrays (channels, images)."""
    maxima = np.ascontiguousarray(scores, "<f4")
    places = np.ascontiguousarray(positions, "<i4")
    for channel, (maximum, place) in enumerate(zip(maxima, places, strict=True)):
        yield SampleRow(layer, channel, maximum.tobytes(), place.tobytes())


def stored_image_row(image: int, pixels: RGB) -> StoredImageRow:
    """An image at the size of the network's input."""
    return StoredImageRow(image, encode_image(pixels))


def projection_row(
    layer: int, image: int, projection: Projection, *, map_size: Sequence[int] = ()
) -> ProjectionRow:
    """A projection of a unit that has a channel and a position.

    The size of the layer's maps is needed for volumes alone.
    """
    unit, notes = projection.unit, [*projection.notes]
    if not fits_stack(stack_channels(projection.pixels)) and projection.bands:
        projection = projection.in_bands()
        notes.append("only the bands that are shown are stored")
    pixels = projection.pixels
    assert unit.channel is not None
    assert unit.position is not None
    y, x = to_stack(unit.position, map_size) if map_size else unit.position
    pixels = stack_channels(pixels)
    blob, peak = encode_projection(pixels)
    height, width, depth = pixels.shape
    non_finite = int(pixels.size - np.isfinite(pixels).sum())
    if non_finite:
        notes.append(f"{non_finite} values that were not finite are stored as zero")
    return ProjectionRow(
        *(layer, unit.channel, image, y, x),
        rules=projection.rules,
        activation=projection.activation,
        blob=blob,
        peak=peak,
        height=height,
        width=width,
        depth=depth,
        note="\n".join(notes),
    )


def pattern_row(layer: int, pattern: Pattern) -> PatternRow:
    """A pattern of a channel. NaN is stored as NULL."""
    unit, opacity = pattern.unit, pattern.opacity
    assert unit is not None
    assert unit.channel is not None
    return PatternRow(
        layer=layer,
        channel=unit.channel,
        recipe=pattern.recipe,
        seed=pattern.seed,
        steps=pattern.steps,
        activation=pattern.activation,
        score=pattern.score,
        started_at=pattern.started_at,
        blob=encode_image(pattern.image),
        opacity=None if opacity is None else encode_image(_opacity_as_grey(opacity)),
        note="\n".join(pattern.notes),
        caveat="\n".join(pattern.caveats),
    )


def number_row(layer: int, number: UnitNumber) -> NumberRow:
    """A number of a channel. NaN is stored as NULL."""
    assert number.unit.channel is not None
    return NumberRow(
        layer=layer,
        channel=number.unit.channel,
        name=number.name,
        value=number.value,
        low=number.low,
        high=number.high,
        chance=number.chance,
        subject=number.subject,
        basis=number.basis,
    )


def name_row(layer: int, name: UnitName) -> NameRow:
    """A name of a channel. NaN is stored as NULL."""
    assert name.unit.channel is not None
    return NameRow(layer, name.unit.channel, name.source, name.name, name.score)


def _opacity_as_grey(opacity: npt.NDArray[np.float32]) -> RGB:
    grey = np.rint(np.clip(opacity, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
