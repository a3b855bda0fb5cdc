"""Weights are re-drawn from the top, layer by layer; similarity of maps."""

import numpy as np
import pytest
import torch
from torch import nn

from retroscope.accountability.weight_randomisation import map_similarity, randomise_from_top
from retroscope.errors import ModelError
from retroscope.network import Network
from tests.conftest import built, no_trace


def network() -> Network:
    module = built(
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
        )
    )  # fmt: skip
    return Network(module, input_size=(12, 12))


def test_each_network_has_one_more_layer_re_drawn_from_the_top() -> None:
    net = network()
    before = {name: tensor.clone() for name, tensor in net.module.state_dict().items()}
    changed = [
        (layer, {n for n, t in twin.module.state_dict().items() if not torch.equal(t, before[n])})
        for layer, twin in randomise_from_top(net)
    ]
    assert changed == [
        ("6", {"6.weight"}),
        ("2", {"6.weight", "2.weight"}),
        ("0", {"6.weight", "2.weight", "0.weight"}),
    ]


def test_the_layers_above_stay_as_they_were_re_drawn() -> None:
    (_, first), *_, (_, last) = randomise_from_top(network())
    weights = [twin.module.get_parameter("6.weight") for twin in (first, last)]
    assert torch.equal(*weights)


def test_a_seed_gives_the_same_weights_and_another_seed_others() -> None:
    net = network()
    with no_trace(net.module):
        one, again, other = (
            next(randomise_from_top(net, seed))[1].module.get_parameter("6.weight")
            for seed in (1, 1, 2)
        )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_weights_keep_their_size() -> None:
    net = network()
    *_, (_, twin) = randomise_from_top(net)
    weights = [n.module.get_parameter("2.weight").detach() for n in (net, twin)]
    sizes = [float(weight.square().mean().sqrt()) for weight in weights]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_a_network_without_weights_is_refused() -> None:
    net = Network(nn.Sequential(nn.AvgPool2d(2), nn.ReLU()), input_size=(8, 8))
    with pytest.raises(ModelError, match="no layer of Sequential is a module with weights"):
        next(randomise_from_top(net))


def test_a_map_resembles_itself_at_any_brightness() -> None:
    heat = np.random.default_rng(0).random((5, 6))
    assert map_similarity(heat, 7 * heat) == pytest.approx((1, 1))
    assert map_similarity(heat, -heat) == pytest.approx((-1, 1))


def test_a_map_without_differences_resembles_nothing() -> None:
    heat = np.random.default_rng(0).random((5, 6))
    assert map_similarity(heat, np.zeros((5, 6))) == (0, 0)
    assert map_similarity(np.ones((5, 6)), heat) == (0, 0)
