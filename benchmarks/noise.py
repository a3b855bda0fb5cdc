"""Images of noise: batches of them, and a data set."""

from collections.abc import Iterator

import torch

_GRAIN = 8
"""Pixels between the values of smooth noise."""


def noise_batches(size: int, *, count: int, pixels: int) -> Iterator[torch.Tensor]:
    """Different batches of square images of smooth noise plus fine noise."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        coarse = torch.randn(size, 3, pixels // _GRAIN, pixels // _GRAIN, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, size=(pixels, pixels))
        yield smooth + torch.randn(smooth.shape, generator=generator) / 4


class NoiseImages:
    """A data set of noise images, made when they are read."""

    def __init__(self, count: int, pixels: int = 224) -> None:
        self._count, self._pixels = count, pixels

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(index)
        return torch.randn(3, self._pixels, self._pixels, generator=generator)
