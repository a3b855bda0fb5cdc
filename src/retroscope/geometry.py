"""Where a unit looks: windows, fields and boxes on the pixel grid.

Coordinates are `(y, x)`. Intervals and boxes are half-open, `[start, stop)`, in pixels of the
network's input; they may leave the image where padding was read. Each axis is separate: a `Window`
or a `Field` is one-dimensional.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import ceil, floor
from typing import Self

Interval = tuple[int, int]
"""Half-open: the first position, and the one after the last."""


@dataclass(frozen=True)
class Window:
    """How one axis of a convolution or a pool reads its input.

    `before` and `after` are the padding at the two ends; `ceil` lets the last window hang over
    the end, as ceil-mode pools do.

    >>> Window(size=3, stride=2, ceil=True).outputs(6)
    3
    """

    size: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1
    ceil: bool = False

    @property
    def reach(self) -> int:
        """The number of positions from the first one read to the last."""
        return (self.size - 1) * self.dilation + 1

    def outputs(self, length: int) -> int:
        """The number of outputs for an axis of this length."""
        room = length + self.before + self.after - self.reach
        if not self.ceil:
            return room // self.stride + 1
        count = -(-room // self.stride) + 1
        starts_outside = (count - 1) * self.stride >= length + self.before
        return count - starts_outside

    def reads(self, output: int) -> Interval:
        """The interval of inputs that one output reads, padding included."""
        start = output * self.stride - self.before
        return start, start + self.reach


@dataclass(frozen=True)
class Field:
    """The receptive field along one axis: unit `i` sees `[start + floor(i*stride), ... + size)`.

    With a stride of 0 every unit sees the same interval: the whole image, after global pooling or
    attention. The stride is a fraction only for maps that are finer than the image, or that were
    resized by a ratio which is not whole.

    >>> Field().through(Window(3, before=1)).through(Window(2, stride=2))
    Field(size=4, stride=2, start=-1)
    """

    size: int = 1
    stride: int | Fraction = 1
    start: int = 0

    @property
    def centre(self) -> float:
        """The centre of unit 0's interval; the centre of pixel 0 is at 0."""
        return self.start + (self.size - 1) / 2

    def at(self, index: int) -> Interval:
        """The interval that the unit at this index sees."""
        start = self.start + floor(index * self.stride)
        return start, start + self.size

    def through(self, window: Window) -> "Field":
        """The field after one more window."""
        first = floor(-window.before * self.stride)
        last = ceil((window.reach - 1 - window.before) * self.stride)
        stride = simplest(self.stride * window.stride)
        return Field(self.size + last - first, stride, self.start + first)

    def union(self, other: "Field") -> "Field | None":
        """The smallest field that covers both; None if their strides disagree."""
        if self.stride != other.stride:
            return None
        start = min(self.start, other.start)
        stop = max(self.start + self.size, other.start + other.size)
        return Field(size=stop - start, stride=self.stride, start=start)

    @classmethod
    def whole(cls, length: int) -> Self:
        """Every unit sees the whole axis."""
        return cls(size=length, stride=0, start=0)


def simplest(stride: int | Fraction) -> int | Fraction:
    """A whole number as an int."""
    return int(stride) if Fraction(stride).denominator == 1 else stride


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, half-open; it may leave the image.

    >>> Box(-2, 5, 3, 9).clip(8, 8)
    Box(top=0, left=5, bottom=3, right=8)
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def clip(self, height: int, width: int) -> "Box":
        """The part of the box that lies in an image of this size."""
        return Box(
            min(max(self.top, 0), height),
            min(max(self.left, 0), width),
            max(min(self.bottom, height), 0),
            max(min(self.right, width), 0),
        )

    def visible(self, height: int, width: int) -> "Box":
        """The part of the box that lies in an image; if there is none, the pixels nearest to it.

        A unit over the padding of a network sees no pixel of the image.

        >>> Box(-4, 2, -1, 6).visible(8, 8)
        Box(top=0, left=2, bottom=1, right=6)
        """
        inside = self.clip(height, width)
        top, left = min(inside.top, height - 1), min(inside.left, width - 1)
        return Box(top, left, max(inside.bottom, top + 1), max(inside.right, left + 1))

    def union(self, other: "Box") -> "Box":
        """The smallest box around both."""
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    @classmethod
    def around(cls, boxes: Iterable["Box"]) -> "Box":
        """The smallest box around all of them."""
        return reduce(Box.union, boxes)


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of a layer see: a field along each axis, and its limits.

    `whole`: every unit sees the whole image (global pooling, attention, or an operation that is not
    known to see less). `global_context`: the field is that of the local path, while a gate computed
    from the whole image scales it (squeeze-excitation).
    """

    y: Field
    x: Field
    whole: bool = False
    global_context: bool = False

    def box(self, y: int, x: int) -> Box:
        """The box that the unit at this position sees along the local path."""
        top, bottom = self.y.at(y)
        left, right = self.x.at(x)
        return Box(top, left, bottom, right)

    def __str__(self) -> str:
        if self.whole:
            return "whole image"
        square = self.y == self.x
        size, stride, start = (
            _text(along_y) if square else f"{_text(along_y)}x{_text(along_x)}"
            for along_y, along_x in (
                (self.y.size, self.x.size),
                (self.y.stride, self.x.stride),
                (self.y.start, self.x.start),
            )
        )
        gated = " + whole image through gates" if self.global_context else ""
        return f"{size}/{stride}/{start}{gated}"


def _text(number: int | Fraction) -> str:
    return f"{float(number):.4g}" if isinstance(number, Fraction) else str(number)
