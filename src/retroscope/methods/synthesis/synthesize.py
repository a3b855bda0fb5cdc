"""Pattern synthesis: images optimised to excite a unit, a layer or a class.

Erhan et al. 2009; Olah et al. 2017. Units of one layer run as one batch, on a canvas no larger than
what they see, and the network stops at the layer.
"""

from collections.abc import Sequence

from retroscope.argument_types import check_arguments
from retroscope.errors import RetroscopeError
from retroscope.geometry import IMAGE_RANK
from retroscope.methods.axis_lengths import Lengths
from retroscope.methods.synthesis.objectives import Objective, as_objective, diversity
from retroscope.methods.synthesis.recipes import (
    DEFAULT_RECIPE,
    Recipe,
    as_recipe,
    with_steps,
)
from retroscope.methods.synthesis.render_patterns import (
    StepListener,
    SynthesisRequest,
    render_patterns,
)
from retroscope.network import AnyImage, AnyNetwork, AnyUnit, Network, as_network
from retroscope.results.patterns import Pattern

AnyObjective = AnyUnit | Objective
"""An objective, or what stands for the unit, channel or layer to excite."""


@check_arguments
def synthesize(
    net: AnyNetwork,
    unit: AnyObjective,
    *,
    recipe: str | Recipe = DEFAULT_RECIPE,
    steps: int | None = None,
    size: Lengths | None = None,
    seed: int = 0,
    seed_image: AnyImage | None = None,
    progress: StepListener | None = None,
) -> Pattern:
    """Synthesize the image that excites a unit most, or maximises an objective.

    A channel without a position stands for a single unit, on a canvas as large as its field; on a
    larger canvas, for all units whose fields lie wholly on it. `@*` maximises the mean of the
    channel's whole map, padding included. `seed_image` is an image to start from instead of noise.
    `size` is the side of the canvas, or a length for each axis. Of a network of volumes or video
    the pattern is a volume.

    >>> from torch import nn
    >>> net = Network(nn.Conv2d(3, 8, 3), input_size=(32, 32))
    >>> pattern = synthesize(net, "conv1:5", steps=20)
    >>> pattern.size, pattern.score > pattern.started_at
    ((3, 3), True)
    """
    (pattern,) = synthesize_many(
        net,
        [unit],
        recipe=recipe,
        steps=steps,
        size=size,
        seed=seed,
        seed_image=seed_image,
        progress=progress,
    )
    return pattern


@check_arguments
def synthesize_many(
    net: AnyNetwork,
    units: Sequence[AnyObjective],
    *,
    recipe: str | Recipe = DEFAULT_RECIPE,
    steps: int | None = None,
    size: Lengths | None = None,
    seed: int = 0,
    seed_image: AnyImage | None = None,
    progress: StepListener | None = None,
) -> list[Pattern]:
    """Synthesize one pattern per unit, in their order; units of one layer run as one batch."""
    net = as_network(net)
    _refuse_signals(net)
    recipe = with_steps(as_recipe(recipe), steps)
    objectives = [_to_objective(net, unit) for unit in units]
    request = SynthesisRequest(recipe, objectives, [seed] * len(units), seed)
    return render_patterns(net, request, size, seed_image=seed_image, progress=progress)


@check_arguments
def synthesize_varied(
    net: AnyNetwork,
    unit: AnyObjective,
    count: int,
    *,
    weight: float = 1.0,
    recipe: str | Recipe = DEFAULT_RECIPE,
    steps: int | None = None,
    size: Lengths | None = None,
    seed: int = 0,
    progress: StepListener | None = None,
) -> list[Pattern]:
    """Synthesize several patterns of one unit that differ from each other (Olah et al. 2017).

    `weight` is the weight of their diversity relative to the activation.
    """
    net = as_network(net)
    _refuse_signals(net)
    if count < 1:
        raise RetroscopeError(f"cannot synthesize {count} patterns; give 1 or more")
    objective = _to_objective(net, unit)
    if objective.unit is None:
        raise RetroscopeError(f"diversity needs a unit or a layer, not {objective}")
    objective += weight * diversity(objective.unit.layer)
    recipe = with_steps(as_recipe(recipe), steps)
    seeds = [seed + n for n in range(count)]
    request = SynthesisRequest(recipe, [objective] * count, seeds, seed, joint=True)
    return render_patterns(net, request, size, seed_image=None, progress=progress)


def _refuse_signals(net: Network) -> None:
    if net.rank < IMAGE_RANK:
        net.require_images("patterns", instead="activations, deconv, cam and saliency take them")


def _to_objective(net: Network, unit: AnyObjective) -> Objective:
    return as_objective(unit if isinstance(unit, Objective) else net.unit(unit))
