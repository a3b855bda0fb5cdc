"""Small networks around a piece of code, as people write it."""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

Code = Callable[["Sketch", torch.Tensor], torch.Tensor]
Build = Callable[[], nn.Module]


class Layer(Protocol):
    """A module with weights, from a tensor to a tensor."""

    @property
    def weight(self) -> torch.Tensor: ...
    @property
    def bias(self) -> torch.Tensor | None: ...
    def __call__(self, x: torch.Tensor, /) -> torch.Tensor: ...


class Sketch(nn.Module):
    """Two convolutions with somebody's code between them, and a classifier.

    The code gets maps of eight channels and returns some; it may use any of the modules.
    """

    def __init__(self, code: Code) -> None:
        super().__init__()
        self.code = code
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.conv: Layer = nn.Conv2d(8, 8, 3, padding=1)
        self.pointwise: Layer = nn.Conv2d(8, 8, 1)
        self.depthwise: Layer = nn.Conv2d(8, 8, 5, padding=2, groups=8)
        self.strided: Layer = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.widen: Layer = nn.Conv2d(8, 32, 1)
        self.narrow: Layer = nn.Conv2d(32, 8, 1)
        self.attend: Layer = nn.Conv2d(2, 1, 7, padding=3)
        self.up: Layer = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.conv1d: Layer = nn.Conv1d(8, 8, 3, padding=1)
        self.eca: Layer = nn.Conv1d(1, 1, 3, padding=1)
        self.conv3d: Layer = nn.Conv3d(1, 1, 3, padding=1)
        self.norm: Layer = nn.BatchNorm2d(8)
        self.group_norm: Layer = nn.GroupNorm(2, 8)
        self.layer_norm: Layer = nn.LayerNorm(8)
        self.squeeze: Layer = nn.Linear(8, 4)
        self.excite: Layer = nn.Linear(4, 8)
        self.dense: Layer = nn.Linear(8, 8)
        self.scale = nn.Parameter(torch.ones(8))
        self.last: Layer = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU()
        self.head: Layer = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.code(self, self.stem(x))
        x = self.relu(self.last(x))
        return self.head(x.mean((2, 3)))


SKETCHES: dict[str, Build] = {}
"""Every network written here, by name."""
GROUPS: dict[str, str] = {}
"""What each is a sketch of: the end of its file's name."""


def sketch(code: Code) -> Code:
    """Registers a sketch with this code between its convolutions."""
    SKETCHES[code.__name__] = lambda: Sketch(code)
    GROUPS[code.__name__] = code.__module__.rpartition("_")[2]
    return code


def network(build: Build) -> Build:
    """Registers the network that a function builds."""
    SKETCHES[build.__name__] = build
    GROUPS[build.__name__] = build.__module__.rpartition("_")[2]
    return build


def gate(net: Sketch, x: torch.Tensor) -> torch.Tensor:
    """The channel weights of a squeeze-and-excitation block, one vector per image."""
    squeezed = F.relu(net.squeeze(x.mean((2, 3))))
    return net.excite(squeezed).sigmoid()
