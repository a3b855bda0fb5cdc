"""The Gaussian blur of occluders and of pattern regularisers."""

from enum import Enum

import torch
import torch.nn.functional as F


class Border(Enum):
    """What lies outside of the image: its border pixels, or nothing at all."""

    REPEAT = "repeat"
    IGNORE = "ignore"


def gaussian_blur(
    images: torch.Tensor, std: float, *, radius: int, border: Border = Border.REPEAT
) -> torch.Tensor:
    """Images (batch, channels, height, width) blurred along each axis with this standard deviation.
    Volumes and signals likewise.

    torchvision's `gaussian_blur` mirrors at the border instead, and so refuses images smaller than
    its kernel.
    """
    if border is Border.IGNORE:
        images = torch.cat([images, torch.ones_like(images[:, :1])], dim=1)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-offsets.square() / (2 * std**2))
    channels, rank = images.shape[1], images.dim() - 2
    kernel = (kernel / kernel.sum()).expand(channels, 1, -1)
    padding = "replicate" if border is Border.REPEAT else "constant"
    blurred = F.pad(images, [radius] * 2 * rank, mode=padding)
    for axis in range(rank):
        along = [len(offsets) if other == axis else 1 for other in range(rank)]
        blurred = _CONVOLUTIONS[rank](blurred, kernel.view(channels, 1, *along), groups=channels)
    if border is Border.IGNORE:
        return blurred[:, :-1] / blurred[:, -1:]
    return blurred


_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
