"""Image parametrisations: a canvas turns the parameters that are optimised into pixels.

The three canvases are pixels, a Fourier spectrum, and the phases of a spectrum (lucid's
`param.image` and its `fft` and `decorrelate` options). The choice decides which changes are easy to
make: it is a preconditioner for the ascent.
"""

from dataclasses import dataclass
from math import pi, sqrt
from typing import Protocol

import torch

from retroscope.methods.synthesis.colour_space import (
    bounded_logit,
    bounded_sigmoid,
    correlate_colours,
    decorrelate_colours,
)

Shape = tuple[int, int, int, int]
"""(batch, channels, height, width) of the pixels."""
_LOGIT_MARGIN = 1e-3
_LUCID_DIVISOR = 4.0
"""Lucid divides the inverse transform by it, so the starting noise is far from saturated."""


class Canvas(Protocol):
    """A parametrisation; the first two dimensions of its parameters are batch and channels."""

    def initialise(self, shape: Shape, generator: torch.Generator) -> torch.Tensor:
        """Draw random parameters to start from."""

    def to_pixels(self, parameters: torch.Tensor, shape: Shape) -> torch.Tensor:
        """Decode parameters to pixels from 0 to 1."""

    def from_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode pixels as parameters, as closely as the canvas can."""

    def clamp_(self, parameters: torch.Tensor) -> None:
        """Move parameters outside the canvas's range to the nearest valid ones, in place."""


@dataclass(frozen=True)
class PixelCanvas:
    """One parameter per pixel and channel: the distance from middle grey, clamped to the range."""

    spread: float = 0.01

    def initialise(self, shape: Shape, generator: torch.Generator) -> torch.Tensor:
        return self.spread * torch.randn(shape, generator=generator)

    def to_pixels(self, parameters: torch.Tensor, shape: Shape) -> torch.Tensor:
        del shape
        return parameters + 0.5

    def from_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels - 0.5

    def clamp_(self, parameters: torch.Tensor) -> None:
        parameters.clamp_(-0.5, 0.5)


@dataclass(frozen=True)
class FourierCanvas:
    """A spectrum with boosted low frequencies, along decorrelated colours (Olah et al. 2017).

    Each frequency is scaled by its `-decay`th power, and each colour axis by its spread in
    photographs, so the ascent moves pure colours slowly. That holds back noise. A canvas smaller
    than `full_decay_side` has little noise and few steps to find a colour: its axes are scaled by
    the spread to the power of the square root of side / `full_decay_side`.
    """

    spread: float = 0.01
    decay: float = 1.0
    decorrelated: bool = True
    full_decay_side: int = 1

    def initialise(self, shape: Shape, generator: torch.Generator) -> torch.Tensor:
        batch, channels, height, width = shape
        return self.spread * torch.randn(
            batch, channels, height, width // 2 + 1, 2, generator=generator
        )

    def to_pixels(self, parameters: torch.Tensor, shape: Shape) -> torch.Tensor:
        scale = self._scale(shape[2], shape[3]).to(parameters)
        spectrum = torch.view_as_complex(parameters * scale[..., None])
        planes = torch.fft.irfft2(spectrum, s=shape[2:], norm="ortho") / _LUCID_DIVISOR
        decay = self._colour_decay(shape[2], shape[3])
        return bounded_sigmoid(correlate_colours(planes, decay) if self.decorrelated else planes)

    def from_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        planes, (height, width) = bounded_logit(pixels), pixels.shape[2:]
        if self.decorrelated:
            planes = decorrelate_colours(planes, self._colour_decay(height, width))
        spectrum = torch.fft.rfft2(_LUCID_DIVISOR * planes, norm="ortho")
        scale = self._scale(height, width).to(planes)
        return torch.view_as_real(spectrum) / scale[..., None]

    def clamp_(self, parameters: torch.Tensor) -> None:
        """Every spectrum is valid."""

    def _scale(self, height: int, width: int) -> torch.Tensor:
        return frequencies(height, width).pow(-self.decay)

    def _colour_decay(self, height: int, width: int) -> float:
        return min(sqrt(min(height, width) / self.full_decay_side), 1.0)


@dataclass(frozen=True)
class PhaseCanvas:
    """Only the phases of a spectrum; its magnitudes are those of photographs (Fel et al. 2023).

    The paper uses the mean magnitudes of a large image collection. Here they are 1/f, which those
    approximate.
    """

    decay: float = 1.0

    def initialise(self, shape: Shape, generator: torch.Generator) -> torch.Tensor:
        batch, channels, height, width = shape
        return pi * torch.randn(batch, channels, height, width // 2 + 1, generator=generator)

    def to_pixels(self, parameters: torch.Tensor, shape: Shape) -> torch.Tensor:
        planes = self.decorrelated_planes(parameters, shape)
        centred = planes - planes.mean((2, 3), keepdim=True)
        is_single_value = centred[0].numel() == 1
        spread = centred.abs() + 1 if is_single_value else centred.std((1, 2, 3), keepdim=True)
        return torch.sigmoid(correlate_colours(centred / (spread + 1e-5)))

    def decorrelated_planes(self, parameters: torch.Tensor, shape: Shape) -> torch.Tensor:
        """The inverse transform of the phases, before contrast and colour are applied."""
        magnitudes = frequencies(*shape[2:]).pow(-self.decay).to(parameters).expand_as(parameters)
        spectrum = torch.polar(magnitudes, parameters)
        planes: torch.Tensor = torch.fft.irfft2(spectrum, s=shape[2:], norm="ortho")
        return planes

    def from_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        logits = torch.logit(pixels.clamp(_LOGIT_MARGIN, 1 - _LOGIT_MARGIN))
        spectrum: torch.Tensor = torch.fft.rfft2(decorrelate_colours(logits), norm="ortho")
        phases: torch.Tensor = spectrum.angle()
        return phases

    def clamp_(self, parameters: torch.Tensor) -> None:
        """Every phase is valid."""


def frequencies(height: int, width: int) -> torch.Tensor:
    """The frequency of each coefficient of a real spectrum; the mean counts as the lowest one.

    >>> frequencies(2, 4)[0].tolist()
    [0.25, 0.25, 0.5]
    """
    y, x = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :]
    magnitude: torch.Tensor = (y.square() + x.square()).sqrt()
    return magnitude.clamp(min=1 / max(height, width))
