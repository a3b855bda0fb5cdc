"""The patterns of an atlas's channels: made layer by layer, kept beside the patches."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.methods.atlas_match import refuse_other_weights
from retroscope.methods.synthesis.recipes import Recipe, recipe_named, with_steps
from retroscope.methods.synthesis.synthesize import synthesize_many
from retroscope.network import Network
from retroscope.progress import Listener, Watch, silent
from retroscope.scanning.plan import named_layers
from retroscope.unit import Unit

AT_ONCE = 32
"""Patterns between two checkpoints."""
_FEW, _STEPS = 2, 4
_QUICK = 0.2
"""Up to so many seconds a step of a full batch is tried."""


def illustrate_patterns(
    writer: AtlasWriter,
    net: Network,
    missing: Mapping[str, Sequence[int]],
    *,
    recipe: str | Recipe = "olah",
    seed: int = 0,
    progress: Listener = silent,
) -> None:
    """Makes the patterns of these channels of each layer, and keeps them in the atlas."""
    watch, done = Watch("synthesize", sum(map(len, missing.values())), progress), 0
    for name, channels in missing.items():
        for start in range(0, len(channels), AT_ONCE):
            units = [Unit(name, channel) for channel in channels[start : start + AT_ONCE]]
            patterns = synthesize_many(net, units, recipe=recipe, seed=seed)
            with writer.transaction():
                for pattern in patterns:
                    writer.put_pattern(pattern)
            done += len(units)
            watch.at(done)


def lacking(
    writer: AtlasWriter, layers: Sequence[str], recipe: Recipe, *, seed: int = 0
) -> dict[str, list[int]]:
    """The channels of each layer that have no such pattern yet."""
    total = recipe.ascent.steps * recipe.stages
    return {
        name: writer.missing_patterns(name, recipe.name, seed=seed, steps=total) for name in layers
    }


def seconds_for(
    net: Network, missing: Mapping[str, Sequence[int]], recipe: str | Recipe = "olah"
) -> float:
    """About how long these patterns take; a few steps of each layer are tried."""
    made = recipe_named(recipe)
    total = made.ascent.steps * made.stages
    return sum(
        len(channels) * total * _seconds_of_step(net, name, channels, made)
        for name, channels in missing.items()
        if channels
    )


def _seconds_of_step(net: Network, layer: str, channels: Sequence[int], recipe: Recipe) -> float:
    """One step of one pattern, in a batch as it will be run where that is soon tried."""
    few = _tried(net, layer, channels[:_FEW], recipe)
    return few if few * AT_ONCE > _QUICK else _tried(net, layer, channels[:AT_ONCE], recipe)


def _tried(net: Network, layer: str, channels: Sequence[int], recipe: Recipe) -> float:
    """What some steps take longer than one."""
    units = [Unit(layer, channel) for channel in channels]

    def seconds(steps: int) -> float:
        start = perf_counter()
        synthesize_many(net, units, recipe=with_steps(recipe, steps))
        return perf_counter() - start

    seconds(1)
    short, long = (min(seconds(steps) for _ in range(2)) for steps in (1, 1 + _STEPS))
    return max(long - short, 0.0) / (_STEPS * recipe.stages * len(units))


Estimate = Callable[[int, float], object]
"""Is told how many patterns there are to make, and about how many seconds they take."""


def synthesize_into(
    atlas: str | Path,
    net: Network,
    *,
    layers: str | Sequence[str] = (),
    recipe: str | Recipe = "olah",
    steps: int | None = None,
    seed: int = 0,
    estimate: Estimate | None = None,
    progress: Listener = silent,
) -> None:
    """Puts the patterns that a scanned atlas's channels lack into it: of all layers, or of some.

    What is there of the same recipe, seed and steps stays, so that an interrupted run goes on.
    """
    made = with_steps(recipe_named(recipe), steps)
    with open_atlas(atlas) as scanned:
        refuse_other_weights(scanned, net, repr(str(scanned.path)))
        names = [scanned.layer(name).name for name in named_layers(layers)]
        every = names or [layer.name for layer in scanned.layers]
    with AtlasWriter(atlas) as writer:
        missing = lacking(writer, every, made, seed=seed)
        if estimate is not None and any(missing.values()):
            estimate(sum(map(len, missing.values())), seconds_for(net, missing, made))
        illustrate_patterns(writer, net, missing, recipe=made, seed=seed, progress=progress)
