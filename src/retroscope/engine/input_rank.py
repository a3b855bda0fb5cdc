"""The number of axes of what a network takes: 1 for signals, 2 for images, 3 for volumes."""

import torch
from torch.nn.modules.conv import _ConvNd

from retroscope.geometry import IMAGE_RANK

CONVOLUTIONS: dict[int, tuple[type[_ConvNd], ...]] = {
    1: (torch.nn.Conv1d, torch.nn.ConvTranspose1d),
    2: (torch.nn.Conv2d, torch.nn.ConvTranspose2d),
    3: (torch.nn.Conv3d, torch.nn.ConvTranspose3d),
}
"""By the number of axes of what they take."""


def input_rank(module: torch.nn.Module) -> int:
    """The number of axes of what a network takes, by its first convolution; 2 without one."""
    ranks = (
        rank
        for part in module.modules()
        for rank, kinds in CONVOLUTIONS.items()
        if isinstance(part, kinds)
    )
    return next(ranks, IMAGE_RANK)
