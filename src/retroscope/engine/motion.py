"""How an operation moves positions of the image from its inputs to its output.

The survey reads a motion as arithmetic on receptive fields, the region runner as arithmetic on the
part of each map that it holds. One description for both keeps them from drifting apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from retroscope.geometry import Interval, Window

Axes = tuple[int, ...]
"""Which dimensions of a tensor run along the axes of the input: y and x of an image, z, y and x of
a volume, x of a signal.
"""
Shape = tuple[int, ...]
Grid = tuple[int, ...]
"""The number of positions along each axis."""


@dataclass(frozen=True)
class TokenAxis:
    """A dimension that lists the positions of a grid row by row, maybe between other tokens.

    class  register  0,0  0,1  0,2  1,0  1,1  1,2        grid (2, 3), start 2, length 8
    """

    dim: int
    grid: Grid
    start: int
    length: int

    @property
    def extra(self) -> int:
        """The number of tokens without a position, such as class and register tokens."""
        return self.length - prod(self.grid)


Positions = Axes | TokenAxis
"""Where the positions of a tensor are: along a dimension for each axis, or listed along one."""


@dataclass(frozen=True)
class Stay:
    """Each output position reads the same position of every input.

    `gated`: and is scaled by something computed from all positions, as in group norm.
    `pinned`: and meets a constant that differs from position to position.
    `batch`: and depends on the other images of the batch.
    """

    gated: bool = False
    pinned: bool = False
    batch: bool = False


@dataclass(frozen=True)
class Slide:
    """Windows slide over the map, one along each axis: convolution, pooling, padding, slices.

    `axes` are the dimensions of the result that hold the positions; None if they stay. `cuts`: the
    positions inside a window go on along other dimensions.
    """

    windows: tuple[Window, ...]
    axes: Axes | None = None
    cuts: bool = False


@dataclass(frozen=True)
class Resample:
    """Each output position reads an interval of positions, listed for each axis.

    For what no sliding window describes: interpolation, transposed convolution, reflected borders.
    `joins`: windows that the map was cut into are put together again; an output is at one of the
    positions of the window that it reads, and it is not known at which.
    """

    reads: tuple[tuple[Interval, ...], ...]
    axes: Axes | None = None
    joins: bool = False


@dataclass(frozen=True)
class Move:
    """Positions stay; the dimensions that hold them get new numbers.

    `batch`: and the images of a batch are taken apart. `pinned` as for `Stay`.
    """

    axes: Axes
    batch: bool = False
    pinned: bool = False


@dataclass(frozen=True)
class Stack:
    """Positions stay; maps meet along a new dimension, with this number in the result."""

    dim: int

    def axes(self, axes: Axes) -> Axes:
        """The axes of a map in the result."""
        return tuple(axis + (axis >= self.dim) for axis in axes)


@dataclass(frozen=True)
class Mix:
    """Every output reads every position. `note` is the reason, for operations not in the table.

    `uniform`: and all positions of the result hold the same value.
    """

    note: str = ""
    uniform: bool = False


Motion = Stay | Slide | Resample | Move | Stack | Mix


def beside(motion: Motion, lengths: Sequence[int]) -> Motion:
    """A motion of windows in a map that has more axes in front, along which positions stay."""
    match motion:
        case Slide(windows, axes):
            return Slide((*(Window() for _ in lengths), *windows), axes)
        case Resample(reads, axes):
            stay = (tuple((index, index + 1) for index in range(length)) for length in lengths)
            return Resample((*stay, *reads), axes)
    return motion


def output_lengths(motion: Slide | Resample | Move, lengths: Sequence[int]) -> Grid:
    """The number of positions along each axis after a motion of maps with these lengths."""
    if isinstance(motion, Slide):
        return tuple(map(Window.outputs, motion.windows, lengths))
    if isinstance(motion, Resample):
        return tuple(map(len, motion.reads))
    return tuple(lengths)


@dataclass(frozen=True)
class Place:
    """What a row of the table may ask about a call: which dimensions of its tensors are axes.

    `constants` are the shapes of the tensors that do not depend on the image.
    """

    axes: Axes
    shape: Shape
    result: Shape
    constants: tuple[Shape, ...] = ()

    @property
    def lengths(self) -> Grid:
        return tuple(self.shape[axis] for axis in self.axes)

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.axes)

    def in_slices(self, extra: int) -> "Place | None":
        """The place of the last axes, along which windows of fewer axes slide, as of a convolution
        of images on the slices of a volume; None if they do not.

        The axes in front are among the dimensions of the batch: (depth, channels, height, width).
        """
        batch_dimensions = len(self.shape) - self.rank + extra - 1
        if max(self.axes[:extra]) >= batch_dimensions:
            return None
        return replace(self, axes=self.axes[extra:])

    def is_last(self, rank: int | None = None) -> bool:
        """Whether the axes are the last dimensions, where torch's windows slide.

        `rank` is the number of axes of the operation, if it is for one number of them.
        """
        first = len(self.shape) - self.rank
        return self.axes == tuple(range(first, len(self.shape))) and rank in (None, self.rank)

    def dim(self, dim: int) -> int:
        """A dimension counted from the front."""
        return dim % len(self.shape)

    def touches(self, *dims: int) -> bool:
        """Whether one of these dimensions is an axis."""
        return any(self.dim(dim) in self.axes for dim in dims)

    def has_varying_constant(self) -> bool:
        """Whether a constant, broadcast as torch does, is longer than 1 along an axis."""
        axes_from_end = [axis - len(self.shape) for axis in self.axes]
        return any(
            shape[axis] != 1
            for shape in self.constants
            for axis in axes_from_end
            if len(shape) >= -axis
        )
