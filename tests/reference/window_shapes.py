"""Shapes that differ in how windows lie: convolutions, pools, normalisation, activations.

Each starts with a convolution, so that a pool or a norm never sees the bare image, and ends with
one, so that a rectifier is met by a signal of both signs. A rectifier whose input is never
negative (a pool of a ReLU) would not tell guided from deconvnet, so another one follows.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from tests.reference.making import Shape, conv, shape
from tests.reference.modules import Script
from tests.reference.programs import Node


def _between(*middle: nn.Module, channels: int = 6) -> nn.Sequential:
    """conv, ReLU, the middle, ReLU, conv, ReLU, conv."""
    head = [nn.ReLU(), conv(channels, 5), nn.ReLU(), nn.Conv2d(5, 4, 2, padding=1)]
    return nn.Sequential(conv(3, 6), nn.ReLU(), *middle, *head)


def _activated(activation: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(conv(3, 6), activation(), conv(6, 5), activation(), conv(5, 4))


class FunctionalPad(nn.Module):
    """Asymmetric padding by F.pad, once around a convolution and once before the ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, stride=2)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(6, 5, 3)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(5, 4, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.relu1(self.conv1(F.pad(image, (0, 1, 2, 3))))
        x = self.relu2(F.pad(self.conv2(F.pad(x, (2, 0, 0, 1))), (1, 0, 0, 2)))
        result: torch.Tensor = self.conv3(x)
        return result


def _functional_pad(script: Script, image: Node) -> Node:
    tape = script.tape
    x = script("conv1", tape.pad(image, ((2, 3), (0, 1))))
    x = script("conv2", tape.pad(script("relu1", x), ((0, 1), (2, 0))))
    x = script("relu2", tape.pad(x, ((0, 2), (1, 0))))
    return script("conv3", x)


class FunctionalPools(nn.Module):
    """Pools as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = conv(3, 6)
        self.conv2 = conv(6, 5)
        self.conv3 = conv(5, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(torch.relu(self.conv1(image)), 3, stride=2, padding=1)
        x = F.avg_pool2d(torch.relu(self.conv2(x)), (2, 3), stride=(2, 1))
        result: torch.Tensor = self.conv3(F.adaptive_avg_pool2d(x, (3, 2)))
        return result


def _functional_pools(script: Script, image: Node) -> Node:
    tape = script.tape
    x = tape.max_pool(tape.relu(script("conv1", image)), 3, stride=2, padding=1)
    x = tape.avg_pool(tape.relu(script("conv2", x)), (2, 3), stride=(2, 1))
    return script("conv3", tape.adaptive_avg_pool(x, (3, 2)))


def _vgg() -> nn.Sequential:
    widths = [(3, 4), (4, 4), (4, 6), (6, 6), (6, 8)]
    convs = [[conv(*width), nn.ReLU()] for width in widths]
    pools = [[], [nn.MaxPool2d(2, 2)], [], [nn.MaxPool2d(2, 2)], []]
    return nn.Sequential(*(m for c, p in zip(convs, pools, strict=True) for m in [*c, *p]))


def _fully_connected() -> nn.Sequential:
    features = nn.Sequential(conv(3, 5), nn.ReLU(), nn.AdaptiveAvgPool2d((4, 3)))
    head = [nn.Linear(60, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5)]
    return nn.Sequential(features, nn.Flatten(), nn.Sequential(*head))


WINDOW_SHAPES: dict[str, Shape] = {
    "conv_only": shape(lambda: nn.Sequential(conv(3, 6), conv(6, 5), conv(5, 4))),
    "vgg": shape(_vgg),
    "fully_connected": shape(_fully_connected),
    "grouped_conv": shape(lambda: _between(nn.Conv2d(6, 4, 3, groups=2), channels=4)),
    "depthwise_conv": shape(
        lambda: _between(nn.Conv2d(6, 12, 3, padding=1, groups=6), channels=12)
    ),
    "dilated_conv": shape(
        lambda: _between(
            nn.Conv2d(6, 6, 3, dilation=(2, 3), padding="same"),
            nn.ReLU(),
            nn.Conv2d(6, 6, (3, 2), stride=2, dilation=2, padding=1),
        )
    ),
    "functional_pad": shape(FunctionalPad, _functional_pad),
    "zero_pad_module": shape(
        lambda: _between(nn.ZeroPad2d((0, 1, 2, 0)), nn.Conv2d(6, 6, 3, stride=2))
    ),
    "even_kernel": shape(
        lambda: _between(nn.Conv2d(6, 6, 2, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 4, stride=2))
    ),
    "wide_stride": shape(lambda: _between(nn.Conv2d(6, 6, 2, stride=3))),
    "overlapping_max_pool": shape(lambda: _between(nn.MaxPool2d(3, 2))),
    "ceil_max_pool": shape(lambda: _between(nn.MaxPool2d(3, 2, ceil_mode=True))),
    "ceil_max_pool_padded": shape(lambda: _between(nn.MaxPool2d(2, 3, padding=1, ceil_mode=True))),
    "max_pool_before_relu": shape(
        lambda: nn.Sequential(
            conv(3, 6), nn.MaxPool2d(2, 1, padding=1), nn.ReLU(), conv(6, 5), nn.ReLU(), conv(5, 4)
        )
    ),
    "dilated_max_pool": shape(lambda: _between(nn.MaxPool2d(3, 2, padding=1, dilation=2))),
    "ceil_avg_pool_counting_padding": shape(
        lambda: _between(nn.AvgPool2d(3, 2, padding=1, ceil_mode=True))
    ),
    "ceil_avg_pool_without_padding": shape(
        lambda: _between(nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False))
    ),
    "functional_pools": shape(FunctionalPools, _functional_pools),
    "local_response_norm": shape(
        lambda: _between(nn.LocalResponseNorm(4, alpha=0.5, beta=0.75, k=1.5))
    ),
    "batch_norm": shape(lambda: _between(conv(6, 6), nn.BatchNorm2d(6))),
    "relu6": shape(lambda: _activated(nn.ReLU6)),
    "leaky_relu": shape(lambda: _activated(lambda: nn.LeakyReLU(0.2))),
    "elu": shape(lambda: _activated(lambda: nn.ELU(0.7))),
    "silu": shape(lambda: _activated(nn.SiLU)),
    "gelu": shape(lambda: _activated(nn.GELU)),
    "hardswish": shape(lambda: _activated(nn.Hardswish)),
}
