"""GoogLeNet as the Berkeley Vision and Learning Center trained it (Szegedy et al. 2014).

Not torchvision's: its wide filters are 5x5, it has biases and local response norms, no batch norm.
The two classifiers that helped it train are left out.
"""

from collections.abc import Mapping

import torch
from torch import nn

from retroscope.zoo.caffe_vgg import Shapes

BRANCHES = (
    ("1x1",),
    ("3x3_reduce", "3x3"),
    ("5x5_reduce", "5x5"),
    ("pool", "pool_proj"),
)
MODULES = ("3a", "3b", "pool3", "4a", "4b", "4c", "4d", "4e", "pool4", "5a", "5b")
STEM = {"conv1": "conv1_7x7_s2", "conv2_reduce": "conv2_3x3_reduce", "conv2": "conv2_3x3"}
HEAD = "loss3_classifier"
HELPERS = ("loss1_", "loss2_")
"""What their names begin with."""

_WIDTHS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
"""The paper's table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection."""


class Inception(nn.ModuleDict):
    """Four ways through the same maps, one after the other in the channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._along(branch, x) for branch in BRANCHES], dim=1)

    def _along(self, branch: tuple[str, ...], x: torch.Tensor) -> torch.Tensor:
        for name in branch:
            x = self[name](x)
            x = self[f"relu_{name}"](x) if f"relu_{name}" in self else x
        return x


def googlenet(shapes: Shapes) -> nn.Sequential:
    """The network, as wide as its weights are; their names are Caffe's, with `_` for `/`."""
    net = nn.Sequential()
    _add(net, "conv1", shapes[STEM["conv1"]], stride=2, padding=3)
    net.add_module("pool1", _pool())
    net.add_module("norm1", _norm())
    _add(net, "conv2_reduce", shapes[STEM["conv2_reduce"]])
    _add(net, "conv2", shapes[STEM["conv2"]], padding=1)
    net.add_module("norm2", _norm())
    net.add_module("pool2", _pool())
    for name in MODULES:
        if name.startswith("pool"):
            net.add_module(name, _pool())
        else:
            net.add_module(f"inception_{name}", _inception(name, shapes))
    outputs, inputs = shapes[HEAD]
    net.add_module("pool5", nn.AdaptiveAvgPool2d(1))
    net.add_module("flatten", nn.Flatten())
    net.add_module("drop", nn.Dropout(0.4))
    net.add_module("classifier", nn.Linear(inputs, outputs))
    return net


def _add(
    net: nn.Sequential, name: str, shape: tuple[int, ...], *, stride: int = 1, padding: int = 0
) -> None:
    outputs, inputs, kernel, _ = shape
    net.add_module(name, nn.Conv2d(inputs, outputs, kernel, stride, padding))
    net.add_module(name.replace("conv", "relu"), nn.ReLU(inplace=True))


def _inception(name: str, shapes: Shapes) -> Inception:
    parts = Inception()
    for branch in BRANCHES:
        for part in branch:
            if part == "pool":
                parts[part] = nn.MaxPool2d(3, stride=1, padding=1)
                continue
            outputs, inputs, kernel, _ = shapes[f"inception_{name}_{part}"]
            parts[part] = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
            parts[f"relu_{part}"] = nn.ReLU(inplace=True)
    return parts


def _norm() -> nn.Module:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1)


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def module_of(layer: str) -> str:
    """Where the weights of one of Caffe's layers stand in the network.

    >>> module_of("conv2_3x3"), module_of("inception_3a_1x1"), module_of("loss3_classifier")
    ('conv2', 'inception_3a.1x1', 'classifier')
    """
    known = {HEAD: "classifier"} | {layer: path for path, layer in STEM.items()}
    if layer in known:
        return known[layer]
    inception, number, part = layer.split("_", 2)
    return f"{inception}_{number}.{part}"


def full_size() -> Shapes:
    """The shapes of the weights as published."""
    return published(_WIDTHS)


def published(widths: Mapping[str, tuple[int, ...]], outputs: int = 1000) -> Shapes:
    """The shapes that follow from the widths in the paper's table."""
    shapes: dict[str, tuple[int, ...]] = {
        STEM["conv1"]: (64, 3, 7, 7),
        STEM["conv2_reduce"]: (64, 64, 1, 1),
        STEM["conv2"]: (192, 64, 3, 3),
    }
    inputs = 192
    for name, (one, less3, three, less5, five, pooled) in widths.items():
        home = f"inception_{name}_"
        shapes |= {
            f"{home}1x1": (one, inputs, 1, 1),
            f"{home}3x3_reduce": (less3, inputs, 1, 1),
            f"{home}3x3": (three, less3, 3, 3),
            f"{home}5x5_reduce": (less5, inputs, 1, 1),
            f"{home}5x5": (five, less5, 5, 5),
            f"{home}pool_proj": (pooled, inputs, 1, 1),
        }
        inputs = one + three + five + pooled
    return shapes | {HEAD: (outputs, inputs)}
