"""Receptive fields along one axis while they flow through a network.

Most are a `Field`: one interval that moves by a stride. Behind an operation that no sliding window
describes, such as interpolation, the interval of each position is listed instead, until the layer's
field is read: the smallest `Field` that holds them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from retroscope.geometry import Field, Interval, Window, simplest

Integers = npt.NDArray[np.int64]


NOTHING: Interval = (0, 0)
"""The interval of a position that sees no pixel, as those that a network pads its images with."""


@dataclass(frozen=True)
class ListedField:
    """The interval that each position sees; `NOTHING` for one that sees no pixel."""

    intervals: tuple[Interval, ...]

    def at(self, index: int) -> Interval:
        return self.intervals[index]


AxisField = Field | ListedField


def through(field: AxisField, window: Window, length: int) -> AxisField:
    """The field after one more window, on an axis of `length` positions."""
    if isinstance(field, Field):
        return field.through(window)
    reads = [window.reads(output) for output in range(window.outputs(length))]
    return resample(field, [_inside(interval, length) for interval in reads])


def resample(field: AxisField, reads: Sequence[Interval]) -> ListedField:
    """The field of outputs that read these intervals of positions.

    >>> resample(Field(size=4, stride=4), [(0, 1), (0, 1), (1, 2)])
    ListedField(intervals=((0, 4), (0, 4), (4, 8)))
    """
    if isinstance(field, Field):
        return ListedField(tuple(_seen_through(field, *interval) for interval in reads))
    return ListedField(tuple(_hull(field.intervals[first:stop]) for first, stop in reads))


def union(fields: Sequence[AxisField], length: int) -> AxisField:
    """What the units of maps that meet position by position see, on an axis of `length`.

    >>> union([Field(3, 2, 0), Field(3, 2, -1)], 8)
    Field(size=4, stride=2, start=-1)
    """
    strides = {field.stride if isinstance(field, Field) else None for field in fields}
    if len(strides) == 1 and None not in strides:
        return _union_of_one_stride([field for field in fields if isinstance(field, Field)])
    return ListedField(
        tuple(_hull([field.at(index) for field in fields]) for index in range(length))
    )


def spread(field: AxisField, length: int) -> Field:
    """One interval that holds those of all units."""
    first, stop = _hull([field.at(index) for index in range(length)])
    return Field(max(stop - first, 1), 0, first)


def bound(field: AxisField, length: int, pixels: int) -> Field:
    """The smallest field that holds what each unit sees of an axis of `pixels`.

    Nearest-neighbour upsampling by 2: two units share an interval of 4 pixels, so one of 6 that
    moves by 2 holds both.

    >>> bound(ListedField(((0, 4), (0, 4), (4, 8), (4, 8))), 4, 8)
    Field(size=6, stride=2, start=-2)
    """
    if isinstance(field, Field):
        return field
    seen = [n for n, interval in enumerate(field.intervals[:length]) if interval != NOTHING]
    if not seen:
        return Field(1, 0, 0)
    positions: Integers = np.array(seen, np.int64)
    ends: Integers = np.array([_clip(field.intervals[n], pixels) for n in seen], np.int64)
    strides = {Fraction(pixels, length), *_likely_strides(ends)}
    candidates = [_field_of_stride(positions, ends, stride) for stride in strides]
    return min(candidates, key=lambda one: (one.size, Fraction(one.stride).denominator))


def is_exact(field: AxisField, bounding: Field, pixels: int) -> bool:
    """Whether the units see all of the bounding field that lies on the axis."""
    return isinstance(field, Field) or all(
        _clip(bounding.at(index), pixels) == _clip(interval, pixels)
        for index, interval in enumerate(field.intervals)
        if interval != NOTHING
    )


def _clip(interval: Interval, length: int) -> Interval:
    """The part of an interval that lies on the axis; if there is none, the nearest position."""
    first, stop = interval
    first = min(max(first, 0), length - 1)
    return first, max(min(stop, length), first + 1)


def _inside(interval: Interval, length: int) -> Interval:
    """The part of an interval that lies on the axis."""
    first, stop = max(interval[0], 0), min(interval[1], length)
    return (first, stop) if first < stop else NOTHING


def _seen_through(field: Field, first: int, stop: int) -> Interval:
    """What is seen by reading these positions."""
    return (field.at(first)[0], field.at(stop - 1)[1]) if first < stop else NOTHING


def _hull(intervals: Sequence[Interval]) -> Interval:
    """The smallest interval around these."""
    seen = [interval for interval in intervals if interval != NOTHING]
    return (min(first for first, _ in seen), max(stop for _, stop in seen)) if seen else NOTHING


def _union_of_one_stride(fields: Sequence[Field]) -> Field:
    total = fields[0]
    for field in fields[1:]:
        joined = total.union(field)
        assert joined is not None
        total = joined
    return total


def _field_of_stride(positions: Integers, ends: Integers, stride: Fraction) -> Field:
    """The smallest field of this stride around the intervals of these positions."""
    steps = positions * stride.numerator // stride.denominator
    start, stop = int((ends[:, 0] - steps).min()), int((ends[:, 1] - steps).max())
    return Field(stop - start, simplest(stride), start)


def _likely_strides(ends: Integers) -> set[Fraction]:
    """The mean steps of the intervals' ends, over all of them and without the borders, rounded."""
    slopes = {Fraction(0)}
    for skipped in {0, len(ends) // 4}:
        inner = ends[skipped : len(ends) - skipped]
        if len(inner) > 1:
            slopes |= {Fraction(int(step), len(inner) - 1) for step in inner[-1] - inner[0]}
    rounded = {Fraction(round(slope * parts), parts) for slope in slopes for parts in (1, 2, 4)}
    return {slope for slope in slopes | rounded if slope >= 0}
