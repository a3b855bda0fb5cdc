"""Numbers without bounds as pixels from black to white, and back."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

WHITE = 1.5
"""The number that is white; minus it is black. Between them a sigmoid, stretched to reach both."""
_STRETCH = float(0.5 / (torch.tensor(WHITE).double().sigmoid() - 0.5))


class _Bounded(torch.autograd.Function):
    """Numbers cut at black and white, where a gradient that leads on outwards ends.

    One that leads back inwards passes whole. Beyond the flat ends of a plain sigmoid nothing comes
    back, so that a pixel that was first driven to black stays there for good, whatever it should
    become: light and dark, which are quick, would always win over colour, which is slow.
    """

    @staticmethod
    def forward(ctx: Any, numbers: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(numbers)
        return numbers.clamp(-WHITE, WHITE)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upwards: torch.Tensor) -> torch.Tensor:
        """`upwards` is the gradient of what is to be raised."""
        (numbers,) = ctx.saved_tensors
        outwards = (numbers.abs() >= WHITE) & (numbers * upwards > 0)
        return upwards.masked_fill(outwards, 0)


def squashed(numbers: torch.Tensor) -> torch.Tensor:
    """Pixels from 0 to 1, for an ascent.

    >>> [round(float(pixel), 3) for pixel in squashed(torch.tensor([-9.0, -1.5, 0.0, 0.75, 9.0]))]
    [0.0, 0.0, 0.5, 0.782, 1.0]
    """
    bounded: torch.Tensor = _Bounded.apply(numbers)
    return (bounded.sigmoid() - 0.5) * _STRETCH + 0.5


def unsquashed(pixels: torch.Tensor) -> torch.Tensor:
    """The inverse of `squashed`."""
    return torch.logit((pixels - 0.5) / _STRETCH + 0.5)
