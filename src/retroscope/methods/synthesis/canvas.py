"""What a picture is made of: pixels, a spectrum, or the phases of a spectrum.

A canvas gives the numbers that an ascent changes, and the picture, from 0 to 1, that they stand
for. What the numbers are decides which changes are easy: it is the ascent's preconditioner.
"""

from dataclasses import dataclass
from math import pi
from typing import Protocol

import torch

from retroscope.methods.synthesis.colour import coloured, decorrelated
from retroscope.methods.synthesis.squash import squashed, unsquashed

Shape = tuple[int, int, int, int]
"""Pictures, channels, height, width."""
_INSIDE = 1e-3
_MAGIC = 4.0
"""Lucid divides what a spectrum gives by it, so that a start is far from saturated."""


class Canvas(Protocol):
    """Numbers whose first two dimensions are the pictures and the channels."""

    def start(self, shape: Shape, generator: torch.Generator) -> torch.Tensor:
        """Noise to start from."""

    def picture(self, numbers: torch.Tensor, shape: Shape) -> torch.Tensor:
        """What the numbers show."""

    def fitted(self, picture: torch.Tensor) -> torch.Tensor:
        """Numbers that show a picture, as nearly as the canvas can."""

    def settle(self, numbers: torch.Tensor) -> None:
        """Moves numbers that stand for no picture to the nearest that do."""


@dataclass(frozen=True)
class Pixels:
    """Every pixel by itself, as its distance from the middle grey; clipped to black and white."""

    spread: float = 0.01

    def start(self, shape: Shape, generator: torch.Generator) -> torch.Tensor:
        return self.spread * torch.randn(shape, generator=generator)

    def picture(self, numbers: torch.Tensor, shape: Shape) -> torch.Tensor:
        del shape
        return numbers + 0.5

    def fitted(self, picture: torch.Tensor) -> torch.Tensor:
        return picture - 0.5

    def settle(self, numbers: torch.Tensor) -> None:
        numbers.clamp_(-0.5, 0.5)


@dataclass(frozen=True)
class Fourier:
    """A spectrum, low frequencies easy to move, along decorrelated colours (Olah et al. 2017).

    `decay` is the power by which a frequency is scaled down.
    """

    spread: float = 0.01
    decay: float = 1.0
    decorrelated: bool = True

    def start(self, shape: Shape, generator: torch.Generator) -> torch.Tensor:
        batch, channels, height, width = shape
        return self.spread * torch.randn(
            batch, channels, height, width // 2 + 1, 2, generator=generator
        )

    def picture(self, numbers: torch.Tensor, shape: Shape) -> torch.Tensor:
        scale = self._scale(shape[2], shape[3]).to(numbers)
        spectrum = torch.view_as_complex(numbers * scale[..., None])
        planes = torch.fft.irfft2(spectrum, s=shape[2:], norm="ortho") / _MAGIC
        return squashed(coloured(planes) if self.decorrelated else planes)

    def fitted(self, picture: torch.Tensor) -> torch.Tensor:
        planes = unsquashed(picture)
        planes = _MAGIC * (decorrelated(planes) if self.decorrelated else planes)
        spectrum = torch.fft.rfft2(planes, norm="ortho")
        scale = self._scale(picture.shape[2], picture.shape[3]).to(planes)
        return torch.view_as_real(spectrum) / scale[..., None]

    def settle(self, numbers: torch.Tensor) -> None:
        """Every spectrum is a picture."""

    def _scale(self, height: int, width: int) -> torch.Tensor:
        return frequencies(height, width).pow(-self.decay)


@dataclass(frozen=True)
class Phases:
    """Only the phases of a spectrum, whose magnitudes are those of photographs (Fel et al. 2023).

    The original takes the mean magnitudes of a large collection; 1/f is what they come close to.
    """

    decay: float = 1.0

    def start(self, shape: Shape, generator: torch.Generator) -> torch.Tensor:
        batch, channels, height, width = shape
        return pi * torch.randn(batch, channels, height, width // 2 + 1, generator=generator)

    def picture(self, numbers: torch.Tensor, shape: Shape) -> torch.Tensor:
        planes = self.planes(numbers, shape)
        flat = planes - planes.mean((2, 3), keepdim=True)
        spread = flat.std((1, 2, 3), keepdim=True) if flat[0].numel() > 1 else flat.abs() + 1
        return torch.sigmoid(coloured(flat / (spread + 1e-5)))

    def planes(self, numbers: torch.Tensor, shape: Shape) -> torch.Tensor:
        """What the phases show before contrast and colour."""
        magnitudes = frequencies(*shape[2:]).pow(-self.decay).to(numbers).expand_as(numbers)
        spectrum = torch.polar(magnitudes, numbers)
        planes: torch.Tensor = torch.fft.irfft2(spectrum, s=shape[2:], norm="ortho")
        return planes

    def fitted(self, picture: torch.Tensor) -> torch.Tensor:
        spectrum: torch.Tensor = torch.fft.rfft2(decorrelated(_unsquashed(picture)), norm="ortho")
        phases: torch.Tensor = spectrum.angle()
        return phases

    def settle(self, numbers: torch.Tensor) -> None:
        """Every phase is one."""


def frequencies(height: int, width: int) -> torch.Tensor:
    """The frequency of each number of a real spectrum, that of the mean taken for the lowest.

    >>> frequencies(2, 4)[0].tolist()
    [0.25, 0.25, 0.5]
    """
    y, x = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :]
    found: torch.Tensor = (y.square() + x.square()).sqrt()
    return found.clamp(min=1 / max(height, width))


def _unsquashed(picture: torch.Tensor) -> torch.Tensor:
    return torch.logit(picture.clamp(_INSIDE, 1 - _INSIDE))
