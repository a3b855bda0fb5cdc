"""The detector and the segmenter that come with the package, trained on crowds of the world.

Both are plain: an encoder of 3x3 convolutions, ReLUs and max pools, and a few convolutions on top.
"""

import torch
import torch.nn.functional as F
from torch import nn

from retroscope.world import LABELS

LOCALISER_SIZE, STRIDE = 96, 8
"""The side of the images, and of the square cell of a position of the detector, in pixels."""

STEM, MIDDLE, FINE, COARSE = (16, 32), (48, 48), (64, 64), (96, 96)
"""Channels of the encoder's convolutions at strides 2, 4, 8 and 16."""

MERGED, DECODED = 64, (48, 48, 32)
"""Channels of the detector's merged map, and of the segmenter's at strides 8, 4 and 2."""

BACKGROUND_LABELS = ("background", *LABELS)
"""The classes of a pixel."""


class DemoEncoder(nn.Module):
    """Maps at strides 2, 4, 8 and 16."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _convolutions(3, STEM, stride=2)
        self.middle = nn.Sequential(nn.MaxPool2d(2), *_convolutions(STEM[-1], MIDDLE))
        self.fine = nn.Sequential(nn.MaxPool2d(2), *_convolutions(MIDDLE[-1], FINE))
        self.coarse = nn.Sequential(nn.MaxPool2d(2), *_convolutions(FINE[-1], COARSE))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        maps = [self.stem(images)]
        for stage in (self.middle, self.fine, self.coarse):
            maps.append(stage(maps[-1]))
        return maps


class DemoDetector(nn.Module):
    """Class scores and a box at each position of a grid with a stride of 8, without anchors.

    As FCOS (Tian 2019) with one level: the coarse maps are added to the fine ones, and two
    convolutions predict the classes, before the sigmoid, and the distances to the sides of the box.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = DemoEncoder()
        self.lateral = nn.Conv2d(FINE[-1], MERGED, 1)
        self.top = nn.Conv2d(COARSE[-1], MERGED, 1)
        self.head = _convolutions(MERGED, (MERGED,))
        self.classes = nn.Conv2d(MERGED, len(LABELS), 3, padding=1)
        self.distances = nn.Conv2d(MERGED, 4, 3, padding=1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits (images, classes, rows, columns); boxes (images, 4, rows, columns).

        A box is left, top, right, bottom in pixels.
        """
        _, _, fine, coarse = self.encoder(images)
        merged = F.relu(self.lateral(fine) + _enlarge(self.top(coarse)))
        shared = self.head(merged)
        return {"class_logits": self.classes(shared), "boxes": _to_boxes(self.distances(shared))}


class DemoSegmenter(nn.Module):
    """Class scores of every pixel: maps are added to finer ones on the way up (Lin 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = DemoEncoder()
        coarse, *others = (COARSE[-1], FINE[-1], MIDDLE[-1], STEM[-1])
        self.ups = nn.ModuleList()
        self.laterals = nn.ModuleList()
        self.smooths = nn.ModuleList()
        for skipped, width in zip(others, DECODED, strict=True):
            self.ups.append(nn.Conv2d(coarse, width, 1))
            self.laterals.append(nn.Conv2d(skipped, width, 1))
            self.smooths.append(_convolutions(width, (width,)))
            coarse = width
        self.classes = nn.Conv2d(coarse, len(BACKGROUND_LABELS), 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (images, classes, height, width), of the background first."""
        *skipped, maps = self.encoder(images)
        stages = zip(self.ups, self.laterals, self.smooths, reversed(skipped), strict=True)
        for up, lateral, smooth, finer in stages:
            maps = smooth(F.relu(lateral(finer) + _enlarge(up(maps))))
        return F.interpolate(self.classes(maps), scale_factor=2, mode="bilinear")


def _convolutions(channels: int, widths: tuple[int, ...], *, stride: int = 1) -> nn.Sequential:
    """3x3 convolutions with ReLUs; the first has the stride."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(channels, width, 3, stride, padding=1), nn.ReLU(inplace=True)]
        channels, stride = width, 1
    return nn.Sequential(*layers)


def _enlarge(maps: torch.Tensor) -> torch.Tensor:
    return F.interpolate(maps, scale_factor=2, mode="nearest")


def _to_boxes(distances: torch.Tensor) -> torch.Tensor:
    """Boxes from the logarithms of the distances to the sides, in cells."""
    rows, columns = distances.shape[2:]
    y = (torch.arange(rows, device=distances.device, dtype=distances.dtype) + 0.5) * STRIDE
    x = (torch.arange(columns, device=distances.device, dtype=distances.dtype) + 0.5) * STRIDE
    left, top, right, bottom = (distances.exp() * STRIDE).unbind(1)
    sides = (x - left, y[:, None] - top, x + right, y[:, None] + bottom)
    return torch.stack(sides, dim=1)
