"""Scenes without each set of their parts, and the class scores of a network for each of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import permutations

import numpy as np
import numpy.typing as npt
import torch

from retroscope.argument_types import check_arguments
from retroscope.engine.batching import NetworkInput, max_batch_size
from retroscope.engine.isolation import preserve_state
from retroscope.engine.memory import in_batches, memory_budget
from retroscope.errors import ModelError, RetroscopeError
from retroscope.imaging.decoding import RGB
from retroscope.methods.class_scores import run_classifier
from retroscope.methods.targets import stack_inputs
from retroscope.network import Network
from retroscope.world import LABELS, SIZE, Scene, scene

MIN_PART_PIXELS = 16
"""Smaller parts always stay in the image: they are below the resolution of heat maps."""
MIN_PARTS, MAX_PARTS = 3, 10
"""Fewer parts have no ranking worth the name, and n parts have 2**n sets."""
FIRST_SEED = 1_000_000
"""The first of the scenes that `removable_scenes` tries; `demo` was trained on none of them."""
_MAX_TRIES = 10
"""Scenes that are tried for each one that is asked for."""

PartSet = int
"""A set of parts: bit n stands for part n."""
Masks = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassContrast:
    """Two other classes, and for each the number of the part that matters to it more."""

    first: int
    second: int
    part_of_first: int
    part_of_second: int


@dataclass(frozen=True, eq=False, repr=False)
class PartRemovals:
    """An image, its parts, and a network's class scores without each set of these parts.

    `masks` (parts, height, width) are the visible pixels of each part. `scores` (sets, classes) has
    a row for each set of parts that is left out: bit n of the row's number stands for part n.
    """

    pixels: RGB
    label: str
    parts: tuple[str, ...]
    masks: Masks
    scores: Scores
    contrast: ClassContrast | None = None

    @cached_property
    def predictions(self) -> tuple[int, ...]:
        """The most probable class without each set of parts; the first is that of the image."""
        return tuple(self.scores.argmax(axis=1).tolist())

    @property
    def all_parts(self) -> PartSet:
        return (1 << len(self.parts)) - 1

    def drops(self, target: int) -> Scores:
        """How much the score of a class drops without each part alone."""
        return np.array([self.drop(target, 1 << number) for number in range(len(self.parts))])

    def drop(self, target: int, removed: PartSet) -> float:
        """How much the score of a class drops without a set of parts."""
        return float(self.scores[0, target] - self.scores[removed, target])

    def drop_shares(self, target: int) -> Scores:
        """The drops without each part, as shares of the sum of those above zero."""
        drops = self.drops(target)
        total = float(np.maximum(drops, 0).sum())
        shares: Scores = drops / total if total > 0 else np.minimum(drops, 0)
        return shares

    @cached_property
    def sufficient_sets(self) -> tuple[PartSet, ...]:
        """The smallest sets of parts that keep the prediction when all other parts are left out.

        None of them holds another. The empty set is the only one where the rest of the image
        suffices.
        """
        sufficient = [
            parts
            for parts in range(self.all_parts + 1)
            if self.predictions[self.all_parts ^ parts] == self.predictions[0]
        ]
        return tuple(
            parts
            for parts in sufficient
            if not any(smaller != parts and smaller & parts == smaller for smaller in sufficient)
        )


def part_names(parts: Sequence[str], part_set: PartSet) -> list[str]:
    """The names of the parts in a set.

    >>> part_names(("eye", "beak", "wing"), 0b101)
    ['eye', 'wing']
    """
    return [name for number, name in enumerate(parts) if part_set >> number & 1]


@check_arguments
def remove_parts(
    net: Network,
    seed: int,
    *,
    label: str | None = None,
    size: int = SIZE,
    shortcut: bool = False,
) -> PartRemovals:
    """Score the scene of a seed without each set of its parts.

    The arguments are those of `scene`. Its parts are those with at least `MIN_PART_PIXELS` visible
    pixels.
    """
    paint = partial(scene, seed, label=label, size=size, shortcut=shortcut)
    whole = paint()
    masks = large_masks(whole)
    if not 1 <= len(masks) <= MAX_PARTS:
        raise RetroscopeError(
            f"scene {seed} shows {len(masks)} parts of {MIN_PART_PIXELS} pixels or more; choose "
            f"one with 1 to {MAX_PARTS}"
        )
    parts = tuple(masks)
    images = (
        paint(without=part_names(parts, removed)).pixels for removed in range(1 << len(parts))
    )
    removals = PartRemovals(
        whole.pixels, whole.label, parts, np.stack(list(masks.values())), score_images(net, images)
    )
    return replace(removals, contrast=find_contrast(removals))


def removable_scenes(net: Network, number: int) -> Iterator[PartRemovals]:
    """The first scenes from `FIRST_SEED` on that a network recognises and that show enough parts.

    These are `MIN_PARTS` to `MAX_PARTS` parts of `MIN_PART_PIXELS` or more.
    """
    if not set(LABELS) <= set(net.labels):
        raise RetroscopeError(
            f"{net.name} does not know the classes of the world; give a network with the labels "
            f"{LABELS[0]!r} to {LABELS[-1]!r}"
        )
    recognised = 0
    for seed in range(FIRST_SEED, FIRST_SEED + _MAX_TRIES * number):
        if _is_suitable(net, scene(seed)):
            yield remove_parts(net, seed)
            recognised += 1
            if recognised == number:
                return
    raise ModelError(
        f"{net.name} recognises {recognised} of {_MAX_TRIES * number} scenes, too few for "
        f"{number} images; give a network that was trained on the world"
    )


def _is_suitable(net: Network, whole: Scene) -> bool:
    if not MIN_PARTS <= len(large_masks(whole)) <= MAX_PARTS:
        return False
    prediction = int(score_images(net, [whole.pixels])[0].argmax())
    return net.labels[prediction] == whole.label


def large_masks(painted: Scene) -> dict[str, npt.NDArray[np.bool_]]:
    """The masks of the parts that are large enough to be left out, by name."""
    return {name: mask for name, mask in painted.masks.items() if mask.sum() >= MIN_PART_PIXELS}


def score_images(net: Network, images: Iterator[RGB] | Sequence[RGB]) -> Scores:
    """The class scores of images of one size (images, classes)."""
    inputs = [net.prepare(image) for image in images]
    survey = net.survey(inputs[0].size)
    last_step, max_bytes = len(survey.steps) - 1, memory_budget(net.device)
    batch_size = max_batch_size(survey, last_step, survey.size, max_bytes)

    def score(batch: Sequence[NetworkInput]) -> torch.Tensor:
        stacked = stack_inputs(net, batch, channels_last=survey.channels_last)
        return run_classifier(net, survey, stacked).scores.double().cpu()

    with preserve_state(net.module), torch.no_grad():
        scores: Scores = torch.cat(list(in_batches(inputs, batch_size, score))).numpy()
    return scores


def find_contrast(removals: PartRemovals) -> ClassContrast | None:
    """The two other classes of which different parts of the image matter most differently.

    The score of the first class drops more without its part than without that of the second, and
    its part has a larger share of all its drops than of those of the second class; and vice versa.
    A score that rises counts as no drop. Of several pairs, it is the one whose smaller difference
    of drops is largest; None if there is none.
    """
    classes = range(removals.scores.shape[1])
    drops = np.maximum(np.stack([removals.drops(target) for target in classes], axis=1), 0)
    shares = drops / np.maximum(drops.sum(axis=0), np.finfo(np.float64).tiny)
    best, best_margin = None, 0.0
    for part, other in permutations(range(len(removals.parts)), 2):
        gains = drops[part] - drops[other]
        margins = np.minimum(gains[:, None], -gains[None, :])
        agree = (shares[part][:, None] > shares[part]) & (shares[other] > shares[other][:, None])
        margins = np.where(agree, margins, 0)
        margins[removals.predictions[0]] = margins[:, removals.predictions[0]] = 0
        first, second = divmod(int(margins.argmax()), len(classes))
        if margins[first, second] > best_margin:
            best_margin = float(margins[first, second])
            best = ClassContrast(first, second, part, other)
    return best
