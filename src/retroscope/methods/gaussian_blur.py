"""The Gaussian blur of occluders and of pattern regularisers."""

from collections.abc import Sequence
from enum import Enum

import torch
import torch.nn.functional as F

from retroscope.methods.by_rank import CONVOLUTIONS


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
    rank = images.dim() - 2
    return blur_axes(images, [std] * rank, radii=[radius] * rank, border=border)


def blur_axes(
    images: torch.Tensor, stds: Sequence[float], *, radii: Sequence[int], border: Border
) -> torch.Tensor:
    """The same with a standard deviation and a radius for each axis."""
    if border is Border.IGNORE:
        images = torch.cat([images, torch.ones_like(images[:, :1])], dim=1)
    channels, rank = images.shape[1], images.dim() - 2
    padding = "replicate" if border is Border.REPEAT else "constant"
    margins = [margin for radius in reversed(radii) for margin in (radius, radius)]
    blurred = F.pad(images, margins, mode=padding)
    for axis, (std, radius) in enumerate(zip(stds, radii, strict=True)):
        along = [2 * radius + 1 if other == axis else 1 for other in range(rank)]
        kernel = _bell(std, radius).to(images).expand(channels, 1, -1)
        blurred = CONVOLUTIONS[rank](blurred, kernel.reshape(-1, 1, *along), groups=channels)
    if border is Border.IGNORE:
        return blurred[:, :-1] / blurred[:, -1:]
    return blurred


def _bell(std: float, radius: int) -> torch.Tensor:
    """The weights of the positions up to this far away, which add up to 1."""
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64, device="cpu")
    weights = torch.exp(-offsets.square() / (2 * std**2))
    return weights / weights.sum()
