"""Occluders: their positions, and the pixels that cover the image there."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import torch

from retroscope.engine.batching import Size
from retroscope.errors import RetroscopeError, choose
from retroscope.methods.gaussian_blur import Border, gaussian_blur
from retroscope.preprocessing import Preprocessing

_BLUR_SHARE = 1 / 8
"""The standard deviation of the blur, as a share of the image's shorter side."""


@dataclass(frozen=True)
class OccluderGrid:
    """The positions of a square occluder; the last ones are moved inward to touch the border."""

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    size: int

    @classmethod
    def covering(cls, image_size: Size, *, size: int, stride: int) -> "OccluderGrid":
        """The grid that covers an image of this size."""
        if size < 1 or stride < 1:
            raise RetroscopeError(
                f"an occluder of {size} pixels with stride {stride}; both must be at least 1"
            )
        height, width = image_size
        if size > min(image_size):
            raise RetroscopeError(
                f"an occluder of {size}x{size} pixels is larger than the image of "
                f"{height}x{width}; give a size of at most {min(image_size)}"
            )
        return cls(_offsets(height, size, stride), _offsets(width, size, stride), size)

    @property
    def positions(self) -> list[tuple[int, int]]:
        """All tops and lefts in reading order."""
        return [(top, left) for top in self.tops for left in self.lefts]


def _offsets(length: int, size: int, stride: int) -> tuple[int, ...]:
    """
    >>> _offsets(10, 4, 3), _offsets(10, 4, 4)
    ((0, 3, 6), (0, 4, 6))
    """
    last = length - size
    return (*range(0, last, stride), last)


def occluder_pixels(
    input_tensor: torch.Tensor, fill: str | float, preprocessing: Preprocessing
) -> torch.Tensor:
    """The pixels of an occluder over the whole image, in input space (channels, height, width)."""
    number = _parse_number(fill)
    if number is not None:
        return torch.full_like(input_tensor, number)
    return choose("fill", str(fill), FILLS)(input_tensor, preprocessing)


def _parse_number(fill: str | float) -> float | None:
    try:
        number = float(fill)
    except ValueError:
        return None
    if not isfinite(number):
        raise RetroscopeError(f"no fill {fill!r}; a number must be finite")
    return number


def _grey(input_tensor: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    return preprocessing.level(0.5).to(input_tensor).expand_as(input_tensor)


def _mean_colour(input_tensor: torch.Tensor, _preprocessing: Preprocessing) -> torch.Tensor:
    return input_tensor.mean(dim=(1, 2), keepdim=True).expand_as(input_tensor)


def _blur(input_tensor: torch.Tensor, _preprocessing: Preprocessing) -> torch.Tensor:
    std = max(min(input_tensor.shape[1:]) * _BLUR_SHARE, 1.0)
    return gaussian_blur(input_tensor[None], std, radius=int(3 * std), border=Border.IGNORE)[0]


FILLS: dict[str, Callable[[torch.Tensor, Preprocessing], torch.Tensor]] = {
    "grey": _grey,
    "mean": _mean_colour,
    "blur": _blur,
}
