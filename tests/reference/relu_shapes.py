"""Shapes that differ in how the rectifier is called: each of them deceives some peer."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.reference.making import Shape, conv, shape
from tests.reference.modules import Script
from tests.reference.programs import Node


class ThreeConvs(nn.Module):
    """Three convolutions with a rectifier between them that is no module."""

    def __init__(self, rectify: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rectify = rectify
        self.conv1 = conv(3, 6)
        self.conv2 = conv(6, 5)
        self.conv3 = conv(5, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.rectify(self.conv1(image))
        result: Tensor = self.conv3(self.rectify(self.conv2(x)))
        return result


def _three_convs(script: Script, image: Node) -> Node:
    x = script.tape.relu(script("conv1", image))
    return script("conv3", script.tape.relu(script("conv2", x)))


class ReusedRelu(nn.Module):
    """One nn.ReLU, called after each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(3, 6)
        self.conv2 = conv(6, 5)
        self.conv3 = conv(5, 4)
        self.relu = nn.ReLU()

    def forward(self, image: Tensor) -> Tensor:
        x = self.relu(self.conv1(image))
        x = self.relu(self.conv2(x))
        result: Tensor = self.relu(self.conv3(x))
        return result


def _reused_relu(script: Script, x: Node) -> Node:
    for k, path in enumerate(("conv1", "conv2", "conv3")):
        x = script(f"relu#{k}", script(path, x))
    return x


class TwoBranches(nn.Module):
    """One nn.ReLU, called on two parallel branches."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 6)
        self.left = conv(6, 5)
        self.right = conv(6, 5, 5)
        self.relu = nn.ReLU()
        self.head = conv(5, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        result: Tensor = self.head(self.relu(self.left(x)) + self.relu(self.right(x)))
        return result


def _two_branches(script: Script, image: Node) -> Node:
    x = script("stem", image)
    left = script("relu#0", script("left", x))
    right = script("relu#1", script("right", x))
    return script("head", script.tape.add(left, right))


class PreActivation(nn.Module):
    """The stem feeds a ReLU and a skip; in place, the skip sees what the ReLU left behind."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        self.stem = conv(3, 6)
        self.relu = nn.ReLU(inplace=in_place)
        self.conv = conv(6, 6)
        self.head = conv(6, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        y = self.conv(self.relu(x))
        result: Tensor = self.head(F.relu(y + x))
        return result


def _pre_activation(script: Script, image: Node, *, in_place: bool) -> Node:
    x = script("stem", image)
    rectified = script("relu", x)
    y = script("conv", rectified)
    total = script.tape.add(y, rectified if in_place else x)
    return script("head", script.tape.relu(total))


class ReluOnView(nn.Module):
    """An in-place ReLU on a slice changes the tensor that was sliced."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 6)
        self.head = conv(6, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        x[:, 2:5].relu_()
        result: Tensor = self.head(x)
        return result


def _relu_on_view(script: Script, image: Node) -> Node:
    tape, x = script.tape, script("stem", image)
    before, inside, after = (tape.channel_slice(x, *edges) for edges in ((0, 2), (2, 5), (5, 6)))
    return script("head", tape.concat(before, tape.relu(inside), after))


def _relu_in_place() -> nn.Module:
    return nn.Sequential(
        conv(3, 6), nn.ReLU(inplace=True), conv(6, 5), nn.ReLU(inplace=True), conv(5, 4)
    )


RELU_SHAPES: dict[str, Shape] = {
    "functional_relu": shape(lambda: ThreeConvs(F.relu), _three_convs),
    "torch_relu": shape(lambda: ThreeConvs(torch.relu), _three_convs),
    "tensor_relu_": shape(lambda: ThreeConvs(lambda x: x.relu_()), _three_convs),
    "tensor_clamp": shape(lambda: ThreeConvs(lambda x: x.clamp(min=0)), _three_convs),
    "torch_clamp_": shape(lambda: ThreeConvs(lambda x: torch.clamp_(x, min=0)), _three_convs),
    "relu_in_place": shape(_relu_in_place),
    "relu_reused_in_sequence": shape(ReusedRelu, _reused_relu),
    "relu_reused_on_branches": shape(TwoBranches, _two_branches),
    "relu_on_a_view": shape(ReluOnView, _relu_on_view),
    "pre_activation": shape(
        lambda: PreActivation(in_place=False),
        lambda script, x: _pre_activation(script, x, in_place=False),
    ),
    "pre_activation_in_place": shape(
        lambda: PreActivation(in_place=True),
        lambda script, x: _pre_activation(script, x, in_place=True),
    ),
}
