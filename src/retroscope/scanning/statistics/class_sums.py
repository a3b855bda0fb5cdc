"""How each channel responds to the images of each class, in sums that no order changes.

Of the sum of a class's maxima, the two highest digits of 32 bits are kept, on a grid that is the
same for all sums:

    window + 1    window    window - 1  window - 2
    |----------|----------|----------|----------|
        zero       high       low       dropped

`window` is where the largest maximum begins, by its magnitude. A larger one raises it, and the
digits that fall out are dropped whole. A digit that is there at the end has been there for every
maximum, so the digits depend on the maxima alone, not on their order or grouping. This is the
windowed summation of Ahrens, Demmel & Nguyen (2020), with digits that carry over only when they
are read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from types import ModuleType
from typing import NamedTuple, Self

import torch

from retroscope.scanning.statistics.batch_summary import BatchSummary, device_tensor
from retroscope.scanning.statistics.compiled_loops import compiled_loops
from retroscope.scanning.statistics.rows_by_class import split_rows, stack_rows

_DIGIT = 2.0**32
_WINDOW_SHIFT, _EXPONENT_SHIFT, _LARGEST_EXPONENT = 57, 52, 2046
"""The grid follows the bits of float64: a window is as wide as 32 exponents, so it is what is left
of them without the five lowest bits."""
_VALUES_AT_ONCE = 1 << 15
"""Few enough maxima to stay in a processor's cache."""

_COLUMNS = {
    "high": torch.int64,
    "low": torch.int64,
    "window": torch.int8,
    "images": torch.int32,
    "fired_images": torch.int32,
}
CLASS_BYTES = sum(dtype.itemsize for dtype in _COLUMNS.values())
"""What a class takes for each channel."""


@dataclass(frozen=True, eq=False)
class ClassRow:
    """The sums of one class: tensors of (channels).

    Its maxima sum to `(high + low / 2**32) * 2**(32 * window - 1023)`. The digits of one maximum
    are below 2**32, so they do not overflow before the counts do, at 2**31 images.
    """

    high: torch.Tensor
    low: torch.Tensor
    window: torch.Tensor
    images: torch.Tensor
    """Those with a finite value."""
    fired_images: torch.Tensor

    @classmethod
    def empty(cls, channels: int, device: torch.device | None = None) -> Self:
        """No image yet."""
        return cls(
            *(torch.zeros(channels, dtype=kind, device=device) for kind in _COLUMNS.values())
        )

    @property
    def columns(self) -> tuple[torch.Tensor, ...]:
        """All tensors, in the order of `_COLUMNS`."""
        return tuple(getattr(self, name) for name in _COLUMNS)

    def clone(self) -> "ClassRow":
        """The same sums in memory of their own."""
        return ClassRow(*(column.clone() for column in self.columns))

    def raise_window(self, window: torch.Tensor) -> "ClassRow":
        """The same sums without the digits below another window, which is not lower."""
        if not window.is_cuda and window.equal(self.window):
            return self
        is_same, is_next = window == self.window, window == self.window + 1
        low = torch.where(is_same, self.low, torch.where(is_next, self.high, 0))
        return replace(self, high=torch.where(is_same, self.high, 0), low=low, window=window)

    def merge(self, other: "ClassRow") -> "ClassRow":
        """The sums over the images of both."""
        window = torch.maximum(self.window, other.window)
        first, second = self.raise_window(window), other.raise_window(window)
        return ClassRow(
            first.high + second.high,
            first.low + second.low,
            window,
            first.images + second.images,
            first.fired_images + second.fired_images,
        )

    def select_channels(self, channels: range) -> "ClassRow":
        """The sums of a range of channels, as views."""
        rows = slice(channels.start, channels.stop)
        return ClassRow(*(column[rows] for column in self.columns))

    @property
    def maxima(self) -> torch.Tensor:
        """The sum of the images' maxima, in float64."""
        return (self.high.double() + self.low.double() / _DIGIT) / _inverse_unit(self.window)


