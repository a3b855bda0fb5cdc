"""Recipes: a canvas, transforms and an ascent that go well together, each by its name.

A recipe is a value; `dataclasses.replace` makes another one of it.
"""

from dataclasses import dataclass, replace

from retroscope.errors import RetroscopeError, did_you_mean
from retroscope.methods.synthesis.ascent import Ascent, Blur, Decay
from retroscope.methods.synthesis.canvas import Canvas, Fourier, Phases, Pixels
from retroscope.methods.synthesis.transforms import (
    Crop,
    Jitter,
    Pad,
    Rotate,
    Scale,
    Transform,
    Trim,
)


@dataclass(frozen=True)
class Recipe:
    """How a pattern is made, whatever its objective.

    `size` is the side of the canvas, where not the objective alone decides. Each step looks at
    `copies` of a picture through transforms drawn anew, with `noise` of this spread. From stage to
    stage the canvas grows by a factor, from `least` pixels a side or more, each stage taking all
    steps of the ascent. `opacity` says
    what tells which parts of the picture matter: nothing, its own `alpha` channel, or `trace`, how
    much each pixel was pulled at.
    """

    name: str
    canvas: Canvas
    ascent: Ascent
    transforms: tuple[Transform, ...] = ()
    size: int | None = None
    copies: int = 1
    noise: float = 0.0
    stages: int = 1
    growth: float = 1.0
    least: int = 1
    opacity: str = ""

    def sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """The canvas of each stage, the last one as large as asked.

        >>> RECIPES["octaves"].sizes(416, 416)[:3]
        [(56, 56), (67, 67), (81, 81)]
        """
        shrinks = [self.growth**stage for stage in reversed(range(self.stages))]
        return [(self._side(height, shrink), self._side(width, shrink)) for shrink in shrinks]

    def _side(self, full: int, shrink: float) -> int:
        return max(round(full / shrink), min(full, self.least))


OLAH = Recipe(
    "olah",
    Fourier(),
    Ascent("adam", rate=0.05, steps=512, normalised=True, options=(("eps", 0.01),)),
    (Pad(12), Jitter(8), Scale(0.9, 1.1), Rotate(-10, 10), Jitter(4), Trim()),
)
"""Olah et al. 2017, as lucid does it, with two changes that climb higher.

The network is shown no more than the canvas; and Adam, which moves every frequency at full speed
however little it matters, holds back those whose gradient is under 1 % of the usual one.
"""

MACO = Recipe(
    "maco",
    Phases(),
    Ascent("nadam", rate=1.0, steps=256),
    (Crop(0.5, 1.0),),
    copies=4,
    noise=0.05,
    opacity="trace",
)
"""Fel et al. 2023, with four crops a step and magnitudes of 1/f."""

YOSINSKI = Recipe(
    "yosinski",
    Pixels(),
    Ascent("gradient", rate=0.1, steps=1000, normalised=True, after=(Decay(1e-4), Blur(1.0, 4))),
)
"""Yosinski et al. 2015: pixels, L2 decay, and a blur every fourth step."""

PLAIN = Recipe(
    "plain",
    Pixels(spread=20 / 255),
    Ascent("gradient", rate=1 / 255, steps=50, normalised=True),
)
"""Gradient ascent as most tutorials write it: 50 steps of the gradient over its RMS from grey."""

OCTAVES = Recipe(
    "octaves",
    Pixels(spread=0.05),
    Ascent("adam", rate=0.02, steps=20),
    size=416,
    stages=12,
    growth=1.2,
    least=56,
)
"""Pixels that grow from 56 to 416 pixels a side, 20 steps at each size."""

RECIPES = {recipe.name: recipe for recipe in (OLAH, MACO, YOSINSKI, OCTAVES, PLAIN)}


def recipe_named(recipe: str | Recipe) -> Recipe:
    """The recipe of this name."""
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        hint = did_you_mean(recipe, RECIPES) or f"there are {', '.join(RECIPES)}"
        raise RetroscopeError(f"no recipe {recipe!r}; {hint}")
    return RECIPES[recipe]


def with_steps(recipe: Recipe, steps: int | None) -> Recipe:
    """The recipe with another number of steps, where one is given."""
    if steps is None:
        return recipe
    if steps < 1:
        raise RetroscopeError(f"cannot climb in {steps} steps; give 1 or more")
    return replace(recipe, ascent=replace(recipe.ascent, steps=steps))
