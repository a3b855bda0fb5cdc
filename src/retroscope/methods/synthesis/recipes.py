"""Recipes: named combinations of a canvas, transforms and an ascent that work well together.

A recipe is a value; derive another with `dataclasses.replace`. `docs/how-to/add-a-recipe.md` shows
how to add one.
"""

from dataclasses import dataclass, replace
from enum import Enum

from retroscope.errors import RetroscopeError, choose
from retroscope.methods.synthesis.gradient_ascent import Blur, Decay, GradientAscent
from retroscope.methods.synthesis.parametrisation import (
    Canvas,
    FourierCanvas,
    PhaseCanvas,
    PixelCanvas,
)
from retroscope.methods.synthesis.transforms import (
    REFERENCE_SIDE,
    Crop,
    Jitter,
    Pad,
    Rotate,
    Scale,
    Transform,
    Trim,
    Zoom,
)


class Opacity(Enum):
    """Where the opacity of a pattern comes from."""

    ALPHA_CHANNEL = "alpha"
    """An extra channel of the canvas, optimised together with the others."""
    GRADIENT_SUM = "gradient sum"
    """The sum of each pixel's absolute gradients over all steps (Fel et al. 2023)."""


@dataclass(frozen=True)
class Recipe:
    """How a pattern is made, whatever its objective.

    `size` is the side of the canvas; None lets the objective decide. Each step shows the network
    `copies` of the pattern, each under newly drawn transforms and with Gaussian noise of standard
    deviation `noise`, which with `noise_fades` falls to zero over the steps. `contrast` is the root
    mean square distance from grey that a pattern settles at; None sets no limit. With several
    `stages` the canvas grows by the factor `growth` from stage to stage, starting at `min_side` or
    more, and every stage runs all steps of the ascent.
    """

    name: str
    canvas: Canvas
    ascent: GradientAscent
    transforms: tuple[Transform, ...] = ()
    size: int | None = None
    copies: int = 1
    noise: float = 0.0
    noise_fades: bool = False
    contrast: float | None = None
    stages: int = 1
    growth: float = 1.0
    min_side: int = 1
    opacity: Opacity | None = None

    def __post_init__(self) -> None:
        if self.contrast is not None and self.opacity is Opacity.ALPHA_CHANNEL:
            raise RetroscopeError(
                f"the recipe {self.name!r} has a contrast and an alpha channel, which would make "
                "up for it; leave one of them out"
            )

    @property
    def total_steps(self) -> int:
        """Optimisation steps of one pattern, over all stages."""
        return self.ascent.steps * self.stages

    def noise_at(self, step: int) -> float:
        """The standard deviation of the noise at a step of a stage, counted from 1."""
        return self.noise * (1 - (step - 1) / self.ascent.steps if self.noise_fades else 1)

    def stage_sizes(self, *size: int) -> list[tuple[int, ...]]:
        """The canvas size of each stage; the last one is the full size.

        >>> RECIPES["octaves"].stage_sizes(416, 416)[:3]
        [(56, 56), (67, 67), (81, 81)]
        """
        divisors = [self.growth**stage for stage in reversed(range(self.stages))]
        return [tuple(self._side(length, divisor) for length in size) for divisor in divisors]

    def _side(self, full: int, divisor: float) -> int:
        return max(round(full / divisor), min(full, self.min_side))


ZOOM = Recipe(
    "zoom",
    FourierCanvas(decay=1.25, full_decay_side=REFERENCE_SIDE),
    GradientAscent(
        "adam",
        learning_rate=0.03,
        steps=128,
        normalise_gradient=True,
        optimiser_options=(("eps", 0.01),),
        cooldown=0.5,
    ),
    (Rotate(-10, 10), Zoom(0.3)),
    noise=0.2,
    noise_fades=True,
    contrast=0.2,
)
"""The default: at the contrast of photographs, what excites the unit at many sizes.

Each step magnifies another crop under noise that fades, and the learning rate ends at zero.
"""

OLAH = Recipe(
    "olah",
    FourierCanvas(),
    GradientAscent(
        "adam",
        learning_rate=0.05,
        steps=512,
        normalise_gradient=True,
        optimiser_options=(("eps", 0.01),),
    ),
    (Pad(12), Jitter(8), Scale(0.9, 1.1), Rotate(-10, 10), Jitter(4), Trim()),
)
"""Olah et al. 2017, as in lucid, with two changes that reach higher activations.

The network sees no more than the canvas, and Adam's epsilon holds back frequencies whose gradient
is below 1 % of the usual one; Adam otherwise moves every frequency at full speed.
"""

MACO = Recipe(
    "maco",
    PhaseCanvas(),
    GradientAscent("nadam", learning_rate=1.0, steps=256),
    (Crop(0.5, 1.0),),
    copies=4,
    noise=0.05,
    opacity=Opacity.GRADIENT_SUM,
)
"""Fel et al. 2023, with four crops per step and magnitudes of 1/f."""

YOSINSKI = Recipe(
    "yosinski",
    PixelCanvas(),
    GradientAscent(
        "gradient",
        learning_rate=0.1,
        steps=1000,
        normalise_gradient=True,
        regularisers=(Decay(1e-4), Blur(1.0, 4)),
    ),
)
"""Yosinski et al. 2015: pixels, L2 decay, and a blur every fourth step."""

PLAIN = Recipe(
    "plain",
    PixelCanvas(spread=20 / 255),
    GradientAscent("gradient", learning_rate=1 / 255, steps=50, normalise_gradient=True),
)
"""Gradient ascent as in most tutorials: 50 steps of the RMS-normalised gradient from grey."""

OCTAVES = Recipe(
    "octaves",
    PixelCanvas(spread=0.05),
    GradientAscent("adam", learning_rate=0.02, steps=20),
    size=416,
    stages=12,
    growth=1.2,
    min_side=56,
)
"""Pixels that grow from 56 to 416 pixels a side, with 20 steps at each size."""

DEFAULT_RECIPE = ZOOM.name
RECIPES = {recipe.name: recipe for recipe in (ZOOM, OLAH, MACO, YOSINSKI, OCTAVES, PLAIN)}


def as_recipe(recipe: str | Recipe) -> Recipe:
    """Look up a recipe by name; a recipe is returned unchanged."""
    return recipe if isinstance(recipe, Recipe) else choose("recipe", recipe, RECIPES)


def with_steps(recipe: Recipe, steps: int | None) -> Recipe:
    """The recipe with another number of steps per stage; None keeps the recipe's own."""
    if steps is None:
        return recipe
    if steps < 1:
        raise RetroscopeError(f"cannot optimise in {steps} steps; give 1 or more")
    return replace(recipe, ascent=replace(recipe.ascent, steps=steps))