class ClassTables(NamedTuple):
    """What `ClassSums` say of each class and channel: tensors of (classes, channels)."""

    images: torch.Tensor
    maxima: torch.Tensor
    fired_images: torch.Tensor

    @property
    def mean_maxima(self) -> torch.Tensor:
        """The mean of the images' maxima in float64; minus infinity for a class without images.

        It differs from the exact mean by less than 2**-31 of the largest maximum, by magnitude:
        what is dropped of each maximum is less than 2**-32 of the largest, the rest is rounding.
        Float32, in which an atlas stores it, rounds by up to 2**-24.
        """
        return torch.where(self.images > 0, self.maxima / self.images.clamp(min=1), -torch.inf)

    @property
    def fired_shares(self) -> torch.Tensor:
        """The share of the images in which the channel fires; zero for a class without images."""
        return self.fired_images.double() / self.images.clamp(min=1)


@dataclass(frozen=True, eq=False)
class ClassSums:
    """The sums of each class, for the classes that occur.

    A row for each class, so that a batch costs no more than the classes that occur in it.
    """

    no_image: ClassRow
    """The sums of a class that does not occur."""
    rows: Mapping[int, ClassRow] = field(default_factory=dict)

    @classmethod
    def empty(cls, channels: int, device: torch.device | None = None) -> Self:
        """No image yet."""
        return cls(ClassRow.empty(channels, device))

    def add(self, summary: BatchSummary, labels: Sequence[int]) -> "ClassSums":
        """With one more batch; a label below zero is no class."""
        is_labelled = [label >= 0 for label in labels]
        if not any(is_labelled):
            return self
        maxima, labels = summary.maximum, list(compress(labels, is_labelled))
        if not all(is_labelled):
            maxima = maxima[device_tensor(torch.tensor(is_labelled, device="cpu"), maxima.device)]
        return ClassSums(self.no_image, {**self.rows, **self._add_labelled(maxima, labels)})

    def _add_labelled(self, maxima: torch.Tensor, labels: Sequence[int]) -> dict[int, ClassRow]:
        """The rows of these labels with the maxima (images, channels) added."""
        if maxima.device.type != "cpu":
            return self._add_together(maxima, labels)
        loops = compiled_loops()
        if loops is None:
            return self._add_by_class(maxima, labels)
        return self._add_by_loop(loops, maxima, labels)

    def _add_by_loop(
        self, loops: ModuleType, maxima: torch.Tensor, labels: Sequence[int]
    ) -> dict[int, ClassRow]:
        rows = {label: self._row(label).clone() for label in set(labels)}
        arrays = {label: [column.numpy() for column in row.columns] for label, row in rows.items()}
        for label, values in zip(labels, maxima.double().contiguous().numpy(), strict=True):
            loops.add_maxima(*arrays[label], values)
        return rows

    def _add_by_class(self, maxima: torch.Tensor, labels: Sequence[int]) -> dict[int, ClassRow]:
        places: dict[int, list[int]] = {}
        for place, label in enumerate(labels):
            places.setdefault(label, []).append(place)
        return {
            label: _add_to_row(self._row(label), maxima[members])
            for label, members in places.items()
        }

    def _add_together(self, maxima: torch.Tensor, labels: Sequence[int]) -> dict[int, ClassRow]:
        """All classes at once, in few calls, none of which waits for the device."""
        names = sorted(set(labels))
        rows = [self._row(name).columns for name in names]
        table = ClassRow(*(torch.stack(columns) for columns in zip(*rows, strict=True)))
        places = torch.tensor([names.index(label) for label in labels], device="cpu")
        table = _add_to_table(table, maxima, device_tensor(places, maxima.device))
        columns = zip(*(column.unbind() for column in table.columns), strict=True)
        return {
            name: ClassRow(*row).clone()  # a view would keep the memory of the whole table
            for name, row in zip(names, columns, strict=True)
        }

    def _row(self, label: int) -> ClassRow:
        return self.rows.get(label, self.no_image)

    def merge(self, other: "ClassSums") -> "ClassSums":
        """The sums over the images of both."""
        shared = self.rows.keys() & other.rows.keys()
        merged = {label: self.rows[label].merge(other.rows[label]) for label in shared}
        return ClassSums(self.no_image, {**self.rows, **other.rows, **merged})

    def renumber(self, labels: Mapping[int, int]) -> "ClassSums":
        """The same sums under other numbers of the classes."""
        return ClassSums(self.no_image, {labels[label]: row for label, row in self.rows.items()})

    def select_channels(self, channels: range) -> "ClassSums":
        """The sums of a range of channels, as views."""
        rows = {label: row.select_channels(channels) for label, row in self.rows.items()}
        return ClassSums(self.no_image.select_channels(channels), rows)

    def tables(self, classes: int) -> ClassTables:
        """What is known of the classes numbered from 0, on the processor."""
        rows = [self._row(label) for label in range(classes)]
        return ClassTables(
            *(
                torch.stack([getattr(row, name) for row in rows]).cpu()
                for name in ClassTables._fields
            )
        )

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """The labels that occur (classes), and the tensors of their rows (classes, channels)."""
        rows = {label: vars(row) for label, row in self.rows.items()}
        return stack_rows(rows, vars(self.no_image))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Self:
        """The sums that `to_tensors` was called on."""
        high = tensors["high"]
        rows = {label: ClassRow(*row) for label, row in split_rows(tensors, tuple(_COLUMNS))}
        return cls(ClassRow.empty(high.shape[1], high.device), rows)


