"""Rows of an atlas as the results that the rest of retroscope knows."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from retroscope.atlas.image_blobs import decode_image
from retroscope.atlas.queries.query import check_cells, check_lengths, damaged_error
from retroscope.atlas.queries.reader_queries import (
    ClassProfileRow,
    Label,
    NamedHitRow,
)
from retroscope.atlas.queries.table_rows import (
    GraphRow,
    LayerRow,
    NameRow,
    NumberRow,
    PatternRow,
    SampleRow,
)
from retroscope.atlas.schema import Value
from retroscope.geometry import Field, ReceptiveField, simplest
from retroscope.results.layers import FROM_IMAGE, GraphStep, Layer
from retroscope.results.patterns import Pattern
from retroscope.results.plates import MaximaSample
from retroscope.results.slice_stacks import from_stack, map_size
from retroscope.results.statistics import (
    HISTOGRAM_EDGES,
    REAL,
    ChannelStats,
    ClassStats,
    Statistic,
    StatisticValue,
    stored_statistics,
)
from retroscope.results.unit_numbers import UnitName, UnitNumber
from retroscope.unit import Unit


@dataclass(frozen=True)
class HitRow:
    """A position that excites a channel, and its image: number, key and class."""

    unit: Unit
    score: float
    image: int
    key: str
    label: str | None


HISTOGRAM_BYTES = 8 * (len(HISTOGRAM_EDGES) + 1)
MAX_CHANNELS = 2**20
"""Channels of a layer. The largest vocabulary of a network has a quarter of them."""
MAX_SIDE = 2**24
"""Height and width of maps, and the size, stride and start of a field along an axis."""


def check_layers(rows: Sequence[LayerRow]) -> None:
    """Refuses layers that no network has, and two of one name or number."""
    for row in rows:
        check_range(row.channels, 1, MAX_CHANNELS, f"channels of layer {row.name!r}")
        for name, number, lowest in _layer_sizes(row):
            check_range(number, lowest, MAX_SIDE, f"{name} of layer {row.name!r}")
    if len({row.name for row in rows}) < len(rows) or len({row.id for row in rows}) < len(rows):
        raise damaged_error("two layers have the same name or number")


def _layer_sizes(row: LayerRow) -> Iterator[tuple[str, float, int]]:
    """Name, value and lowest sensible value of what a layer's geometry is made of."""
    cells = row._asdict()
    for name in ("height", "width", "field_y_size", "field_x_size"):
        yield name, cells[name], 1
    for name in ("field_y_stride", "field_x_stride", "field_y_start", "field_x_start"):
        yield name, cells[name], -MAX_SIDE
    for name, lowest in (
        *(("depth", 0), ("field_z_size", 1)),
        *(("field_z_stride", -MAX_SIDE), ("field_z_start", -MAX_SIDE)),
    ):
        if cells[name] is not None:
            yield name, cells[name], lowest


def check_range(number: float, lowest: int, highest: int, what: str) -> None:
    if not lowest <= number <= highest:
        raise damaged_error(f"the {what}: {number} is not between {lowest} and {highest}")


def graph_from_rows(rows: Sequence[GraphRow]) -> tuple[GraphStep, ...]:
    """The graph in running order. A step reads earlier ones only."""
    graph: list[GraphStep] = []
    known = {FROM_IMAGE}
    for row in rows:
        inputs = _decode_inputs(row)
        if not known.issuperset(inputs):
            raise damaged_error(f"step {row.step} of its graph reads {row.inputs}")
        known.add(row.step)
        graph.append(GraphStep(row.step, row.operation, inputs))
    return tuple(graph)


def _decode_inputs(row: GraphRow) -> tuple[int, ...]:
    try:
        inputs = json.loads(row.inputs)
    except (ValueError, RecursionError):
        inputs = None
    if not isinstance(inputs, list) or not all(type(number) is int for number in inputs):
        raise damaged_error(f"the inputs of step {row.step} of its graph are not a list of steps")
    return tuple(inputs)


def _stride(number: float) -> int | Fraction:
    """The stride of a field as an exact fraction, of which the file has the decimal value."""
    return simplest(Fraction(number).limit_denominator(MAX_SIDE))


def layer_from_row(row: LayerRow) -> Layer:
    field = ReceptiveField(
        Field(row.field_y_size, _stride(row.field_y_stride), row.field_y_start),
        Field(row.field_x_size, _stride(row.field_x_stride), row.field_x_start),
        whole=bool(row.whole),
        global_context=bool(row.global_context),
        z=_field_along_z(row),
    )
    return Layer(
        name=row.name,
        kind=row.kind,
        channels=row.channels,
        size=map_size(row.depth, row.height, row.width),
        field=field,
        aliases=_decode_names(row.aliases, f"the aliases of {row.name!r} are"),
        index=row.step,
        note=row.note,
        convolution=_decode_names(row.convolution or "[]", f"the convolution of {row.name!r} is"),
    )


