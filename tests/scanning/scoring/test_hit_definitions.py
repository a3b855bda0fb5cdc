"""Faithfulness and dependence on arrays, against their definitions in words."""

from itertools import pairwise
from math import isnan

import numpy as np
import pytest
import torch
from torch import nn

from retroscope.geometry import Box
from retroscope.network import Network
from retroscope.scanning.scoring.dependence import dependence, random_twin, strongest_other
from retroscope.scanning.scoring.faithfulness import (
    SHARES,
    area_under,
    blob_strength,
    kept_share,
    largest_mask,
)


@pytest.mark.parametrize("share", SHARES)
def test_a_mask_holds_the_share_of_the_largest_values(share: float) -> None:
    strength = np.random.default_rng(0).normal(size=(7, 9)).round(1)
    mask = largest_mask(strength, share)
    assert mask.sum() == max(1, round(63 * share))
    assert strength[mask].min() >= strength[~mask].max()


def test_equal_pixels_are_taken_row_by_row() -> None:
    assert largest_mask(np.zeros((2, 4)), 0.5).tolist() == [[True] * 4, [False] * 4]


def test_a_blob_is_a_disc_around_the_middle_of_the_field() -> None:
    field, visible = Box(-4, 2, 7, 13), Box(0, 2, 7, 13)  # cut at the top; its middle is (1, 7)
    mask = largest_mask(blob_strength(field, visible), 0.2)
    distances = [
        (np.hypot(y - 1, x + 2 - 7), bool(mask[y, x])) for y in range(7) for x in range(11)
    ]
    assert max(d for d, kept in distances if kept) <= min(d for d, kept in distances if not kept)


def test_shares_are_between_nothing_and_all() -> None:
    assert kept_share([1.0, -2.0, 9.0], 2.0).tolist() == [0.5, 0, 1]
    assert all(np.isnan(kept_share([1.0], full)).all() for full in (0.0, -1.0, np.nan))


def test_the_area_is_the_mean_of_straight_lines_between_the_shares() -> None:
    curve = np.array([0.1, 0.3, 0.2, 0.9, 1.0])
    grid = np.linspace(SHARES[0], SHARES[-1], 200_001)
    assert area_under(curve) == pytest.approx(np.interp(grid, SHARES, curve).mean(), abs=1e-5)
    assert area_under(np.ones(5)) == 1
    assert all(first < second for first, second in pairwise(SHARES))


def test_dependence_is_one_minus_the_cosine() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    a, b = first.ravel().tolist(), second.ravel().tolist()
    product = sum(x * y for x, y in zip(a, b, strict=True))
    cosine = product / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
    assert dependence(first, second) == pytest.approx(1 - abs(cosine))
    assert dependence(first, -3 * first) == pytest.approx(0, abs=1e-12)
    assert isnan(dependence(first, 0 * first))


def test_the_strongest_other_channel_fires() -> None:
    values = torch.tensor([3.0, 5.0, 3.0, float("nan"), float("inf")])
    assert strongest_other(values, 1) == 0
    assert strongest_other(values, 0) == 1
    assert strongest_other(torch.tensor([2.0, 0.0, -1.0]), 0) is None
    assert strongest_other(torch.tensor([2.0]), 0) is None


def test_a_twin_has_other_weights_of_the_same_size_and_the_network_keeps_its_own() -> None:
    module = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU()).eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    twin = random_twin(Network(module, input_size=(8, 8)), seed=1).module.state_dict()
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert {name for name in before if not torch.equal(before[name], twin[name])} == {"0.weight"}
    ratio = twin["0.weight"].square().mean() / before["0.weight"].square().mean()
    assert ratio.sqrt() == pytest.approx(1, abs=0.1)
    again = random_twin(Network(module, input_size=(8, 8)), seed=1).module.state_dict()
    assert torch.equal(twin["0.weight"], again["0.weight"])