def _add_to_row(row: ClassRow, maxima: torch.Tensor) -> ClassRow:
    """Adds the maxima (images, channels) of one class, some channels at a time."""
    count, channels = maxima.shape
    size = max(_VALUES_AT_ONCE // count, 1)
    parts = []
    for start in range(0, channels, size):
        part = range(start, min(start + size, channels))
        values = maxima[:, start : part.stop]
        parts.append(_add_channels(row.select_channels(part), values).columns)
    return ClassRow(*map(torch.cat, zip(*parts, strict=True)))


def _add_channels(row: ClassRow, maxima: torch.Tensor) -> ClassRow:
    values, is_finite = maxima.double(), maxima > -torch.inf
    if not bool(is_finite.all()):
        values = values.masked_fill(~is_finite, 0)
    window = torch.maximum(row.window, _window(values).amax(0))
    row = row.raise_window(window)
    high, low = _digits(values, _inverse_unit(window))
    return ClassRow(
        row.high + high.sum(0),
        row.low + low.sum(0),
        window,
        row.images + is_finite.sum(0, dtype=torch.int32),
        row.fired_images + (values > 0).sum(0, dtype=torch.int32),
    )


def _add_to_table(table: ClassRow, maxima: torch.Tensor, places: torch.Tensor) -> ClassRow:
    """Adds maxima (images, channels) to the rows of a table (classes, channels) at these places."""
    is_finite = maxima > -torch.inf
    values = maxima.double().masked_fill(~is_finite, 0)
    rows = places[:, None].expand_as(values)
    window = table.window.scatter_reduce(0, rows, _window(values), "amax")
    table = table.raise_window(window)
    high, low = _digits(values, _inverse_unit(window)[places])
    return ClassRow(
        table.high.index_add(0, places, high),
        table.low.index_add(0, places, low),
        window,
        table.images.index_add(0, places, is_finite.int()),
        table.fired_images.index_add(0, places, (values > 0).int()),
    )


def _window(values: torch.Tensor) -> torch.Tensor:
    """The digit of the grid in which each float64 begins, by its magnitude; 0 for zero."""
    return (values.abs().view(torch.int64) >> _WINDOW_SHIFT).to(torch.int8)


def _inverse_unit(window: torch.Tensor) -> torch.Tensor:
    """One by what the lowest bit of a high digit stands for: an exact power of two."""
    exponent = (_LARGEST_EXPONENT << _EXPONENT_SHIFT) - (window.long() << _WINDOW_SHIFT)
    return exponent.view(torch.float64)


def _digits(values: torch.Tensor, inverse_unit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The high and the low digit of float64 values, both with their sign."""
    scaled = values * inverse_unit
    high = scaled.long()
    return high, ((scaled - high) * _DIGIT).long()
