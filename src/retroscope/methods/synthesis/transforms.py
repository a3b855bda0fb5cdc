"""Small random changes that a pattern must survive, so that it is no noise for one pixel grid.

Each transform moves a frame, which says where every pixel that the network sees lies on the
canvas; the frame is then read once, whatever number of transforms made it. Lengths are those for a
canvas of 128 pixels and shrink with a smaller one. Outside of the canvas it is middle grey.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import cos, radians, sin

import torch
import torch.nn.functional as F

GREY = 0.5
USUAL = 128
"""The side of the canvas that lengths are given for."""

Matrix = tuple[float, float, float, float]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Frame:
    """What is seen of a canvas: so many pixels, and where each lies.

    The pixel at (y, x) from the frame's middle lies at `matrix @ (y, x) + centre` from the
    canvas's. `unit` is a length of 1 on this canvas.
    """

    height: int
    width: int
    canvas: tuple[int, int]
    unit: float = 1.0
    matrix: Matrix = IDENTITY
    centre: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, height: int, width: int) -> "Frame":
        """All of a canvas, as it is."""
        return cls(height, width, (height, width), min(min(height, width) / USUAL, 1.0))

    def resized(self, height: int, width: int) -> "Frame":
        """More or less of the canvas around the same middle."""
        return replace(self, height=max(height, 1), width=max(width, 1))

    def moved(self, y: float, x: float) -> "Frame":
        """The frame with its middle elsewhere, in its own pixels."""
        down, right = _times(self.matrix, y, x)
        return replace(self, centre=(self.centre[0] + down, self.centre[1] + right))

    def turned(self, matrix: Matrix) -> "Frame":
        """The frame with its pixels read at other places around its middle."""
        first = _times(self.matrix, matrix[0], matrix[2])
        second = _times(self.matrix, matrix[1], matrix[3])
        return replace(self, matrix=(first[0], second[0], first[1], second[1]))


def _times(matrix: Matrix, y: float, x: float) -> tuple[float, float]:
    a, b, c, d = matrix
    return a * y + b * x, c * y + d * x


Transform = Callable[[Frame, torch.Generator], Frame]


@dataclass(frozen=True)
class Pad:
    """Grey on all sides."""

    pixels: float

    def __call__(self, frame: Frame, generator: torch.Generator) -> Frame:
        del generator
        grown = 2 * round(self.pixels * frame.unit)
        return frame.resized(frame.height + grown, frame.width + grown)


@dataclass(frozen=True)
class Jitter:
    """A random crop that is so many pixels smaller."""

    pixels: float

    def __call__(self, frame: Frame, generator: torch.Generator) -> Frame:
        room = round(self.pixels * frame.unit)
        room = min(room, frame.height - 1, frame.width - 1)
        y, x = (_whole(room, generator) - room / 2 for _ in range(2))
        return frame.resized(frame.height - room, frame.width - room).moved(y, x)


@dataclass(frozen=True)
class Scale:
    """Larger or smaller by a random factor, the frame staying what it is."""

    least: float
    most: float

    def __call__(self, frame: Frame, generator: torch.Generator) -> Frame:
        factor = 1 / _between(self.least, self.most, generator)
        return frame.turned((factor, 0.0, 0.0, factor))


@dataclass(frozen=True)
class Rotate:
    """Turned by a random angle, in degrees."""

    least: float
    most: float

    def __call__(self, frame: Frame, generator: torch.Generator) -> Frame:
        angle = radians(_between(self.least, self.most, generator))
        return frame.turned((cos(angle), sin(angle), -sin(angle), cos(angle)))


@dataclass(frozen=True)
class Crop:
    """A random crop of a random share of the canvas, enlarged to its size (Fel et al. 2023)."""

    least: float
    most: float

    def __call__(self, frame: Frame, generator: torch.Generator) -> Frame:
        share = _between(self.least, self.most, generator)
        room = (1 - share) / 2
        y, x = (_between(-room, room, generator) for _ in range(2))
        moved = frame.moved(y * frame.height, x * frame.width)
        return moved.turned((share, 0.0, 0.0, share))


@dataclass(frozen=True)
class Trim:
    """Back to the size of the canvas, around the middle: nobody looks at more."""

    def __call__(self, frame: Frame, generator: torch.Generator) -> Frame:
        del generator
        return frame.resized(*frame.canvas)


def seen(
    pictures: torch.Tensor, transforms: Sequence[Transform], generator: torch.Generator
) -> torch.Tensor:
    """The pictures (batch, channels, height, width) after one draw of the transforms."""
    if not transforms:
        return pictures
    frame = Frame.of(*pictures.shape[2:])
    for transform in transforms:
        frame = transform(frame, generator)
    return read(pictures, frame)


def read(pictures: torch.Tensor, frame: Frame) -> torch.Tensor:
    """What a frame shows of each picture, interpolated between pixels."""
    height, width = pictures.shape[2:]
    a, b, c, d = frame.matrix
    y, x = (
        torch.arange(length, dtype=torch.float32) - (length - 1) / 2
        for length in (frame.height, frame.width)
    )
    down = a * y[:, None] + b * x[None, :] + frame.centre[0]
    right = c * y[:, None] + d * x[None, :] + frame.centre[1]
    grid = torch.stack((right * 2 / width, down * 2 / height), dim=2).to(pictures)
    places = grid.expand(len(pictures), -1, -1, -1)
    found = F.grid_sample(pictures - GREY, places, padding_mode="zeros", align_corners=False)
    return found + GREY


def _between(least: float, most: float, generator: torch.Generator) -> float:
    return least + (most - least) * float(torch.rand((), generator=generator))


def _whole(most: int, generator: torch.Generator) -> int:
    return int(torch.randint(most + 1, (), generator=generator))
