"""Random transforms that a pattern must survive (lucid's `transform`).

A transform moves a sampling frame: the grid of points of the canvas that become the network's
input. The frame is sampled once, after all transforms of a recipe have moved it. Lengths are given
for a canvas of 128 pixels and shrink with smaller canvases. Outside the canvas is middle grey.

    canvas                      frame after Rotate(10, 10) and Jitter(8)
    +-----------------+
    |     . . . .     |         each `.` is one pixel of the network's input: its place on the
    |   . . . .       |         canvas is `matrix @ (y, x) + centre`, measured from the canvas's
    | . . . .         |         middle
    +-----------------+
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import cos, radians, sin

import torch
import torch.nn.functional as F

GREY = 0.5
REFERENCE_SIDE = 128
"""The canvas side that transform lengths are given for."""

Matrix = tuple[float, float, float, float]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class SamplingFrame:
    """A grid of height x width points on a canvas.

    The point at (y, x) from the frame's middle lies at `matrix @ (y, x) + centre` from the
    canvas's middle. `unit` is the length on this canvas of one reference pixel.
    """

    height: int
    width: int
    canvas_size: tuple[int, int]
    unit: float = 1.0
    matrix: Matrix = IDENTITY
    centre: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of_canvas(cls, height: int, width: int) -> "SamplingFrame":
        """The frame that samples every pixel of a canvas once."""
        unit = min(min(height, width) / REFERENCE_SIDE, 1.0)
        return cls(height, width, (height, width), unit)

    def resize(self, height: int, width: int) -> "SamplingFrame":
        """Add or remove points at the borders; the middle stays."""
        return replace(self, height=max(height, 1), width=max(width, 1))

    def translate(self, y: float, x: float) -> "SamplingFrame":
        """Move the middle by (y, x), measured in the frame's own points."""
        down, right = _multiply(self.matrix, y, x)
        return replace(self, centre=(self.centre[0] + down, self.centre[1] + right))

    def transform(self, matrix: Matrix) -> "SamplingFrame":
        """Apply a linear map to the points around the middle."""
        y_axis = _multiply(self.matrix, matrix[0], matrix[2])
        x_axis = _multiply(self.matrix, matrix[1], matrix[3])
        return replace(self, matrix=(y_axis[0], x_axis[0], y_axis[1], x_axis[1]))


def _multiply(matrix: Matrix, y: float, x: float) -> tuple[float, float]:
    a, b, c, d = matrix
    return a * y + b * x, c * y + d * x


Transform = Callable[[SamplingFrame, torch.Generator], SamplingFrame]


@dataclass(frozen=True)
class Pad:
    """Add `pixels` of grey on every side."""

    pixels: float

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        del generator
        growth = 2 * round(self.pixels * frame.unit)
        return frame.resize(frame.height + growth, frame.width + growth)


@dataclass(frozen=True)
class Jitter:
    """Crop `pixels` from height and width at a random offset."""

    pixels: float

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        shrinkage = round(self.pixels * frame.unit)
        shrinkage = min(shrinkage, frame.height - 1, frame.width - 1)
        y, x = (_random_integer(shrinkage, generator) - shrinkage / 2 for _ in range(2))
        return frame.resize(frame.height - shrinkage, frame.width - shrinkage).translate(y, x)


@dataclass(frozen=True)
class Scale:
    """Enlarge the content by a random factor from `low` to `high`; the frame keeps its size."""

    low: float
    high: float

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        factor = 1 / _uniform(self.low, self.high, generator)
        return frame.transform((factor, 0.0, 0.0, factor))


@dataclass(frozen=True)
class Rotate:
    """Rotate the content counter-clockwise by a random angle from `low` to `high` degrees."""

    low: float
    high: float

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        angle = radians(_uniform(self.low, self.high, generator))
        return frame.transform((cos(angle), sin(angle), -sin(angle), cos(angle)))


@dataclass(frozen=True)
class Crop:
    """Crop a random share of the canvas, and resize it to the canvas's size (Fel et al. 2023)."""

    low: float
    high: float

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        share = _uniform(self.low, self.high, generator)
        margin = (1 - share) / 2
        y, x = (_uniform(-margin, margin, generator) for _ in range(2))
        translated = frame.translate(y * frame.height, x * frame.width)
        return translated.transform((share, 0.0, 0.0, share))


@dataclass(frozen=True)
class Zoom:
    """Magnify a random crop: at least the share `smallest` of a canvas of 128 pixels or more.

    Of a smaller canvas at least a larger share, so a canvas of few pixels is hardly magnified: a
    class is itself at every size, an edge or a grating of a few pixels is not.
    """

    smallest: float

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        return Crop(1 - (1 - self.smallest) * frame.unit, 1.0)(frame, generator)


@dataclass(frozen=True)
class Trim:
    """Crop or pad to the canvas's size around the middle."""

    def __call__(self, frame: SamplingFrame, generator: torch.Generator) -> SamplingFrame:
        del generator
        return frame.resize(*frame.canvas_size)


def apply_transforms(
    pixels: torch.Tensor, transforms: Sequence[Transform], generator: torch.Generator
) -> torch.Tensor:
    """Transform pixels (batch, channels, height, width), with one random draw for the batch."""
    if not transforms:
        return pixels
    frame = SamplingFrame.of_canvas(*pixels.shape[2:])
    for transform in transforms:
        frame = transform(frame, generator)
    return sample_frame(pixels, frame)


def sample_frame(pixels: torch.Tensor, frame: SamplingFrame) -> torch.Tensor:
    """Read the pixels at the points of a frame, with bilinear interpolation."""
    height, width = pixels.shape[2:]
    a, b, c, d = frame.matrix
    y, x = (
        torch.arange(length, dtype=torch.float32) - (length - 1) / 2
        for length in (frame.height, frame.width)
    )
    down = a * y[:, None] + b * x[None, :] + frame.centre[0]
    right = c * y[:, None] + d * x[None, :] + frame.centre[1]
    grid = torch.stack((right * 2 / width, down * 2 / height), dim=2).to(pixels)
    batch_grid = grid.expand(len(pixels), -1, -1, -1)
    samples = F.grid_sample(pixels - GREY, batch_grid, padding_mode="zeros", align_corners=False)
    return samples + GREY


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _random_integer(highest: int, generator: torch.Generator) -> int:
    """An integer from 0 to `highest`, inclusive."""
    return int(torch.randint(highest + 1, (), generator=generator))
