"""Scores of painted scenes without their parts, against painting and running them one by one."""

from dataclasses import astuple
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from retroscope.accountability.part_removals import (
    FIRST_SEED,
    MIN_PART_PIXELS,
    find_contrast,
    part_names,
    removable_scenes,
    remove_parts,
)
from retroscope.errors import ModelError, RetroscopeError
from retroscope.network import Network
from retroscope.world import LABELS, scene
from tests.accountability.removals import additive
from tests.conftest import built, no_trace

BICYCLE, BOAT = LABELS.index("bicycle"), LABELS.index("boat")


def network(favourite: int | None = None) -> Network:
    """A tiny network with the labels of the world, which may know one class only."""
    module = built(
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, len(LABELS)))
    )
    if favourite is not None:
        with torch.no_grad():
            module[2].bias[favourite] = 100  # type: ignore[index]
    return Network(module, input_size=(96, 96), labels=LABELS)


def test_a_row_has_the_scores_of_the_scene_without_its_set_of_parts() -> None:
    net = network()
    with no_trace(net.module):
        removals = remove_parts(net, 0, label="bicycle")
    assert len(removals.scores) == 2 ** len(removals.parts)
    for removed in (0, 1, 0b110, removals.all_parts):
        names = part_names(removals.parts, removed)
        painted = scene(0, label="bicycle", without=names)
        pixels = torch.from_numpy(painted.pixels).permute(2, 0, 1)[None] / 255
        expected = net.module(pixels).detach().numpy()[0]
        np.testing.assert_allclose(removals.scores[removed], expected, rtol=1e-4, atol=1e-5)
    assert removals.drops(3)[1] == pytest.approx(removals.scores[0, 3] - removals.scores[2, 3])
    assert removals.drop(3, 0b110) == pytest.approx(removals.scores[0, 3] - removals.scores[6, 3])


def test_parts_are_those_with_enough_visible_pixels() -> None:
    removals = remove_parts(network(), 0, label="bicycle")
    masks = scene(0, label="bicycle").masks
    assert set(removals.parts) == {n for n, m in masks.items() if m.sum() >= MIN_PART_PIXELS}
    for name, mask in zip(removals.parts, removals.masks, strict=True):
        assert np.array_equal(mask, masks[name])


def test_scenes_are_the_first_that_the_network_recognises() -> None:
    (removals,) = removable_scenes(network(favourite=BICYCLE), 1)
    assert removals.label == "bicycle"
    assert np.array_equal(removals.pixels, scene(FIRST_SEED).pixels)


def test_a_network_that_recognises_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match="recognises 0 of 10 scenes, too few for 1 images"):
        list(removable_scenes(network(favourite=len(LABELS) - 1), 1))


def test_a_network_without_the_classes_is_refused() -> None:
    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(RetroscopeError, match="does not know the classes of the world"):
        list(removable_scenes(Network(module, input_size=(96, 96)), 1))


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=4, max_size=4))
def test_a_contrast_is_the_best_of_all_pairs_of_classes_and_parts(weights: list[list[int]]) -> None:
    removals = additive(*weights, rest=[20, 0, 0, 0])

    def margin(first: int, second: int, part: int, other: int) -> float:
        def drop(c: int, n: int) -> int:
            return max(weights[c][n], 0)

        def share(c: int, n: int) -> float:
            return drop(c, n) / max(sum(drop(c, k) for k in range(3)), 1)

        if share(first, part) > share(second, part) and share(second, other) > share(first, other):
            return min(
                drop(first, part) - drop(first, other), drop(second, other) - drop(second, part)
            )
        return 0

    best = max(
        margin(first, second, part, other)
        for first, second in permutations(range(1, 4), 2)
        for part, other in permutations(range(3), 2)
    )
    contrast = find_contrast(removals)
    assert (contrast is None) == (best <= 0)
    if contrast is not None:
        assert margin(*astuple(contrast)) == pytest.approx(best)
        assert removals.predictions[0] not in (contrast.first, contrast.second)
