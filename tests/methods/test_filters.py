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


def test_filters_are_the_weights_of_the_first_convolution() -> None:
    net = Network(built(deep), input_size=(32, 32))
    with no_trace(net.module):
        result = filters(net)
    weights = net.module[0].weight.detach().permute(0, 2, 3, 1)  # type: ignore[index]
    np.testing.assert_array_equal(result.weights, weights.numpy())
    assert result.layer.name == "0"


def test_filters_of_functional_convolutions_are_found() -> None:
    class Code(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(F.conv2d(input=x, weight=2 * self.kernel))

    net = Network(built(Code), input_size=(16, 16))
    kernel = net.module.kernel.detach()  # type: ignore[operator]
    np.testing.assert_array_equal(filters(net).weights, 2 * kernel.permute(0, 2, 3, 1).numpy())


def test_deeper_filters_are_refused() -> None:
    net = Network(built(deep), input_size=(32, 32))
    for layer in ("conv2", "relu1"):
        with pytest.raises(RetroscopeError, match="not pixels, and cannot"):
            filters(net, layer)


def test_filters_of_a_unit_are_refused() -> None:
    net = Network(built(deep), input_size=(32, 32))
    with pytest.raises(UnitError, match="give 'conv1', not 'conv1:3'"):
        filters(net, "conv1:3")


def test_filters_of_a_grouped_convolution_note_their_channels() -> None:
    net = Network(built(lambda: nn.Conv2d(3, 6, 3, groups=3)), input_size=(16, 16))
    result = filters(net)
    assert result.weights.shape == (6, 3, 3, 1)
    assert any("1 of the 3 channels" in note for note in result.notes)


def test_each_filter_is_scaled_separately_and_an_empty_one_is_crossed() -> None:
    net = Network(built(deep), input_size=(32, 32))
    weights = np.zeros((3, 4, 4, 3), np.float32)
    weights[0, 0, 0], weights[1, 3, 3] = 5, -0.01
    image = np.asarray(draw(Filters(net.layers[0], weights), bare=True, scale=2))
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[7, 8 + 1 + 7].tolist() == [1, 1, 1]
    assert image[4, 4].tolist() == [128, 128, 128]
    empty = image[:, 18:26].reshape(-1, 3)
    assert (empty.max(axis=0) < 128).all()
