"""Answers that can be checked by hand, and those of a peer where the peer is right."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retroscope.methods.deconv.deconv import deconv
from retroscope.network import Network
from retroscope.results.projections import Pixels, Projection
from tests.conftest import built
from tests.reference import making
from tests.reference.making import Shape
from tests.reference.modules import Script
from tests.reference.operations import Array, Rules
from tests.reference.programs import Node, Tape, one_unit
from tests.reference.shapes import SHAPES
from tests.reference.test_reference import SEQUENTIAL_WITH_RELU


class ConvolutionsFirst(nn.Module):
    """One nn.ReLU on two branches that get signals of their own, both convolutions before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = making.conv(3, 6)
        self.left = making.conv(6, 5)
        self.right = making.conv(6, 5)
        self.relu = nn.ReLU()
        self.head = making.conv(10, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        left, right = self.left(x), self.right(x)
        result: Tensor = self.head(torch.cat([self.relu(left), self.relu(right)], dim=1))
        return result


def convolutions_first(script: Script, image: Node) -> Node:
    x = script("stem", image)
    left, right = script("left", x), script("right", x)
    joined = script.tape.concat(script("relu#0", left), script("relu#1", right))
    return script("head", joined)


SHAPES_THAT_BREAK_CAPTUM = {
    "functional_relu": SHAPES["functional_relu"],
    "relu_reused_on_branches": making.shape(ConvolutionsFirst, convolutions_first),
    "pre_activation": SHAPES["pre_activation"],
}


def per_activation(shown: Projection) -> Array:
    """What a start value of 1 gives: a projection grows with the activation that it starts from."""
    assert shown.activation > 0
    return shown.full() / np.float64(shown.activation)


def small_network() -> nn.Module:
    conv, linear = nn.Conv2d(1, 2, 3), nn.Linear(8, 4, bias=False)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.fill_(1)
        conv.bias.copy_(torch.tensor([-50, -75]))
        linear.weight.copy_(torch.tensor([[1] * 5 + [-1] * 3] * 4))
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), linear, nn.ReLU()).double()


def tenfold() -> nn.Module:
    """Ten times what is above zero, and 1 so that every unit fires: a bias plays no other part."""
    conv = nn.Conv2d(1, 1, 1)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.fill_(10)
        conv.bias.fill_(1)
    return nn.Sequential(nn.ReLU(), conv).double()


@pytest.mark.parametrize(
    ("rules", "answer"),
    [
        ("gradient", [[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]),
        ("deconvnet", [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]]),
        ("guided", [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]]),
    ],
)
def test_a_small_network_has_the_three_known_answers(rules: str, answer: list[list[int]]) -> None:
    net = Network(built(small_network), input_size=(4, 4))
    image = torch.arange(16.0).reshape(1, 4, 4)
    shown = deconv(net, "4:0", image, rules=rules)
    assert per_activation(shown)[..., 0].tolist() == answer


@pytest.mark.parametrize(
    ("rules", "answer"),
    [
        ("gradient", [10, 0, 0, 10]),
        ("deconvnet", [10, 10, 10, 10]),
        ("guided", [10, 0, 0, 10]),
    ],
)
def test_a_rectifier_has_the_three_known_answers(rules: str, answer: list[int]) -> None:
    net = Network(built(tenfold), input_size=(1, 4))
    image = torch.tensor([[[5.0, 0.0, -5.0, 10.0]]])
    found = [per_activation(deconv(net, f"1:0@0,{x}", image, rules=rules)) for x in range(4)]
    assert [float(pixels[0, x, 0]) for x, pixels in enumerate(found)] == answer


@pytest.mark.parametrize("rules", ["gradient", "deconvnet", "guided"])
def test_overlapping_pools_add_up_at_their_common_switch(rules: str) -> None:
    image = torch.zeros(1, 5, 5)
    image[0, 2, 2], image[0, 0, 0] = 3, 1
    net = Network(nn.MaxPool2d(3, 2), input_size=(5, 5), mean=(0,), std=(1,))
    expected = np.zeros((5, 5))
    expected[2, 2] = 12
    shown = deconv(net, "pool1:0@*", image, rules=rules)
    np.testing.assert_array_equal(shown.full()[..., 0], expected)


