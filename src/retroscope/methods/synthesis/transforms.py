"""Random transforms that a pattern must survive (lucid's `transform`).

A transform moves a sampling frame: the grid of points of the canvas that become the network's
input. The frame is sampled once, after all transforms of a recipe have moved it. Lengths are given
for a canvas of 128 pixels and shrink with smaller canvases, along the depth of a volume with its
own length. Outside the canvas is middle grey. Nothing moves along an axis of a single point, such
as the depth of one slice.

    canvas                      frame after Rotate(10, 10) and Jitter(8)
    +-----------------+
    |     . . . .     |         each `.` is one pixel of the network's input: its place on the
    |   . . . .       |         canvas is `matrix @ (y, x) + centre`, measured from the canvas's
    | . . . .         |         middle
    +-----------------+
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import cos, radians, sin
from operator import add

import torch
import torch.nn.functional as F

from retroscope.geometry import IMAGE_RANK
from retroscope.methods.axis_lengths import alike_in_slices

GREY = 0.5
REFERENCE_SIDE = 128
"""The canvas side that transform lengths are given for."""

Matrix = tuple[float, ...]
"""A square matrix, row by row."""


@dataclass(frozen=True)
class SamplingFrame:
    """A grid of points on a canvas, with so many along each axis.

    The point at `place` from the frame's middle lies at `matrix @ place + centre` from the canvas's
    middle. `units` are the length on this canvas of one reference pixel, along each axis; 0 along
    an axis of a single point.
    """

    size: tuple[int, ...]
    canvas_size: tuple[int, ...]
    units: tuple[float, ...]
    matrix: Matrix
    centre: tuple[float, ...]

    @classmethod
    def of_canvas(cls, *size: int) -> "SamplingFrame":
        """The frame that samples every pixel of a canvas once."""
        units = tuple(
            min(alike / REFERENCE_SIDE, 1.0) if length > 1 else 0.0
            for length, alike in zip(size, alike_in_slices(size), strict=True)
        )
        return cls(size, size, units, _diagonal([1.0] * len(size)), (0.0,) * len(size))

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.size)

    def resize(self, *size: int) -> "SamplingFrame":
        """Add or remove points at the borders; the middle stays."""
        return replace(self, size=tuple(max(length, 1) for length in size))

    def translate(self, *offset: float) -> "SamplingFrame":
        """Move the middle by (y, x), in a volume (z, y, x), measured in the frame's own points."""
        moved = _multiply(self.matrix, offset)
        return replace(self, centre=tuple(map(add, self.centre, moved)))

    def transform(self, matrix: Matrix) -> "SamplingFrame":
        """Apply a linear map to the points around the middle."""
        columns = [_multiply(self.matrix, matrix[axis :: self.rank]) for axis in range(self.rank)]
        rows = zip(*columns, strict=True)
        return replace(self, matrix=tuple(value for row in rows for value in row))


def _multiply(matrix: Matrix, vector: Sequence[float]) -> tuple[float, ...]:
    rank = len(vector)
    rows = [matrix[start : start + rank] for start in range(0, rank * rank, rank)]
    return tuple(
        reduce(add, (factor * value for factor, value in zip(row, vector, strict=True)))
        for row in rows
    )


def _diagonal(factors: Sequence[float]) -> Matrix:
    """
    >>> _diagonal([2.0, 3.0])
    (2.0, 0.0, 0.0, 3.0)
    """
    return tuple(
        factor if row == column else 0.0
        for row, factor in enumerate(factors)
        for column in range(len(factors))
    )


def _within_slices(matrix: Matrix, rank: int) -> Matrix:
    """A map of rows and columns as one of all axes: in a volume the depth stays.

    >>> _within_slices((1.0, 2.0, 3.0, 4.0), 3)
    (1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 3.0, 4.0)
    """
    front = rank - IMAGE_RANK
    rows = [[float(row == column) for column in range(rank)] for row in range(front)]
    rows += [[0.0] * front + list(row) for row in (matrix[:IMAGE_RANK], matrix[IMAGE_RANK:])]
    return tuple(value for row in rows for value in row)


Transform = Callable[[SamplingFrame, torch.Generator], SamplingFrame]


@dataclass(frozen=True)
class Pad:
    """Add `pixels` of grey on every side."""

    pixels: float

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        del generator
        growths = [2 * round(self.pixels * unit) for unit in frame.units]
        return frame.resize(*map(add, frame.size, growths))


