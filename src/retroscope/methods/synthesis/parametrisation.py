"""Image parametrisations: a canvas turns the parameters that are optimised into pixels.

The three canvases are pixels, a Fourier spectrum, and the phases of a spectrum (lucid's
`param.image` and its `fft` and `decorrelate` options). The choice decides which changes are easy to
make: it is a preconditioner for the ascent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import pi, sqrt
from operator import add
from typing import Protocol

import torch

from retroscope.geometry import IMAGE_RANK
from retroscope.methods.synthesis.colour_space import (
    bounded_logit,
    bounded_sigmoid,
    correlate_colours,
    decorrelate_colours,
)

Shape = tuple[int, ...]
"""(batch, channels, height, width) of the pixels; of volumes with the depth before the height."""
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
        return self.spread * torch.randn(shape, generator=generator, device="cpu")

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
        return self.spread * torch.randn(
            *_spectrum_shape(shape), 2, generator=generator, device="cpu"
        )

    def to_pixels(self, parameters: torch.Tensor, shape: Shape) -> torch.Tensor:
        scale = self._scale(shape[2:]).to(parameters)
        spectrum = torch.view_as_complex(parameters * scale[..., None])
        planes = from_spectrum(spectrum, shape[2:]) / _LUCID_DIVISOR
        decay = self._colour_decay(shape[2:])
        return bounded_sigmoid(correlate_colours(planes, decay) if self.decorrelated else planes)

    def from_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        planes, size = bounded_logit(pixels), pixels.shape[2:]
        if self.decorrelated:
            planes = decorrelate_colours(planes, self._colour_decay(size))
        spectrum = to_spectrum(_LUCID_DIVISOR * planes)
        scale = self._scale(size).to(planes)
        return torch.view_as_real(spectrum) / scale[..., None]

    def clamp_(self, parameters: torch.Tensor) -> None:
        """Every spectrum is valid."""

    def _scale(self, size: Sequence[int]) -> torch.Tensor:
        return frequencies(*size).pow(-self.decay)

    def _colour_decay(self, size: Sequence[int]) -> float:
        side = min(size[-IMAGE_RANK:])  # of a slice, which is what colours are seen in
        return min(sqrt(side / self.full_decay_side), 1.0)


@dataclass(frozen=True)
class PhaseCanvas:
    """Only the phases of a spectrum; its magnitudes are those of photographs (Fel et al. 2023).

    The paper uses the mean magnitudes of a large image collection. Here they are 1/f, which those
    approximate.
    """

    decay: float = 1.0

    def initialise(self, shape: Shape, generator: torch.Generator) -> torch.Tensor:
        return pi * torch.randn(_spectrum_shape(shape), generator=generator, device="cpu")

    def to_pixels(self, parameters: torch.Tensor, shape: Shape) -> torch.Tensor:
        planes = self.decorrelated_planes(parameters, shape)
        axes = tuple(range(2, planes.dim()))
        centred = planes - planes.mean(axes, keepdim=True)
        is_single_value = centred[0].numel() == 1
        spread = centred.abs() + 1 if is_single_value else centred.std((1, *axes), keepdim=True)
        return torch.sigmoid(correlate_colours(centred / (spread + 1e-5)))

    def decorrelated_planes(self, parameters: torch.Tensor, shape: Shape) -> torch.Tensor:
        """The inverse transform of the phases, before contrast and colour are applied."""
        magnitudes = frequencies(*shape[2:]).pow(-self.decay).to(parameters).expand_as(parameters)
        spectrum = torch.polar(magnitudes, parameters)
        return from_spectrum(spectrum, shape[2:])

    def from_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        logits = torch.logit(pixels.clamp(_LOGIT_MARGIN, 1 - _LOGIT_MARGIN))
        return to_spectrum(decorrelate_colours(logits)).angle()

    def clamp_(self, parameters: torch.Tensor) -> None:
        """Every phase is valid."""


def _spectrum_shape(shape: Shape) -> Shape:
    """The shape of the real spectrum of pixels of this shape."""
    return (*shape[:-1], shape[-1] // 2 + 1)


def from_spectrum(spectrum: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """The planes (batch, channels, height, width) of a real spectrum."""
    axes = tuple(range(2, 2 + len(size)))
    planes: torch.Tensor = torch.fft.irfftn(spectrum, s=tuple(size), dim=axes, norm="ortho")
    return planes


def to_spectrum(planes: torch.Tensor) -> torch.Tensor:
    """The real spectrum of planes (batch, channels, height, width)."""
    spectrum: torch.Tensor = torch.fft.rfftn(
        planes, dim=tuple(range(2, planes.dim())), norm="ortho"
    )
    return spectrum


def frequencies(*size: int) -> torch.Tensor:
    """The frequency of each coefficient of a real spectrum; the mean counts as the lowest one.

    >>> frequencies(2, 4)[0].tolist()
    [0.25, 0.25, 0.5]
    """
    *front, width = size
    along_axes = [torch.fft.fftfreq(length, device="cpu") for length in front]
    along_axes.append(torch.fft.rfftfreq(width, device="cpu"))
    squares = [
        values.square().view([len(values) if other == axis else 1 for other in range(len(size))])
        for axis, values in enumerate(along_axes)
    ]
    magnitude: torch.Tensor = reduce(add, squares).sqrt()
    return magnitude.clamp(min=1 / max(size))
