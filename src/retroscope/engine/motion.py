"""How an operation moves positions of the image from its inputs to its output.

The survey reads a motion as arithmetic on receptive fields, the region runner as arithmetic on the
part of each map that it holds. One description for both keeps them from drifting apart.
"""

from dataclasses import dataclass

from retroscope.geometry import Interval, Window

Axes = tuple[int, int]
"""Which dimensions of a tensor run along y and x."""
Shape = tuple[int, ...]


@dataclass(frozen=True)
class TokenAxis:
    """A dimension that lists the positions of a grid row by row, maybe between other tokens.

    class  register  0,0  0,1  0,2  1,0  1,1  1,2        grid (2, 3), start 2, length 8
    """

    dim: int
    grid: tuple[int, int]
    start: int
    length: int

    @property
    def extra(self) -> int:
        """The number of tokens without a position, such as class and register tokens."""
        return self.length - self.grid[0] * self.grid[1]


Positions = Axes | TokenAxis
"""Where the positions of a tensor are: along two dimensions, or listed along one."""


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
    """Windows slide over the map: convolution, pooling, padding, strided slices.

    `axes` are the dimensions of the result that hold the positions; None if they stay. `cuts`: the
    positions inside a window go on along other dimensions.
    """

    y: Window
    x: Window
    axes: Axes | None = None
    cuts: bool = False


@dataclass(frozen=True)
class Resample:
    """Each output position reads an interval of positions, listed for both axes.

    For what no sliding window describes: interpolation, transposed convolution, reflected borders.
    """

    y: tuple[Interval, ...]
    x: tuple[Interval, ...]
    axes: Axes | None = None


@dataclass(frozen=True)
class Move:
    """Positions stay; the dimensions that hold them get new numbers.

    `batch`: and the images of a batch are taken apart.
    """

    axes: Axes
    batch: bool = False


@dataclass(frozen=True)
class Stack:
    """Positions stay; maps meet along a new dimension, with this number in the result."""

    dim: int

    def axes(self, axes: Axes) -> Axes:
        """The axes of a map in the result."""
        y, x = (axis + (axis >= self.dim) for axis in axes)
        return y, x


@dataclass(frozen=True)
class Mix:
    """Every output reads every position. `note` is the reason, for operations not in the table.

    `uniform`: and all positions of the result hold the same value.
    """

    note: str = ""
    uniform: bool = False


Motion = Stay | Slide | Resample | Move | Stack | Mix


@dataclass(frozen=True)
class Place:
    """What a row of the table may ask about a call: which dimensions of its tensors are y and x.

    `constants` are the shapes of the tensors that do not depend on the image.
    """

    axes: Axes
    shape: Shape
    result: Shape
    constants: tuple[Shape, ...] = ()

    @property
    def lengths(self) -> tuple[int, int]:
        return self.shape[self.axes[0]], self.shape[self.axes[1]]

    def is_last(self) -> bool:
        """Whether y and x are the last two dimensions, where torch's windows slide."""
        return self.axes == (len(self.shape) - 2, len(self.shape) - 1)

    def dim(self, dim: int) -> int:
        """A dimension counted from the front."""
        return dim % len(self.shape)

    def touches(self, *dims: int) -> bool:
        """Whether one of these dimensions is y or x."""
        return any(self.dim(dim) in self.axes for dim in dims)

    def has_varying_constant(self) -> bool:
        """Whether a constant, broadcast as torch does, is longer than 1 along y or x."""
        axes_from_end = [axis - len(self.shape) for axis in self.axes]
        return any(
            shape[axis] != 1
            for shape in self.constants
            for axis in axes_from_end
            if len(shape) >= -axis
        )