def test_response_normalisation_is_passed_through_by_the_deconvnet_alone() -> None:
    norm = nn.LocalResponseNorm(3, alpha=1.0)
    net = Network(norm, input_size=(1, 1))
    image = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    passed = deconv(net, "norm1:1@0,0", image, rules="deconvnet")
    assert per_activation(passed)[0, 0].tolist() == [0, 1, 0]
    gradient = deconv(net, "norm1:1@0,0", image, rules="gradient")
    assert gradient.full()[0, 0].all()


# The peer. It starts from 1 where we start from the activation.


def strongest(value: Array) -> tuple[int, ...]:
    return tuple(int(index) for index in np.unravel_index(value.argmax(), value.shape))


def unit_of(layer: str, place: tuple[int, ...]) -> str:
    channel, y, x = (*place, 0, 0)[:3]
    return f"{layer}:{channel}@{y},{x}"


def captums(method: str, shape: Shape, layer: str, place: tuple[int, ...]) -> Pixels:
    attr: Any = pytest.importorskip("captum.attr")
    module, image = shape.build(0), torch.from_numpy(shape.image(0))[None].requires_grad_()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU activations")
        found = getattr(attr, method)(module, module.get_submodule(layer)).attribute(image, place)
    pixels: Pixels = found[0].permute(1, 2, 0).detach().numpy()
    return pixels


@pytest.mark.parametrize(
    ("rules", "method"),
    [("deconvnet", "NeuronDeconvolution"), ("guided", "NeuronGuidedBackprop")],
)
@pytest.mark.parametrize("name", SEQUENTIAL_WITH_RELU)
def test_on_plain_networks_captum_gives_the_same_picture(
    name: str, rules: str, method: str
) -> None:
    shape, tape = SHAPES[name], Tape()
    net = Network(shape.build(0), input_size=shape.input_size[1:])
    nodes = shape.program(net.module, tape, shape.image(0))
    layers = [layer.name for layer in net.layers if layer.name in nodes]
    assert layers
    for layer in layers[1:]:
        place = strongest(nodes[layer].value)
        shown = deconv(net, unit_of(layer, place), torch.from_numpy(shape.image(0)), rules=rules)
        expected = shown.activation * captums(method, shape, layer, place)
        np.testing.assert_allclose(shown.full(), expected, atol=1e-9 * abs(expected).max())


@pytest.mark.parametrize(
    ("name", "rules", "method"),
    [
        ("functional_relu", "deconvnet", "NeuronDeconvolution"),
        ("functional_relu", "guided", "NeuronGuidedBackprop"),
        ("relu_reused_on_branches", "deconvnet", "NeuronDeconvolution"),
        ("pre_activation", "deconvnet", "NeuronDeconvolution"),
        ("pre_activation", "guided", "NeuronGuidedBackprop"),
    ],
)
def test_where_captum_is_wrong_the_definition_is_met(name: str, rules: Rules, method: str) -> None:
    shape, tape = SHAPES_THAT_BREAK_CAPTUM[name], Tape()
    net = Network(shape.build(0), input_size=shape.input_size[1:])
    layer = net.layers[-1].name
    node = shape.program(net.module, tape, shape.image(0))[layer]
    place = strongest(node.value)
    expected = tape.project(node, one_unit(node.value, place), rules).transpose(1, 2, 0)
    shown = deconv(net, unit_of(layer, place), torch.from_numpy(shape.image(0)), rules=rules)
    np.testing.assert_allclose(shown.full(), expected, atol=1e-9 * abs(expected).max())
    captum = shown.activation * captums(method, shape, layer, place)
    assert abs(captum - expected).max() > 0.01 * abs(expected).max()
