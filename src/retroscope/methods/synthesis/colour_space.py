"""From unbounded parameters to RGB and back: decorrelated colour axes and a bounded sigmoid.

What lucid calls `color.to_valid_rgb`.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

_COVARIANCE_ROOT = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""A square root of the RGB covariance of photographs (Olah et al. 2017)."""
_LONGEST_COLUMN = 0.46195
"""The norm of its longest column. Dividing by it stretches no axis."""
WHITE = 1.5
"""The parameter value of white; black is its negative."""
_SIGMOID_SCALE = float(0.5 / (torch.tensor(WHITE).double().sigmoid() - 0.5))
"""Stretches the sigmoid so it reaches 0 and 1 at black and white."""


def colour_matrix(channels: int, decay: float = 1.0) -> torch.Tensor:
    """RGB of each decorrelated axis, one row per colour; the identity unless there are 3 channels.

    The length of an axis is the spread of photographs along it, relative to that of brightness, to
    the power of `decay`: 1, .28 and .13 with a decay of 1, all 1 with a decay of 0.

    >>> colour_matrix(1).tolist()
    [[1.0]]
    >>> [round(float(length), 2) for length in colour_matrix(3, decay=0.5).norm(dim=0)]
    [1.0, 0.52, 0.37]
    """
    if channels != 3:
        return torch.eye(channels, device="cpu")
    matrix = torch.tensor(_COVARIANCE_ROOT, device="cpu") / _LONGEST_COLUMN
    lengths: torch.Tensor = torch.linalg.vector_norm(matrix, dim=0)
    return matrix * lengths.pow(decay - 1)


def correlate_colours(planes: torch.Tensor, decay: float = 1.0) -> torch.Tensor:
    """Convert planes along decorrelated axes (batch, channels, height, width) to RGB."""
    matrix = colour_matrix(planes.shape[1], decay).to(planes)
    return torch.einsum("rc,nc...->nr...", matrix, planes)


def decorrelate_colours(colours: torch.Tensor, decay: float = 1.0) -> torch.Tensor:
    """Convert RGB to decorrelated axes; the inverse of `correlate_colours`."""
    matrix = torch.linalg.inv(colour_matrix(colours.shape[1], decay).double()).to(colours)
    return torch.einsum("cr,nr...->nc...", matrix, colours)


class _ClampWithReturnGradient(torch.autograd.Function):
    """A clamp to black and white that blocks only the gradients pointing further out.

    The flat ends of a plain sigmoid return no gradient, so a pixel driven to black early stays
    black for good: brightness, which changes fast, always wins over colour, which changes slowly.
    Here a gradient that points back into the range passes unchanged.
    """

    @staticmethod
    def forward(ctx: Any, parameters: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(parameters)
        return parameters.clamp(-WHITE, WHITE)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        """Block outward gradients; `gradient` is that of an objective to maximise."""
        (parameters,) = ctx.saved_tensors
        outward = (parameters.abs() >= WHITE) & (parameters * gradient > 0)
        return gradient.masked_fill(outward, 0)


def bounded_sigmoid(parameters: torch.Tensor) -> torch.Tensor:
    """Map parameters to pixels from 0 to 1, both ends included, for gradient ascent.

    >>> values = torch.tensor([-9.0, -1.5, 0.0, 0.75, 9.0])
    >>> [round(float(pixel), 3) for pixel in bounded_sigmoid(values)]
    [0.0, 0.0, 0.5, 0.782, 1.0]
    """
    clamped: torch.Tensor = _ClampWithReturnGradient.apply(parameters)
    return (clamped.sigmoid() - 0.5) * _SIGMOID_SCALE + 0.5


def bounded_logit(pixels: torch.Tensor) -> torch.Tensor:
    """Map pixels to parameters; the inverse of `bounded_sigmoid`."""
    return torch.logit((pixels - 0.5) / _SIGMOID_SCALE + 0.5)
