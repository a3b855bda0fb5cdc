"""Decorrelated colour: axes along which the colours of photographs vary independently."""

import torch

_SPREAD = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""A square root of the covariance of photographs' red, green and blue (Olah et al. 2017)."""
_LARGEST = 0.46195
"""The norm of its longest column, so that no axis is stretched."""


def colour_matrix(channels: int) -> torch.Tensor:
    """Red, green and blue of each axis, a row for each colour; none but itself for other channels.

    >>> colour_matrix(1).tolist()
    [[1.0]]
    """
    if channels != 3:
        return torch.eye(channels)
    return torch.tensor(_SPREAD) / _LARGEST


def coloured(planes: torch.Tensor) -> torch.Tensor:
    """Planes along the axes (batch, channels, height, width) as red, green and blue."""
    matrix = colour_matrix(planes.shape[1]).to(planes)
    return torch.einsum("rc,nchw->nrhw", matrix, planes)


def decorrelated(colours: torch.Tensor) -> torch.Tensor:
    """The inverse of `coloured`."""
    matrix = torch.linalg.inv(colour_matrix(colours.shape[1]).double()).to(colours)
    return torch.einsum("cr,nrhw->nchw", matrix, colours)
