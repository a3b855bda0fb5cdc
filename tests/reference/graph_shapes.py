"""Shapes that differ in how layers are wired."""

from collections.abc import Callable
from operator import add, mul

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.reference.making import Shape, conv, shape
from tests.reference.modules import Script
from tests.reference.programs import Node


class Residual(nn.Module):
    """A skip that joins before the last ReLU of its block (ResNet), or after it."""

    def __init__(self, *, relu_last: bool, join: Callable[[Tensor, Tensor], Tensor] = add) -> None:
        super().__init__()
        self.join = join
        self.relu_last = relu_last
        self.stem = nn.Sequential(conv(3, 6), nn.ReLU())
        self.conv = conv(6, 6)
        self.relu = nn.ReLU()
        self.head = conv(6, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        y = self.conv(x)
        y = self.relu(self.join(y, x)) if self.relu_last else self.join(self.relu(y), x)
        result: Tensor = self.head(y)
        return result


def _residual(script: Script, image: Node, *, relu_last: bool) -> Node:
    x = script("stem", image)
    y = script("conv", x)
    if relu_last:
        return script("head", script("relu", script.tape.add(y, x)))
    return script("head", script.tape.add(script("relu", y), x))


class InPlaceAdd(nn.Module):
    """`+=` onto a module's output; a second name for that tensor sees the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 6), nn.ReLU(inplace=True))
        self.conv = conv(6, 6)
        self.side = conv(6, 6)
        self.relu = nn.ReLU(inplace=True)
        self.head = conv(6, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        y = self.conv(x)
        same = y
        y += x
        result: Tensor = self.head(self.relu(self.side(same)) + y)
        return result


def _in_place_add(script: Script, image: Node) -> Node:
    x = script("stem", image)
    total = script.tape.add(script("conv", x), x)
    beside = script("relu", script("side", total))
    return script("head", script.tape.add(beside, total))


class ChannelShuffle(nn.Module):
    """ShuffleNet's shuffle: view, transpose, reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, groups=3)
        self.conv2 = nn.Conv2d(6, 6, 3, groups=2)
        self.relu = nn.ReLU()
        self.head = conv(6, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.conv1(image))
        n, c, h, w = x.shape
        x = x.view(n, 3, c // 3, h, w).transpose(1, 2).reshape(n, c, h, w)
        result: Tensor = self.head(self.relu(self.conv2(x)))
        return result


def _channel_shuffle(script: Script, image: Node) -> Node:
    x = script.tape.channel_shuffle(script.tape.relu(script("conv1", image)), 3)
    return script("head", script("relu", script("conv2", x)))


class SqueezeExcitation(nn.Module):
    """A gate per channel, made from the whole map."""

    def __init__(self, product: Callable[[Tensor, Tensor], Tensor] = mul) -> None:
        super().__init__()
        self.product = product
        self.stem = conv(3, 6)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(nn.Conv2d(6, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 1), nn.Sigmoid())
        self.relu = nn.ReLU()
        self.head = conv(6, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        result: Tensor = self.head(self.relu(self.product(x, self.gate(self.pool(x)))))
        return result


def _squeeze_excitation(script: Script, image: Node) -> Node:
    x = script("stem", image)
    gate = script("gate", script("pool", x))
    return script("head", script("relu", script.tape.multiply(x, gate)))


class DenseConcat(nn.Module):
    """DenseNet: every layer rectifies the concatenation of all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(3, 4)
        self.conv2 = conv(4, 4)
        self.conv3 = conv(8, 4)
        self.head = conv(12, 4)

    def forward(self, image: Tensor) -> Tensor:
        features = [self.conv1(image)]
        for layer in (self.conv2, self.conv3):
            features.append(layer(F.relu(torch.cat(features, dim=1))))
        result: Tensor = self.head(torch.cat(features, dim=1))
        return result


def _dense_concat(script: Script, image: Node) -> Node:
    tape = script.tape
    first = script("conv1", image)
    second = script("conv2", tape.relu(first))
    third = script("conv3", tape.relu(tape.concat(first, second)))
    return script("head", tape.concat(first, second, third))


class Inception(nn.Module):
    """Parallel branches, two of them pools."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 5), nn.ReLU())
        self.branch1 = nn.Sequential(conv(5, 3, 1), nn.ReLU())
        self.branch2 = nn.Sequential(conv(5, 4, 1), nn.ReLU(), conv(4, 3), nn.ReLU())
        self.branch3 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), conv(5, 2, 1), nn.ReLU())
        self.branch4 = nn.Sequential(nn.AvgPool2d(3, 1, padding=1), conv(5, 2, 1), nn.ReLU())
        self.head = conv(10, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        result: Tensor = self.head(torch.cat([branch(x) for branch in branches], dim=1))
        return result


def _inception(script: Script, image: Node) -> Node:
    x = script("stem", image)
    branches = [script(f"branch{k}", x) for k in (1, 2, 3, 4)]
    return script("head", script.tape.concat(*branches))


class GlobalMeanHead(nn.Module):
    """A mean over the map, then a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv(3, 6), nn.ReLU(), conv(6, 6), nn.ReLU())
        self.linear = nn.Linear(6, 5)

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.linear(self.features(image).mean((2, 3)))
        return result


def _global_mean_head(script: Script, image: Node) -> Node:
    return script("linear", script.tape.global_mean(script("features", image)))


class SplitChannels(nn.Module):
    """Half of the channels go through a block, the other half round it (ShuffleNet v2)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 6)
        self.block = nn.Sequential(nn.ReLU(), conv(3, 3), nn.ReLU())
        self.head = conv(6, 4)

    def forward(self, image: Tensor) -> Tensor:
        kept, sent = self.stem(image).chunk(2, dim=1)
        result: Tensor = self.head(torch.cat([kept, self.block(sent)], dim=1))
        return result


def _split_channels(script: Script, image: Node) -> Node:
    x = script("stem", image)
    kept, sent = script.tape.channel_slice(x, 0, 3), script.tape.channel_slice(x, 3, 6)
    return script("head", script.tape.concat(kept, script("block", sent)))


class Checkpointed(nn.Module):
    """A block whose forward is run again on the way back."""

    def __init__(self, *, use_reentrant: bool) -> None:
        super().__init__()
        self.use_reentrant = use_reentrant
        self.stem = nn.Sequential(conv(3, 6), nn.ReLU())
        self.block = nn.Sequential(conv(6, 5), nn.ReLU(), conv(5, 6), nn.ReLU())
        self.head = conv(6, 4)

    def forward(self, image: Tensor) -> Tensor:
        x = checkpoint(self.block, self.stem(image), use_reentrant=self.use_reentrant)
        result: Tensor = self.head(x)
        return result


def _checkpointed(script: Script, image: Node) -> Node:
    return script("head", script("block", script("stem", image)))


GRAPH_SHAPES: dict[str, Shape] = {
    "residual_add_before_relu": shape(
        lambda: Residual(relu_last=True),
        lambda script, x: _residual(script, x, relu_last=True),
    ),
    "residual_add_after_relu": shape(
        lambda: Residual(relu_last=False),
        lambda script, x: _residual(script, x, relu_last=False),
    ),
    "residual_by_torchs_long_names": shape(
        lambda: Residual(relu_last=True, join=lambda y, x: torch.divide(torch.subtract(y, -x), 1)),
        lambda script, x: _residual(script, x, relu_last=True),
    ),
    "squeeze_excitation_by_multiply": shape(
        lambda: SqueezeExcitation(torch.multiply), _squeeze_excitation
    ),
    "in_place_add": shape(InPlaceAdd, _in_place_add),
    "channel_shuffle": shape(ChannelShuffle, _channel_shuffle),
    "squeeze_excitation": shape(SqueezeExcitation, _squeeze_excitation),
    "dense_concat": shape(DenseConcat, _dense_concat),
    "inception": shape(Inception, _inception),
    "global_mean_head": shape(GlobalMeanHead, _global_mean_head),
    "split_channels": shape(SplitChannels, _split_channels),
    "checkpointed": shape(lambda: Checkpointed(use_reentrant=False), _checkpointed),
    "checkpointed_reentrant": shape(lambda: Checkpointed(use_reentrant=True), _checkpointed),
}
