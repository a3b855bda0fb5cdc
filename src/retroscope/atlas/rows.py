"""Rows of an atlas as values."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from retroscope.atlas.database import Row
from retroscope.atlas.schema import Value
from retroscope.geometry import Field, ReceptiveField
from retroscope.results.values import ChannelStats, ClassStats, Layer
from retroscope.unit import Unit

Ask = Callable[[str, Sequence[Value]], list[Row]]

LAYER_COLUMNS = (
    "id, name, kind, channels, height, width, field_y_size, field_y_stride, field_y_start, "
    "field_x_size, field_x_stride, field_x_start, whole, global_context, aliases, note, step"
)


@dataclass(frozen=True)
class ImageRow:
    """An image of the list. `status` is `ok`, `unreadable` or, in a scan under way, `pending`."""

    id: int
    key: str
    label: str | None
    status: str
    error: str | None


@dataclass(frozen=True)
class HitRow:
    """A place that excites a channel, and the image that it lies in: number, key and class."""

    unit: Unit
    score: float
    image: int
    key: str
    label: str | None


@dataclass(frozen=True)
class Label:
    """A class, and how many readable images of it there are."""

    id: int
    name: str
    images: int


class Images(Sequence[ImageRow]):
    """The images of the list by number, read when they are asked for."""

    _QUERY = (
        "SELECT images.id, images.key, labels.name, images.status, images.error FROM images "
        "LEFT JOIN labels ON labels.id = images.label "
        "WHERE images.id >= ? AND images.id < ? ORDER BY images.id"
    )
    _AT_ONCE = 1000

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def __len__(self) -> int:
        (count,) = self._ask("SELECT coalesce(max(id) + 1, 0) FROM images", ())[0]
        return int(count)

    @overload
    def __getitem__(self, index: int) -> ImageRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ImageRow, ...]: ...
    def __getitem__(self, index: int | slice) -> ImageRow | tuple[ImageRow, ...]:
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return tuple(self[number] for number in numbers)
        return self._between(numbers, numbers + 1)[0]

    def __iter__(self) -> Iterator[ImageRow]:
        start = 0
        while found := self._between(start, start + self._AT_ONCE):
            yield from found
            start = found[-1].id + 1

    def _between(self, start: int, stop: int) -> list[ImageRow]:
        return [ImageRow(*row) for row in self._ask(self._QUERY, (start, stop))]


def layer_row(number: int, layer: Layer) -> Row:
    """A layer in the order of LAYER_COLUMNS."""
    field = layer.field
    axes = ((axis.size, axis.stride, axis.start) for axis in (field.y, field.x))
    return (
        *(number, layer.name, layer.kind, layer.channels, *layer.size),
        *(number for axis in axes for number in axis),
        *(field.whole, field.global_context),
        *(json.dumps(layer.aliases), layer.note, layer.index),
    )


def layer_of(row: Row) -> Layer:
    """The layer that a row in the order of LAYER_COLUMNS keeps."""
    _, name, kind, channels, height, width, *axes, whole, context, aliases, note, step = row
    field = ReceptiveField(
        Field(*axes[:3]), Field(*axes[3:]), whole=bool(whole), global_context=bool(context)
    )
    names = tuple(json.loads(aliases))
    return Layer(name, kind, channels, (height, width), field, names, step, note)


def stats_of(row: Row, classes: tuple[ClassStats, ...]) -> ChannelStats:
    """The statistics in a row of `channels`, from `images` to `histogram`."""
    images, positions, mean, std, maximum, fired_images, fired_positions, broken, histogram = row
    return ChannelStats(
        images=images,
        positions=positions,
        mean=_number(mean),
        std=_number(std),
        maximum=_number(maximum),
        fired_images=fired_images,
        fired_positions=fired_positions,
        non_finite=broken,
        histogram=np.frombuffer(histogram, "<i8").astype(np.int64),
        classes=classes,
    )


def classes_of(row: Row, labels: Sequence[Label]) -> tuple[ClassStats, ...]:
    """How a channel responds to each class that has images, the highest mean maximum first."""
    maxima, shares = (np.frombuffer(blob, "<f4").tolist() for blob in row)
    found = [
        ClassStats(label.name, label.images, maxima[label.id], shares[label.id])
        for label in labels
        if label.images
    ]
    return tuple(sorted(found, key=_best_first))


def _best_first(stats: ClassStats) -> tuple[bool, float]:
    return np.isnan(stats.mean_maximum), -stats.mean_maximum


def _number(stored: float | None) -> float:
    """SQLite has no NaN and keeps NULL for it."""
    return float("nan") if stored is None else stored
