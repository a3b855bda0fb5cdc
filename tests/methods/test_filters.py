"""First-layer filters: the weights themselves."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from retroscope.errors import RetroscopeError, UnitError
from retroscope.methods.filters import filters
from retroscope.network import Network
from retroscope.render.draw import draw
from retroscope.results.projections import Filters
from tests.conftest import built, no_trace


def deep() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 4, 3))


def test_filters_are_the_weights() -> None:
    net = Network(built(deep), input_size=(32, 32))
    with no_trace(net.module):
        found = filters(net)
    weights = net.module[0].weight.detach().permute(0, 2, 3, 1)  # type: ignore[index]
    np.testing.assert_array_equal(found.weights, weights.numpy())
    assert found.layer.name == "0"


def test_filters_of_plain_code_are_found() -> None:
    class Code(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = nn.Parameter(torch.randn(4, 3, 3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(F.conv2d(input=x, weight=2 * self.own))

    net = Network(built(Code), input_size=(16, 16))
    own = net.module.own.detach()  # type: ignore[operator]
    np.testing.assert_array_equal(filters(net).weights, 2 * own.permute(0, 2, 3, 1).numpy())


def test_deeper_filters_are_no_pictures() -> None:
    net = Network(built(deep), input_size=(32, 32))
    for layer in ("conv2", "relu1"):
        with pytest.raises(RetroscopeError, match="not pixels, and cannot"):
            filters(net, layer)


def test_filters_are_those_of_a_layer_not_of_a_unit() -> None:
    net = Network(built(deep), input_size=(32, 32))
    with pytest.raises(UnitError, match="give 'conv1', not 'conv1:3'"):
        filters(net, "conv1:3")


def test_filters_of_groups_say_what_they_read() -> None:
    net = Network(built(lambda: nn.Conv2d(3, 6, 3, groups=3)), input_size=(16, 16))
    found = filters(net)
    assert found.weights.shape == (6, 3, 3, 1)
    assert any("1 of the 3 channels" in note for note in found.notes)


def test_each_filter_is_drawn_by_its_own_scale_and_an_empty_one_is_crossed() -> None:
    net = Network(built(deep), input_size=(32, 32))
    weights = np.zeros((3, 4, 4, 3), np.float32)
    weights[0, 0, 0], weights[1, 3, 3] = 5, -0.01
    drawn = np.asarray(draw(Filters(net.layers[0], weights), bare=True, scale=2))
    assert drawn[0, 0].tolist() == [255, 255, 255]
    assert drawn[7, 8 + 1 + 7].tolist() == [1, 1, 1]
    assert drawn[4, 4].tolist() == [128, 128, 128]
    empty = drawn[:, 18:26].reshape(-1, 3)
    assert (empty.max(axis=0) < 128).all()
