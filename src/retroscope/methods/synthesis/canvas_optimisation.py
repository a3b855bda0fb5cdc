"""Optimise a batch of canvases: the loop of rendering, backpropagation and optimiser steps."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from retroscope.engine.gradients import gradients
from retroscope.engine.operations import Role
from retroscope.engine.rules import GRADIENT, Rule, RuleBook
from retroscope.methods.synthesis.gradient_ascent import take_step
from retroscope.methods.synthesis.objective_scorer import ObjectiveScorer
from retroscope.methods.synthesis.parametrisation import FourierCanvas, Shape
from retroscope.methods.synthesis.recipes import Opacity, Recipe
from retroscope.methods.synthesis.transforms import GREY, apply_transforms
from retroscope.preprocessing import Preprocessing

REDIRECT_STEPS = 16
"""For this many steps, a canvas without a gradient gets one that passes inactive rectifiers."""
_BACKGROUND = FourierCanvas(spread=0.2, decay=1.5)
"""Noise behind transparent pixels."""


def _redirect_gradient(signal: torch.Tensor, active: torch.Tensor | None) -> torch.Tensor:
    """The gradient; where the rectifier is inactive, only the part that would activate it."""
    assert active is not None
    return torch.where(active, signal, signal.clamp(min=0))


REDIRECTED = RuleBook(
    "redirected",
    {Role.RECTIFIER: Rule("open what is shut", _redirect_gradient, needs_active_mask=True)},
)
"""For starting points where no rectifier is active (lucid's `redirected_relu_grad`)."""

StepCallback = Callable[[int, torch.Tensor], object]
"""Called after each step with its number, from 1, and the parameters."""


@dataclass(eq=False)
class CanvasOptimisation:
    """One batch of canvases of one size, optimised with one recipe.

    `has_gradient`, `was_redirected`: for each row, whether it had a gradient so far, and whether
    it had one only through inactive rectifiers. `gradient_sum`: absolute pixel gradients.
    """

    recipe: Recipe
    scorer: ObjectiveScorer
    preprocessing: Preprocessing
    shape: Shape
    generator: torch.Generator
    on_step: StepCallback
    has_gradient: torch.Tensor = field(init=False)
    was_redirected: torch.Tensor = field(init=False)
    gradient_sum: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.has_gradient = torch.zeros(self.shape[0], dtype=torch.bool, device="cpu")
        self.was_redirected = torch.zeros(self.shape[0], dtype=torch.bool, device="cpu")
        self.gradient_sum = torch.zeros(self.shape[0], *self.shape[2:], device="cpu")

    def run(self, parameters: torch.Tensor) -> None:
        """Run all steps of the recipe, changing the parameters in place."""
        ascent = self.recipe.ascent
        optimiser = ascent.make_optimiser(parameters.requires_grad_())
        for step in range(1, ascent.steps + 1):
            gradient = self._row_gradients(parameters, step)
            take_step(
                optimiser,
                parameters,
                ascent.scale_gradient(gradient),
                learning_rate=ascent.learning_rate_at(step),
            )
            self._regularise(parameters, step)
            self.on_step(step, parameters)
            if step == REDIRECT_STEPS and not (self.has_gradient | self.was_redirected).any():
                return

    def _regularise(self, parameters: torch.Tensor, step: int) -> None:
        with torch.no_grad():
            for regularise in self.recipe.ascent.regularisers:
                parameters.copy_(regularise(parameters, step))
            self.recipe.canvas.clamp_(parameters)

    def _row_gradients(self, parameters: torch.Tensor, step: int) -> torch.Tensor:
        """The gradient of each row; in the first steps, rows without one get a redirected one."""
        random_state = self.generator.get_state()
        gradient = self._gradient_despite_noise(parameters, step)
        nonzero = _has_nonzero(gradient)
        self.has_gradient.logical_or_(nonzero.cpu())
        if step > REDIRECT_STEPS or bool(nonzero.all()):
            return gradient
        self.generator.set_state(random_state)
        redirected, _ = self._backpropagate(parameters, REDIRECTED, rows=~nonzero)
        self.was_redirected.logical_or_(_has_nonzero(redirected).cpu())
        return gradient + redirected

    def _gradient_despite_noise(self, parameters: torch.Tensor, step: int) -> torch.Tensor:
        """The gradient of each row; rows that the noise shuts get that of the step without noise.

        Otherwise such a unit would keep what its first redirected gradients draw.
        """
        random_state, noise = self.generator.get_state(), self.recipe.noise_at(step)
        gradient, scores = self._backpropagate(parameters, GRADIENT, noise=noise)
        is_shut = ~_has_nonzero(gradient) & (scores <= 0)
        if step > REDIRECT_STEPS:
            is_shut &= self.has_gradient.to(is_shut.device)
        if not noise or not bool(is_shut.any()):
            return gradient
        self.generator.set_state(random_state)
        return gradient + self._backpropagate(parameters, GRADIENT, rows=is_shut)[0]

    def _backpropagate(
        self,
        parameters: torch.Tensor,
        book: RuleBook,
        *,
        noise: float = 0.0,
        rows: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradient of the scores, through newly drawn transforms, and the scores.

        Of `rows` only, if they are given as a mask; it is zero for the others.
        """
        with torch.enable_grad():
            pixels, opacity = self.decode(parameters)
            scores = self.scorer(self._network_input(pixels, opacity, noise), book)
            if opacity is not None:
                scores = scores * (1 - _mean_per_row(opacity).flatten())
            total = scores.sum() if rows is None else scores[rows].sum()
            if opacity is not None:
                return gradients(total, parameters), scores.detach()
            pixel_gradient = gradients(total, pixels)
            if self.recipe.opacity is Opacity.GRADIENT_SUM:
                self.gradient_sum.add_(pixel_gradient.abs().mean(1).cpu())
            if self.recipe.contrast is not None:
                pixel_gradient = limit_contrast(pixel_gradient, pixels, self.recipe.contrast)
            return gradients(pixels, parameters, pixel_gradient), scores.detach()

    def decode(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The pixels from 0 to 1, and the opacity if the canvas has an alpha channel."""
        channels, canvas = self.preprocessing.channels, self.recipe.canvas
        pixels = canvas.to_pixels(parameters[:, :channels], _with_channels(self.shape, channels))
        if self.recipe.opacity is not Opacity.ALPHA_CHANNEL:
            return pixels, None
        return pixels, canvas.to_pixels(parameters[:, channels:], _with_channels(self.shape, 1))

    def _network_input(
        self, pixels: torch.Tensor, opacity: torch.Tensor | None, noise: float
    ) -> torch.Tensor:
        """What the network sees in one step: the transformed copies of each pattern in turn."""
        if opacity is not None:
            pixels = pixels * opacity + self._background(pixels) * (1 - opacity)
        recipe = self.recipe
        copies = [
            apply_transforms(pixels, recipe.transforms, self.generator)
            for _ in range(recipe.copies)
        ]
        batch = copies[0] if len(copies) == 1 else torch.stack(copies, dim=1).flatten(0, 1)
        if recipe.noise:
            draw = torch.randn(batch.shape[1:], generator=self.generator, device="cpu")
            batch = batch + noise * draw.to(batch)
        return standardise(batch, self.preprocessing)

    def _background(self, like: torch.Tensor) -> torch.Tensor:
        """Random pixels of the same shape, one draw for the batch."""
        shape = (1, *like.shape[1:])
        return _BACKGROUND.to_pixels(_BACKGROUND.initialise(shape, self.generator).to(like), shape)

    def opacity(self, parameters: torch.Tensor) -> torch.Tensor | None:
        """The opacity of each pattern (batch, height, width), if the recipe has one."""
        if self.recipe.opacity is Opacity.GRADIENT_SUM:
            peak = self.gradient_sum.flatten(1).quantile(0.98, dim=1).clamp(min=1e-30)
            peaks = peak.view(-1, *[1] * (self.gradient_sum.dim() - 1))
            return (self.gradient_sum / peaks).clamp(max=1)
        alpha = self.decode(parameters)[1]
        return None if alpha is None else alpha[:, 0]

    def composite_over_grey(self, parameters: torch.Tensor) -> torch.Tensor:
        """The pixels for display, transparent parts blended with grey."""
        pixels, opacity = self.decode(parameters)
        return pixels if opacity is None else GREY + (pixels - GREY) * opacity


def _with_channels(shape: Shape, channels: int) -> Shape:
    return (shape[0], channels, *shape[2:])


def limit_contrast(gradient: torch.Tensor, pixels: torch.Tensor, contrast: float) -> torch.Tensor:
    """The gradient with less of its part that only adds contrast, none at the contrast given.

    Where it vanishes, the pattern has this root mean square distance from grey, and is the image
    that excites the unit most among all images of this contrast.
    """
    offsets = pixels.detach() - GREY
    gain = _mean_per_row(gradient * offsets).clamp(min=0)
    return gradient - gain / contrast**2 * offsets


def _mean_per_row(values: torch.Tensor) -> torch.Tensor:
    """The mean of each row, along dimensions that stay."""
    return values.mean(tuple(range(1, values.dim())), keepdim=True)


def _has_nonzero(gradient: torch.Tensor) -> torch.Tensor:
    """For each row, whether any value is not zero."""
    return gradient.flatten(1).any(dim=1)


def standardise(pixels: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Pixels from 0 to 1 as network input: minus the mean, divided by the standard deviation."""
    mean, std = (values.to(pixels) for values in per_channel(preprocessing, rank=pixels.dim() - 2))
    return (pixels - mean) / std


def per_channel(preprocessing: Preprocessing, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean and the standard deviation of each channel, for pixels with so many axes."""
    mean, std = (
        torch.tensor(values, device="cpu").view(-1, *[1] * rank)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return mean, std
