"""Where a unit looks: windows, fields and boxes on the pixel grid.

Coordinates are `(y, x)`; of a volume `(z, y, x)`, of a signal `(x,)`. Intervals and boxes are
half-open, `[start, stop)`, in pixels of the network's input; they may leave the image where padding
was read. Each axis is separate: a `Window` or a `Field` is one-dimensional.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import ceil, floor
from typing import Self

Interval = tuple[int, int]
"""Half-open: the first position, and the one after the last."""

AXES = ("z", "y", "x")
"""The axes of a volume in their order; z is its depth, or the time of a video. An image has the
last two, a signal the last one.
"""


IMAGE_RANK = 2
INPUTS = {1: "signal", 2: "image", 3: "volume"}
"""What a network takes, by the number of its axes: its rank."""
LENGTHS = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
"""What the lengths along the axes are called."""


def axis_names(rank: int) -> tuple[str, ...]:
    """The names of the axes of a signal (1), an image (2) or a volume (3).

    >>> axis_names(2)
    ('y', 'x')
    """
    return AXES[-rank:]


def format_size(size: Iterable[int]) -> str:
    """A size as people write it.

    >>> format_size((8, 56, 56))
    '8x56x56'
    """
    return "x".join(map(str, size))


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


@dataclass(frozen=True, repr=False)
class Box:
    """A rectangle of pixels, half-open; it may leave the image. In a volume it has a depth as well.

    >>> Box(-2, 5, 3, 9).clip(8, 8)
    Box(top=0, left=5, bottom=3, right=8)
    """

    top: int
    left: int
    bottom: int
    right: int
    front: int = 0
    back: int = 1

    def __repr__(self) -> str:
        is_flat = (self.front, self.back) == (0, 1)
        depth = "" if is_flat else f", front={self.front}, back={self.back}"
        edges = f"top={self.top}, left={self.left}, bottom={self.bottom}, right={self.right}"
        return f"Box({edges}{depth})"

    @classmethod
    def of(cls, intervals: Sequence[Interval]) -> Self:
        """The box of an interval along each axis of a signal, an image or a volume.

        >>> Box.of([(0, 4), (2, 5), (1, 3)])
        Box(top=2, left=1, bottom=5, right=3, front=0, back=4)
        """
        (front, back), (top, bottom), (left, right) = _with_single_axes(intervals)
        return cls(top, left, bottom, right, front, back)

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def depth(self) -> int:
        return self.back - self.front

    def intervals(self, rank: int) -> tuple[Interval, ...]:
        """The interval along each axis of a signal (1), an image (2) or a volume (3)."""
        whole = (self.front, self.back), (self.top, self.bottom), (self.left, self.right)
        return whole[-rank:]

    def slices(self, rank: int) -> tuple[slice, ...]:
        """The box as an index of an array with these axes in front."""
        return tuple(slice(*interval) for interval in self.intervals(rank))

    def size(self, rank: int) -> tuple[int, ...]:
        """The length along each axis."""
        return (self.depth, self.height, self.width)[-rank:]

    def clip(self, height: int, width: int, depth: int = 1) -> "Box":
        """The part of the box that lies in an image of this size."""
        return Box(
            min(max(self.top, 0), height),
            min(max(self.left, 0), width),
            max(min(self.bottom, height), 0),
            max(min(self.right, width), 0),
            min(max(self.front, 0), depth),
            max(min(self.back, depth), 0),
        )

    def visible(self, height: int, width: int, depth: int = 1) -> "Box":
        """The part of the box that lies in an image; if there is none, the pixels nearest to it.

        A unit over the padding of a network sees no pixel of the image.

        >>> Box(-4, 2, -1, 6).visible(8, 8)
        Box(top=0, left=2, bottom=1, right=6)
        """
        inside = self.clip(height, width, depth)
        top, left = min(inside.top, height - 1), min(inside.left, width - 1)
        front = min(inside.front, depth - 1)
        return Box(
            top,
            left,
            max(inside.bottom, top + 1),
            max(inside.right, left + 1),
            front,
            max(inside.back, front + 1),
        )

    def clip_to(self, size: Sequence[int]) -> "Box":
        """The part of the box that lies in a signal, an image or a volume of this size.

        >>> Box(0, 0, 3, 9, -2, 4).clip_to((3, 8, 8))
        Box(top=0, left=0, bottom=3, right=8, front=0, back=3)
        """
        depth, height, width = _with_single_lengths(size)
        return self.clip(height, width, depth)

    def visible_in(self, size: Sequence[int]) -> "Box":
        """As `visible`, in a signal, an image or a volume of this size."""
        depth, height, width = _with_single_lengths(size)
        return self.visible(height, width, depth)

    @classmethod
    def whole(cls, size: Sequence[int]) -> Self:
        """All of a signal, an image or a volume of this size.

        >>> Box.whole((4, 6))
        Box(top=0, left=0, bottom=4, right=6)
        """
        return cls.of([(0, length) for length in size])

    def union(self, other: "Box") -> "Box":
        """The smallest box around both."""
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
            min(self.front, other.front),
            max(self.back, other.back),
        )

    @classmethod
    def around(cls, boxes: Iterable["Box"]) -> "Box":
        """The smallest box around all of them."""
        return reduce(Box.union, boxes)


def _with_single_axes(intervals: Sequence[Interval]) -> tuple[Interval, Interval, Interval]:
    """Intervals along z, y and x; one position along those that there are not."""
    single: list[Interval] = [(0, 1)] * (len(AXES) - len(intervals))
    slices, rows, columns = [*single, *intervals]
    return slices, rows, columns


def _with_single_lengths(size: Sequence[int]) -> tuple[int, int, int]:
    depth, height, width = (*(1,) * (len(AXES) - len(size)), *size)
    return depth, height, width


SINGLE_ROW = Field(1, 0, 0)
"""The field along y in a signal."""


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of a layer see: a field along each axis, and its limits.

    `whole`: every unit sees the whole image (global pooling, attention, or an operation that is not
    known to see less). `global_context`: the field is that of the local path, while a gate computed
    from the whole image scales it (squeeze-excitation). `z` is None but for volumes.
    """

    y: Field
    x: Field
    whole: bool = False
    global_context: bool = False
    z: Field | None = None

    @classmethod
    def along(
        cls, axes: Sequence[Field], *, whole: bool = False, global_context: bool = False
    ) -> Self:
        """The fields along the axes of a signal, an image or a volume."""
        *rest, x = axes
        y = rest[-1] if rest else SINGLE_ROW
        return cls(y, x, whole, global_context, rest[0] if len(rest) > 1 else None)

    def axes(self, rank: int) -> tuple[Field, ...]:
        """The field along each axis of a signal (1), an image (2) or a volume (3)."""
        return (self.z or Field(), self.y, self.x)[-rank:]

    def box(self, *position: int) -> Box:
        """The box that the unit at this position sees along the local path."""
        axes = self.axes(len(position))
        return Box.of([field.at(index) for field, index in zip(axes, position, strict=True)])

    def __str__(self) -> str:
        if self.whole:
            return f"whole {self._input}"
        axes = [field for field in (self.z, self.y, self.x) if field is not None]
        axes = axes[1:] if axes[0] == SINGLE_ROW else axes
        axes = axes[:1] if len(set(axes)) == 1 else axes
        size = "x".join(_text(field.size) for field in axes)
        stride = "x".join(_text(field.stride) for field in axes)
        start = "x".join(_text(field.start) for field in axes)
        gated = f" + whole {self._input} through gates" if self.global_context else ""
        return f"{size}/{stride}/{start}{gated}"

    @property
    def _input(self) -> str:
        if self.z is not None:
            return INPUTS[len(AXES)]
        return INPUTS[1 if self.y == SINGLE_ROW else IMAGE_RANK]


def _text(number: int | Fraction) -> str:
    return f"{float(number):.4g}" if isinstance(number, Fraction) else str(number)
