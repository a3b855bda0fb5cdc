"""How much a projection depends on the image, on the unit and on the weights."""

from copy import deepcopy
from math import nan

import numpy as np
import torch
from torch import nn

from retroscope.network import Network
from retroscope.results.projections import Pixels


def dependence(first: Pixels, second: Pixels) -> float:
    """1 - |cosine| between two projections of one box: 0 if they show the same.

    NaN if one of them is zero everywhere, as where a unit does not fire.

    >>> stripe = np.float32([[[1], [0]]])
    >>> dependence(stripe, -stripe), dependence(stripe, stripe[:, ::-1])
    (0.0, 1.0)
    """
    a, b = (pixels.ravel().astype(np.float64) for pixels in (first, second))
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not lengths > 0:
        return nan
    return max(0.0, 1 - abs(float(a @ b)) / lengths)


def strongest_other(values: torch.Tensor, channel: int) -> int | None:
    """The strongest of the other channels at a position, the first of several.

    None if there is no other, or none of them fires.
    """
    others = torch.where(values.isfinite(), values, -torch.inf).clone()
    others[channel] = -torch.inf
    best = int(others.argmax())
    return best if others[best] > 0 else None


def random_twin(net: Network, seed: int) -> Network:
    """The same network with random weights.

    Each weight with two or more dimensions is drawn from a normal distribution around 0 with the
    root mean square that it has; biases and norms stay.
    """
    module = deepcopy(net.module)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.copy_(redraw_weights(parameter, generator))
    return net.with_module(module, net.preprocessing.fit)


def redraw_weights(parameter: nn.Parameter, generator: torch.Generator) -> torch.Tensor:
    """Normal numbers around 0 with the root mean square of a parameter."""
    values = parameter.detach().double().cpu()
    noise = torch.randn(values.shape, generator=generator, dtype=torch.float64, device="cpu")
    return (noise * values.square().mean().sqrt()).to(parameter)
