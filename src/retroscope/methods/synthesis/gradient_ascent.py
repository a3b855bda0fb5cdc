"""Gradient ascent: the optimiser of a recipe, and the regularisers applied after each step."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from retroscope.errors import choose
from retroscope.methods.gaussian_blur import gaussian_blur

Regulariser = Callable[[torch.Tensor, int], torch.Tensor]
"""Returns new parameters for those after a step, counted from 1. Zero is middle grey."""


@dataclass(frozen=True)
class Decay:
    """L2 decay: shrink all parameters towards grey by this share (Yosinski et al. 2015)."""

    share: float

    def __call__(self, parameters: torch.Tensor, step: int) -> torch.Tensor:
        del step
        return parameters.mul(1 - self.share)


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur of standard deviation `width` at every `every`th step.

    It penalises high frequencies (Yosinski et al. 2015).
    """

    width: float
    every: int

    def __call__(self, parameters: torch.Tensor, step: int) -> torch.Tensor:
        return (
            parameters
            if step % self.every
            else gaussian_blur(parameters, self.width, radius=max(round(3 * self.width), 1))
        )


@dataclass(frozen=True)
class ClipNorms:
    """Set the given share of pixels, those with the smallest norm over channels, to grey."""

    share: float

    def __call__(self, parameters: torch.Tensor, step: int) -> torch.Tensor:
        del step
        norms = parameters.norm(dim=1, keepdim=True)
        thresholds = norms.flatten(1).quantile(self.share, dim=1)
        return torch.where(norms >= thresholds.view(-1, *[1] * (norms.dim() - 1)), parameters, 0)


OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "nadam": torch.optim.NAdam,
    "gradient": torch.optim.SGD,
}


@dataclass(frozen=True)
class GradientAscent:
    """A number of steps with an optimiser from `OPTIMISERS`.

    `normalise_gradient` divides each image's gradient by its root mean square before the step, so
    one learning rate fits every unit. `optimiser_options` are keyword arguments of the torch
    optimiser. `regularisers` run in order after each step. In the last share `cooldown` of the
    steps the learning rate falls to zero, so noise that no transform confirms is averaged away.
    """

    optimiser_name: str
    learning_rate: float
    steps: int
    normalise_gradient: bool = False
    regularisers: tuple[Regulariser, ...] = ()
    optimiser_options: tuple[tuple[str, float], ...] = ()
    cooldown: float = 0.0

    def make_optimiser(self, parameters: torch.Tensor) -> torch.optim.Optimizer:
        """A torch optimiser that maximises over these parameters."""
        optimiser = choose("optimiser", self.optimiser_name, OPTIMISERS)
        options = dict(self.optimiser_options)
        return optimiser([parameters], lr=self.learning_rate, maximize=True, **options)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 1.

        >>> ascent = GradientAscent("adam", learning_rate=0.1, steps=8, cooldown=0.5)
        >>> [ascent.learning_rate_at(step) for step in (1, 5, 7, 8)]
        [0.1, 0.1, 0.05, 0.025]
        """
        remaining, cooling = self.steps - step + 1, self.cooldown * self.steps
        return self.learning_rate * (min(remaining / cooling, 1.0) if cooling else 1.0)

    def scale_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient to hand to the optimiser, normalised row by row if the recipe asks."""
        if not self.normalise_gradient:
            return gradient
        dims = tuple(range(1, gradient.dim()))
        root_mean_square = gradient.square().mean(dims, keepdim=True).sqrt()
        return gradient / (root_mean_square + _EPSILON)


_EPSILON = 1e-12


def take_step(
    optimiser: torch.optim.Optimizer,
    parameters: torch.Tensor,
    gradient: torch.Tensor,
    *,
    learning_rate: float,
) -> None:
    """Move the parameters one optimiser step along a gradient."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    parameters.grad = gradient
    optimiser.step()
    parameters.grad = None