def _field_along_z(row: LayerRow) -> Field | None:
    """The field along the slices of a volume; None for images."""
    size, stride, start = row.field_z_size, row.field_z_stride, row.field_z_start
    if size is None or stride is None or start is None:
        return None
    return Field(size, _stride(stride), start)


def _decode_names(text: str, what: str) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged_error(f"{what} not JSON") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise damaged_error(f"{what} not a list of names")
    return tuple(names)


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
    if cell is None:
        if statistic.name == "images":
            raise damaged_error("a channel does not say how many images it has")
        return statistic.missing
    if statistic.is_array and isinstance(cell, bytes):
        if statistic.name == "histogram":
            check_lengths([cell], HISTOGRAM_BYTES, "a histogram")
        return _decode_numbers(cell, "<i8").astype(np.int64)
    if statistic.is_array or not isinstance(cell, int | float):
        raise damaged_error(f"{statistic.name!r} is stored as {type(cell).__name__}")
    if statistic.sql_type != REAL:
        check_cells(int, [(cell,)])
    return cell


def _decode_numbers(blob: bytes, kind: str) -> npt.NDArray[Any]:
    if len(blob) % np.dtype(kind).itemsize:
        raise damaged_error(f"a list of numbers has {len(blob)} bytes")
    return np.frombuffer(blob, kind)


def class_stats_from_row(row: ClassProfileRow, labels: Sequence[Label]) -> tuple[ClassStats, ...]:
    """How a channel responds to each class that has images, the highest mean maximum first."""
    maxima, shares = (
        _decode_numbers(blob, "<f4").tolist() for blob in (row.mean_maximum, row.fired_share)
    )
    last = min(len(maxima), len(shares)) - 1
    for label in labels:
        check_range(label.id, 0, last, f"number of class {label.name!r}")
    stats = [
        ClassStats(label.name, label.images, maxima[label.id], shares[label.id])
        for label in labels
        if label.images
    ]
    return tuple(sorted(stats, key=_highest_mean_first))


def _highest_mean_first(stats: ClassStats) -> tuple[bool, float]:
    return np.isnan(stats.mean_maximum), -stats.mean_maximum


def hit_from_row(layer: Layer, row: NamedHitRow) -> HitRow:
    unit = Unit(layer.name, row.channel, from_stack(row.y, row.x, layer.size))
    return HitRow(unit, row.score, row.image, row.key, row.label)


def sample_from_rows(
    layer: Layer, images: Sequence[int], rows: Sequence[SampleRow], *, channels: range
) -> MaximaSample:
    """The sample of consecutive channels. One that an excerpt leaves out has no finite maxima."""
    scores = np.full((len(channels), len(images)), np.nan, np.float32)
    places = np.full((len(channels), len(images)), -1, np.int32)
    for row in rows:
        check_lengths((row.scores, row.positions), 4 * len(images), "a sample")
        scores[row.channel - channels.start] = np.frombuffer(row.scores, "<f4")
        places[row.channel - channels.start] = np.frombuffer(row.positions, "<i4")
    if places.max(initial=-1) >= prod(layer.size):
        raise damaged_error(f"a sample has a position beyond the maps of {layer.name!r}")
    axes = np.unravel_index(np.maximum(places, 0), layer.size)
    positions = np.stack(axes, axis=-1).astype(np.int32)
    positions[places < 0] = -1
    return MaximaSample(np.array(images, np.int64), scores, positions)


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


def number_from_row(layer: Layer, row: NumberRow) -> UnitNumber:
    return UnitNumber(
        Unit(layer.name, row.channel),
        row.name,
        value=_nan_if_null(row.value),
        low=_nan_if_null(row.low),
        high=_nan_if_null(row.high),
        chance=_nan_if_null(row.chance),
        subject=row.subject,
        basis=row.basis,
    )


def name_from_row(layer: Layer, row: NameRow) -> UnitName:
    unit = Unit(layer.name, row.channel)
    return UnitName(unit, row.name, _nan_if_null(row.score), row.source)


def _opacity_from_grey(blob: bytes) -> npt.NDArray[np.float32]:
    return (decode_image(blob)[..., 0] / 255).astype(np.float32)


def _nan_if_null(number: float | None) -> float:
    """SQLite stores NaN as NULL."""
    return float("nan") if number is None else number