@dataclass(frozen=True)
class Jitter:
    """Crop `pixels` from each axis at a random offset."""

    pixels: float

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        lengths = zip(frame.units, alike_in_slices(frame.size), strict=True)
        cuts = [min(round(self.pixels * unit), length - 1) for unit, length in lengths]
        offset = [
            _random_integer(cut, generator) - cut / 2 if unit else 0.0
            for cut, unit in zip(cuts, frame.units, strict=True)
        ]
        size = [length - cut for length, cut in zip(frame.size, cuts, strict=True)]
        return frame.resize(*size).translate(*offset)


@dataclass(frozen=True)
class Scale:
    """Enlarge the content by a random factor from `low` to `high`; the frame keeps its size."""

    low: float
    high: float

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        factor = 1 / _uniform(self.low, self.high, generator)
        return frame.transform(_diagonal([factor] * frame.rank))


@dataclass(frozen=True)
class Rotate:
    """Rotate the content counter-clockwise by a random angle from `low` to `high` degrees.

    In a volume each slice is rotated.
    """

    low: float
    high: float

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        angle = radians(_uniform(self.low, self.high, generator))
        rotation = cos(angle), sin(angle), -sin(angle), cos(angle)
        return frame.transform(_within_slices(rotation, frame.rank))


@dataclass(frozen=True)
class Crop:
    """Crop a random share of the canvas, and resize it to the canvas's size (Fel et al. 2023)."""

    low: float
    high: float

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        return _crop(frame, [self.low] * frame.rank, self.high, generator)


@dataclass(frozen=True)
class Zoom:
    """Magnify a random crop: at least the share `smallest` of a canvas of 128 pixels or more.

    Of a smaller canvas at least a larger share, so a canvas of few pixels is hardly magnified: a
    class is itself at every size, an edge or a grating of a few pixels is not.
    """

    smallest: float

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        smallest = [1 - (1 - self.smallest) * unit for unit in frame.units]
        return _crop(frame, smallest, 1.0, generator)


def _crop(
    frame: SamplingFrame, low: Sequence[float], high: float, generator: torch.Generator
) -> SamplingFrame:
    """Crop a random share of each axis, from `low` to `high`, at a random place."""
    place = float(torch.rand((), generator=generator, device="cpu"))
    shares = [lowest + (high - lowest) * place for lowest in low]
    offset = [
        _uniform(-(1 - share) / 2, (1 - share) / 2, generator) if unit else 0.0
        for share, unit in zip(shares, frame.units, strict=True)
    ]
    translated = frame.translate(
        *(part * length for part, length in zip(offset, frame.size, strict=True))
    )
    return translated.transform(_diagonal(shares))


@dataclass(frozen=True)
class Trim:
    """Crop or pad to the canvas's size around the middle."""

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        del generator
        return frame.resize(*frame.canvas_size)


def apply_transforms(
    pixels: torch.Tensor, transforms: Sequence[Transform], generator: torch.Generator
) -> torch.Tensor:
    """Transform pixels (batch, channels, height, width), with one random draw for the batch.

    Volumes have a depth before the height.
    """
    if not transforms:
        return pixels
    frame = SamplingFrame.of_canvas(*pixels.shape[2:])
    for transform in transforms:
        frame = transform(frame, generator)
    return sample_frame(pixels, frame)


def sample_frame(pixels: torch.Tensor, frame: SamplingFrame) -> torch.Tensor:
    """Read the pixels at the points of a frame, interpolated linearly along each axis."""
    rank = frame.rank
    along_axes = [
        (torch.arange(length, dtype=torch.float32, device="cpu") - (length - 1) / 2).view(
            [length if other == axis else 1 for other in range(rank)]
        )
        for axis, length in enumerate(frame.size)
    ]
    rows = [frame.matrix[start : start + rank] for start in range(0, rank * rank, rank)]
    places = [
        reduce(add, (factor * points for factor, points in zip(row, along_axes, strict=True)))
        + middle
        for row, middle in zip(rows, frame.centre, strict=True)
    ]
    shares = [
        place * 2 / length if length > 1 else torch.zeros_like(place)
        for place, length in zip(places, pixels.shape[2:], strict=True)
    ]
    grid = torch.stack(shares[::-1], dim=rank).to(pixels)
    batch_grid = grid.expand(len(pixels), *grid.shape)
    samples = F.grid_sample(pixels - GREY, batch_grid, padding_mode="zeros", align_corners=False)
    return samples + GREY


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, device="cpu"))


def _random_integer(highest: int, generator: torch.Generator) -> int:
    """An integer from 0 to `highest`, inclusive."""
    return int(torch.randint(highest + 1, (), generator=generator, device="cpu"))
