"""The synthetic patterns of an atlas's channels, computed layer by layer."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter

from retroscope.atlas.layer_selection import atlas_layers, split_names
from retroscope.atlas.writer import AtlasWriter, extend_atlas
from retroscope.methods.atlas_match import check_same_scan
from retroscope.methods.synthesis.recipes import DEFAULT_RECIPE, Recipe, as_recipe, with_steps
from retroscope.methods.synthesis.synthesize import synthesize_many
from retroscope.network import Network
from retroscope.progress import ProgressListener, ProgressReporter, ignore_progress
from retroscope.unit import Unit

PATTERNS_PER_TRANSACTION = 32
_TRIAL_PATTERNS, _TRIAL_STEPS, _TRIAL_REPEATS = 2, 4, 2
_MAX_TRIAL_SECONDS = 0.2
"""A full batch is timed if one of its steps takes less than this."""

EstimateListener = Callable[[int, float], object]
"""Receives the number of patterns to compute and about how many seconds they take."""


def synthesize_into(
    atlas: str | Path,
    net: Network,
    *,
    layers: str | Sequence[str] = (),
    recipe: str | Recipe = DEFAULT_RECIPE,
    steps: int | None = None,
    seed: int = 0,
    estimate: EstimateListener | None = None,
    progress: ProgressListener = ignore_progress,
) -> None:
    """Adds the missing patterns of a scanned atlas's channels, for all layers or a selection.

    `layers` takes names, aliases, globs and kinds. Patterns of the same recipe, seed and steps
    are not computed again, so that an interrupted run can be resumed.
    """
    net.require_images("patterns in an atlas", instead="rs.synthesize makes them one at a time")
    recipe = with_steps(as_recipe(recipe), steps)
    names = split_names(layers)
    with extend_atlas(atlas) as (scanned, writer):
        check_same_scan(scanned, net, repr(str(scanned.path)))
        chosen_layers = atlas_layers(scanned, names) if names else scanned.layers
        layer_names = [layer.name for layer in chosen_layers]
        missing = missing_patterns(writer, layer_names, recipe, seed=seed)
        if estimate is not None and any(missing.values()):
            estimate(sum(map(len, missing.values())), estimate_seconds(net, missing, recipe))
        store_patterns(writer, net, missing, recipe=recipe, seed=seed, progress=progress)


def store_patterns(
    writer: AtlasWriter,
    net: Network,
    missing: Mapping[str, Sequence[int]],
    *,
    recipe: str | Recipe = DEFAULT_RECIPE,
    seed: int = 0,
    progress: ProgressListener = ignore_progress,
) -> None:
    """Computes and stores the patterns of these channels of each layer."""
    reporter = ProgressReporter("synthesize", sum(map(len, missing.values())), progress)
    completed = 0
    for layer, channels in missing.items():
        for start in range(0, len(channels), PATTERNS_PER_TRANSACTION):
            batch = channels[start : start + PATTERNS_PER_TRANSACTION]
            units = [Unit(layer, channel) for channel in batch]
            patterns = synthesize_many(net, units, recipe=recipe, seed=seed)
            with writer.transaction():
                for pattern in patterns:
                    writer.put_pattern(pattern)
            completed += len(units)
            reporter.update(completed)


def missing_patterns(
    writer: AtlasWriter, layers: Sequence[str], recipe: Recipe, *, seed: int = 0
) -> dict[str, list[int]]:
    """The channels of each layer that have no such pattern yet."""
    return {
        layer: writer.channels_without_pattern(
            layer, recipe.name, seed=seed, steps=recipe.total_steps
        )
        for layer in layers
    }


def estimate_seconds(
    net: Network, missing: Mapping[str, Sequence[int]], recipe: str | Recipe = DEFAULT_RECIPE
) -> float:
    """About how long these patterns take, measured on a few steps of each layer."""
    recipe = as_recipe(recipe)
    return sum(
        len(channels) * recipe.total_steps * _step_seconds(net, layer, channels, recipe=recipe)
        for layer, channels in missing.items()
        if channels
    )


def _step_seconds(net: Network, layer: str, channels: Sequence[int], *, recipe: Recipe) -> float:
    """One step of one pattern, measured on a full batch unless that takes too long."""
    seconds = _time_step(net, layer, channels[:_TRIAL_PATTERNS], recipe=recipe)
    if seconds * PATTERNS_PER_TRANSACTION > _MAX_TRIAL_SECONDS:
        return seconds
    return _time_step(net, layer, channels[:PATTERNS_PER_TRANSACTION], recipe=recipe)


def _time_step(net: Network, layer: str, channels: Sequence[int], *, recipe: Recipe) -> float:
    """The time of one step: the difference between several steps and one.

    If other work hides the difference, it is the mean of the steps, preparations included.
    """
    units = [Unit(layer, channel) for channel in channels]

    def time_steps(steps: int) -> float:
        start = perf_counter()
        synthesize_many(net, units, recipe=with_steps(recipe, steps))
        return perf_counter() - start

    time_steps(1)
    short, long = (
        min(time_steps(steps) for _ in range(_TRIAL_REPEATS)) for steps in (1, 1 + _TRIAL_STEPS)
    )
    seconds = (long - short) / _TRIAL_STEPS if long > short else long / (1 + _TRIAL_STEPS)
    return seconds / (recipe.stages * len(units))
