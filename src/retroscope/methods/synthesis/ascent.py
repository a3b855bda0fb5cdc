"""How the numbers of a canvas are changed, step by step, so that the objective rises."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

Settle = Callable[[torch.Tensor, int], torch.Tensor]
"""New numbers for old ones after a step; steps count from 1. Zero is the middle grey."""


@dataclass(frozen=True)
class Decay:
    """Everything a little nearer to grey (Yosinski et al. 2015)."""

    share: float

    def __call__(self, numbers: torch.Tensor, step: int) -> torch.Tensor:
        del step
        return numbers.mul(1 - self.share)


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur every so many steps: high frequencies must be worth it."""

    width: float
    every: int

    def __call__(self, numbers: torch.Tensor, step: int) -> torch.Tensor:
        return numbers if step % self.every else blurred(numbers, self.width)


@dataclass(frozen=True)
class ClipNorms:
    """Grey where a pixel's colour is among the faintest, by this share of all pixels."""

    share: float

    def __call__(self, numbers: torch.Tensor, step: int) -> torch.Tensor:
        del step
        norms = numbers.norm(dim=1, keepdim=True)
        limits = norms.flatten(1).quantile(self.share, dim=1)
        return torch.where(norms >= limits[:, None, None, None], numbers, 0)


def blurred(pictures: torch.Tensor, width: float) -> torch.Tensor:
    """A Gaussian blur with this standard deviation, the borders held."""
    reach = max(round(3 * width), 1)
    places = torch.arange(-reach, reach + 1, dtype=pictures.dtype, device=pictures.device)
    bell = torch.exp(-places.square() / (2 * width**2))
    channels = pictures.shape[1]
    bell = (bell / bell.sum()).expand(channels, 1, -1)
    padded = F.pad(pictures, [reach] * 4, mode="replicate")
    rows = F.conv2d(padded, bell[..., None], groups=channels)
    return F.conv2d(rows, bell[:, :, None], groups=channels)


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "nadam": torch.optim.NAdam,
    "gradient": torch.optim.SGD,
}


@dataclass(frozen=True)
class Ascent:
    """So many steps by a rule of `OPTIMISERS`, at a rate.

    `normalised` divides each picture's gradient by its root mean square first, so that a rate means
    the same for every unit; `options` are the rule's own. `after` changes the numbers after each
    step.
    """

    rule: str
    rate: float
    steps: int
    normalised: bool = False
    after: tuple[Settle, ...] = ()
    options: tuple[tuple[str, float], ...] = ()

    def optimiser(self, numbers: torch.Tensor) -> torch.optim.Optimizer:
        """What will change these numbers."""
        return OPTIMISERS[self.rule]([numbers], lr=self.rate, maximize=True, **dict(self.options))

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """What the optimiser is given for a gradient, row by row."""
        if not self.normalised:
            return gradient
        dims = tuple(range(1, gradient.dim()))
        size = gradient.square().mean(dims, keepdim=True).sqrt()
        return gradient / (size + _LEAST)


_LEAST = 1e-12


def stepped(
    optimiser: torch.optim.Optimizer, numbers: torch.Tensor, gradient: torch.Tensor
) -> None:
    """One step of an optimiser along a gradient."""
    numbers.grad = gradient
    optimiser.step()
    numbers.grad = None
