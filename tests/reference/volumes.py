"""Small networks of volumes, one for each way in which people build them, and of signals."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

Make = Callable[[], nn.Module]


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, stride, padding=1), nn.ReLU())


class UNet(nn.Module):
    """A medical U-Net: two levels, transposed convolutions, skips, instance norms."""

    def __init__(self, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = block(1, 3), block(3, 4), block(4, 5)
        self.norm = norm(4)
        self.up2, self.up1 = nn.ConvTranspose3d(5, 4, 2, 2), nn.ConvTranspose3d(4, 3, 2, 2)
        self.right2, self.right1 = block(8, 4), block(6, 3)
        self.head = nn.Conv3d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.down1(x)
        second = self.norm(self.down2(F.max_pool3d(first, 2)))
        x = self.up2(self.bottom(F.max_pool3d(second, 2)))
        x = self.up1(self.right2(torch.cat([second, x], 1)))
        scores: torch.Tensor = self.head(self.right1(torch.cat([first, x], 1)))
        return scores


class Decoder(nn.Module):
    """Upsampling by interpolation instead of transposed convolutions."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.down, self.up, self.mode = block(1, 3, stride=2), block(3, 3), mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.down(x)
        grown: torch.Tensor = self.up(F.interpolate(x, scale_factor=2, mode=self.mode))
        return grown


class Residual(nn.Module):
    """A factored residual block, as R(2+1)D has it: over space, then over time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 4, (1, 5, 5), (1, 2, 2), (0, 2, 2))
        self.space = nn.Conv3d(4, 6, (1, 3, 3), padding=(0, 1, 1))
        self.time = nn.Conv3d(6, 4, (3, 1, 1), padding=(1, 0, 0))
        self.norm, self.relu = nn.BatchNorm3d(4), nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.stem(x))
        x = self.relu(x + self.norm(self.time(self.relu(self.space(x)))))
        scores: torch.Tensor = self.head(F.adaptive_avg_pool3d(x, 1).flatten(1))
        return scores


class SliceBySlice(nn.Module):
    """A network of images run on each slice, then a convolution over time."""

    def __init__(self) -> None:
        super().__init__()
        self.slice = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.time = nn.Conv3d(4, 3, (3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, channels, depth, height, width = x.shape
        slices = x.transpose(1, 2).reshape(count * depth, channels, height, width)
        maps = self.slice(slices)
        maps = maps.view(count, depth, *maps.shape[1:]).transpose(1, 2)
        mixed: torch.Tensor = self.time(maps)
        return mixed


class Gated(nn.Module):
    """Squeeze and excitation, with a dropout between."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = block(1, 4), block(4, 3)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Conv3d(4, 4, 1), nn.Sigmoid())
        self.drop = nn.Dropout3d()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        scaled: torch.Tensor = self.last(self.drop(x * self.gate(x)))
        return scaled


VOLUME_NETWORKS: dict[str, Make] = {
    "plain": lambda: nn.Sequential(
        block(1, 4), nn.MaxPool3d((1, 2, 2)), block(4, 5), nn.MaxPool3d(2)
    ),
    "windows": lambda: nn.Sequential(
        nn.Conv3d(1, 4, (2, 3, 3), (1, 2, 1), (1, 0, 0), (1, 1, 2)),
        nn.ReLU(),
        nn.MaxPool3d((2, 3, 2), (1, 2, 2), (0, 1, 1), ceil_mode=True),
        nn.Conv3d(4, 4, 3, padding=(2, 1, 1), groups=2),
        nn.ReLU(),
        nn.AvgPool3d((1, 2, 2), padding=(0, 1, 0), count_include_pad=False),
    ),
    "unet": lambda: UNet(nn.BatchNorm3d),
    "unet with instance norms": lambda: UNet(nn.InstanceNorm3d),
    "unet with group norms": lambda: UNet(lambda channels: nn.GroupNorm(2, channels)),
    "trilinear": lambda: Decoder("trilinear"),
    "nearest": lambda: Decoder("nearest"),
    "gated": Gated,
    "slices": SliceBySlice,
    "uneven": lambda: nn.Sequential(block(1, 3), nn.AdaptiveMaxPool3d((3, 4, 3)), block(3, 2)),
}
"""Networks of volumes of one channel."""

SIGNAL_NETWORKS: dict[str, Make] = {
    "plain": lambda: nn.Sequential(
        nn.Conv1d(2, 4, 5, padding=2),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(4, 6, 3, 2),
        nn.ReLU(),
        nn.AvgPool1d(3, 1, 1),
        nn.Conv1d(6, 3, 3, padding=1, dilation=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(3, 4),
    ),
    "decoder": lambda: nn.Sequential(
        nn.Conv1d(2, 4, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose1d(4, 3, 2, 2),
        nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="linear"),
        nn.Conv1d(3, 2, 3),
    ),
}
"""Networks of signals of two channels."""
