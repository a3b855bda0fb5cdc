"""Patterns: pictures that a unit, a layer or a class would most like to see.

Erhan et al. 2009; Olah et al. 2017. Units of one layer run as one batch, on a canvas no larger than
what they see, and no further than their layer.
"""

from collections.abc import Sequence

from retroscope.errors import RetroscopeError
from retroscope.methods.synthesis.generation import Order, Watcher, made_of
from retroscope.methods.synthesis.objective import Objective, as_objective, diverse
from retroscope.methods.synthesis.recipes import Recipe, recipe_named, with_steps
from retroscope.network import AnyImage, Network, refuse_no_network
from retroscope.results.values import Pattern
from retroscope.unit import Unit

Wanted = str | Unit | Objective


def synthesize(
    net: Network,
    unit: Wanted,
    *,
    recipe: str | Recipe = "olah",
    steps: int | None = None,
    size: int | None = None,
    seed: int = 0,
    start: AnyImage | None = None,
    watch: Watcher | None = None,
) -> Pattern:
    """The picture that excites a unit, or raises an objective, most.

    A channel without a position is one unit of it, on a canvas as large as what it sees; on a
    larger one, all of its units whose fields lie wholly on it. `@*` is the mean of the whole map,
    as the network pads it. `start` is a picture to begin with instead of noise.

    >>> from torch import nn
    >>> net = Network(nn.Conv2d(3, 8, 3), input_size=(32, 32))
    >>> pattern = synthesize(net, "conv1:5", steps=20)
    >>> pattern.size, pattern.score > pattern.started_at
    ((3, 3), True)
    """
    (made,) = synthesize_many(
        net, [unit], recipe=recipe, steps=steps, size=size, seed=seed, start=start, watch=watch
    )
    return made


def synthesize_many(
    net: Network,
    units: Sequence[Wanted],
    *,
    recipe: str | Recipe = "olah",
    steps: int | None = None,
    size: int | None = None,
    seed: int = 0,
    start: AnyImage | None = None,
    watch: Watcher | None = None,
) -> list[Pattern]:
    """The patterns of many units, in the order asked; those of one layer run as one batch."""
    refuse_no_network(net)
    made = with_steps(recipe_named(recipe), steps)
    objectives = [as_objective(unit) for unit in units]
    order = Order(made, objectives, [seed] * len(units), seed)
    return made_of(net, order, size, start=start, watch=watch)


def synthesize_varied(
    net: Network,
    unit: Wanted,
    count: int,
    *,
    weight: float = 1.0,
    recipe: str | Recipe = "olah",
    steps: int | None = None,
    size: int | None = None,
    seed: int = 0,
    watch: Watcher | None = None,
) -> list[Pattern]:
    """Several patterns of one unit that differ as much as they can (Olah et al. 2017).

    `weight` says how much their difference counts against the activation.
    """
    refuse_no_network(net)
    if count < 1:
        raise RetroscopeError(f"cannot make {count} patterns; give 1 or more")
    objective = as_objective(unit)
    if objective.unit is None:
        raise RetroscopeError(f"diversity needs a unit or a layer, not {objective}")
    varied = objective + weight * diverse(objective.unit.layer)
    made = with_steps(recipe_named(recipe), steps)
    order = Order(made, [varied] * count, [seed + n for n in range(count)], seed, together=True)
    return made_of(net, order, size, start=None, watch=watch)
