"""GoogLeNet as the Berkeley Vision and Learning Center trained it (Szegedy et al. 2014).

Unlike torchvision's GoogLeNet it has 5x5 filters, biases and local response norms, and no batch
norm. The two auxiliary classifiers, used only in training, are left out.
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
CLASSIFIER_LAYER = "loss3_classifier"
AUXILIARY_CLASSIFIERS = ("loss1_", "loss2_")
"""How the names of their layers start."""

_WIDTHS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
"""Table 1 of the paper: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection."""


class Inception(nn.ModuleDict):
    """Four parallel branches, whose outputs are concatenated along the channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._run_branch(branch, x) for branch in BRANCHES], dim=1)

    def _run_branch(self, branch: tuple[str, ...], x: torch.Tensor) -> torch.Tensor:
        for name in branch:
            x = self[name](x)
            x = self[f"relu_{name}"](x) if f"relu_{name}" in self else x
        return x


def googlenet(shapes: Shapes) -> nn.Sequential:
    """The network in the widths of these shapes; layers have Caffe's names with `_` for `/`."""
    net = nn.Sequential()
    _add_convolution(net, "conv1", shapes[STEM["conv1"]], stride=2, padding=3)
    net.add_module("pool1", _pool())
    net.add_module("norm1", _norm())
    _add_convolution(net, "conv2_reduce", shapes[STEM["conv2_reduce"]])
    _add_convolution(net, "conv2", shapes[STEM["conv2"]], padding=1)
    net.add_module("norm2", _norm())
    net.add_module("pool2", _pool())
    for name in MODULES:
        if name.startswith("pool"):
            net.add_module(name, _pool())
        else:
            net.add_module(f"inception_{name}", _inception(name, shapes))
    outputs, inputs = shapes[CLASSIFIER_LAYER]
    net.add_module("pool5", nn.AdaptiveAvgPool2d(1))
    net.add_module("flatten", nn.Flatten())
    net.add_module("drop", nn.Dropout(0.4))
    net.add_module("classifier", nn.Linear(inputs, outputs))
    return net


def _add_convolution(
    net: nn.Sequential, name: str, shape: tuple[int, ...], *, stride: int = 1, padding: int = 0
) -> None:
    outputs, inputs, kernel, _ = shape
    net.add_module(name, nn.Conv2d(inputs, outputs, kernel, stride, padding))
    net.add_module(name.replace("conv", "relu"), nn.ReLU(inplace=True))


def _inception(name: str, shapes: Shapes) -> Inception:
    module = Inception()
    for branch in BRANCHES:
        for part in branch:
            if part == "pool":
                module[part] = nn.MaxPool2d(3, stride=1, padding=1)
                continue
            outputs, inputs, kernel, _ = shapes[f"inception_{name}_{part}"]
            module[part] = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
            module[f"relu_{part}"] = nn.ReLU(inplace=True)
    return module


def _norm() -> nn.Module:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1)


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def module_path(layer: str) -> str:
    """The module that takes the weights of this Caffe layer.

    >>> module_path("conv2_3x3"), module_path("inception_3a_1x1"), module_path("loss3_classifier")
    ('conv2', 'inception_3a.1x1', 'classifier')
    """
    paths = {CLASSIFIER_LAYER: "classifier"} | {name: path for path, name in STEM.items()}
    if layer in paths:
        return paths[layer]
    inception, number, part = layer.split("_", 2)
    return f"{inception}_{number}.{part}"


def published_googlenet_shapes() -> Shapes:
    """The shapes of the published weights."""
    return googlenet_shapes(_WIDTHS)


def googlenet_shapes(widths: Mapping[str, tuple[int, ...]], outputs: int = 1000) -> Shapes:
    """The shapes of the weights for these widths, in the order of the paper's table."""
    shapes: dict[str, tuple[int, ...]] = {
        STEM["conv1"]: (64, 3, 7, 7),
        STEM["conv2_reduce"]: (64, 64, 1, 1),
        STEM["conv2"]: (192, 64, 3, 3),
    }
    inputs = 192
    for name, (point, reduce3, conv3, reduce5, conv5, projection) in widths.items():
        prefix = f"inception_{name}_"
        shapes |= {
            f"{prefix}1x1": (point, inputs, 1, 1),
            f"{prefix}3x3_reduce": (reduce3, inputs, 1, 1),
            f"{prefix}3x3": (conv3, reduce3, 3, 3),
            f"{prefix}5x5_reduce": (reduce5, inputs, 1, 1),
            f"{prefix}5x5": (conv5, reduce5, 5, 5),
            f"{prefix}pool_proj": (projection, inputs, 1, 1),
        }
        inputs = point + conv3 + conv5 + projection
    return shapes | {CLASSIFIER_LAYER: (outputs, inputs)}
