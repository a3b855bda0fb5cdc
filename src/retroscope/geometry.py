"""Where a unit looks: windows, fields and boxes on the pixel grid.

Coordinates are `(y, x)`. Intervals and boxes are half-open, `[start, stop)`, in pixels of the
picture that the network is fed; they may leave the picture where padding was read. An axis
is handled by itself: a `Window` or a `Field` is one-dimensional.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Self


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
        """From the first position read to the last, both counted."""
        return (self.size - 1) * self.dilation + 1

    def outputs(self, length: int) -> int:
        """How many outputs an axis of this length gives."""
        room = length + self.before + self.after - self.reach
        if not self.ceil:
            return room // self.stride + 1
        count = -(-room // self.stride) + 1
        starts_outside = (count - 1) * self.stride >= length + self.before
        return count - starts_outside

    def reads(self, output: int) -> tuple[int, int]:
        """The interval of inputs that one output reads, padding included."""
        start = output * self.stride - self.before
        return start, start + self.reach


@dataclass(frozen=True)
class Field:
    """The receptive field along one axis: unit `i` sees `[start + i*stride, ... + size)`.

    A stride of 0 says that every unit sees the same interval: after global pooling or attention
    that is the whole picture.

    >>> Field().through(Window(3, before=1)).through(Window(2, stride=2))
    Field(size=4, stride=2, start=-1)
    """

    size: int = 1
    stride: int = 1
    start: int = 0

    @property
    def centre(self) -> float:
        """The middle of unit 0's interval, pixel 0 having its middle at 0."""
        return self.start + (self.size - 1) / 2

    def at(self, index: int) -> tuple[int, int]:
        """The interval that the unit at this index sees."""
        start = self.start + index * self.stride
        return start, start + self.size

    def through(self, window: Window) -> "Field":
        """The field after one more window."""
        return Field(
            size=self.size + (window.reach - 1) * self.stride,
            stride=self.stride * window.stride,
            start=self.start - window.before * self.stride,
        )

    def union(self, other: "Field") -> "Field | None":
        """The smallest field that covers both; None where their strides disagree."""
        if self.stride != other.stride:
            return None
        start = min(self.start, other.start)
        stop = max(self.start + self.size, other.start + other.size)
        return Field(size=stop - start, stride=self.stride, start=start)

    @classmethod
    def whole(cls, length: int) -> Self:
        """Every unit sees the whole axis."""
        return cls(size=length, stride=0, start=0)


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, half-open; it may leave the picture.

    >>> Box(-2, 5, 3, 9).clipped(8, 8)
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
        """The part of the box that lies in a picture of this size."""
        return Box(
            min(max(self.top, 0), height),
            min(max(self.left, 0), width),
            max(min(self.bottom, height), 0),
            max(min(self.right, width), 0),
        )

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
    """What the units of a layer see: a field along each axis, and what limits its truth.

    `whole`: every unit sees the whole picture (global pooling, attention, or an operation that
    is not known to see less). `global_context`: the numbers are the local path's, while a gate
    computed from the whole picture scales it (squeeze-excitation).
    """

    y: Field
    x: Field
    whole: bool = False
    global_context: bool = False

    def box(self, y: int, x: int) -> Box:
        """What the unit at this position sees along the local path."""
        top, bottom = self.y.at(y)
        left, right = self.x.at(x)
        return Box(top, left, bottom, right)

    def __str__(self) -> str:
        if self.whole:
            return "whole image"
        square = self.y == self.x
        size, stride, start = (
            str(own) if square else f"{own}x{other}"
            for own, other in (
                (self.y.size, self.x.size),
                (self.y.stride, self.x.stride),
                (self.y.start, self.x.start),
            )
        )
        gated = " + whole image through gates" if self.global_context else ""
        return f"{size}/{stride}/{start}{gated}"
