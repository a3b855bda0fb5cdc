"""Occluders: where they stand, and what covers the picture there."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import torch
import torch.nn.functional as F

from retroscope.engine.batching import Size
from retroscope.errors import RetroscopeError, did_you_mean
from retroscope.network import Preprocessing

_BLUR = 1 / 8
"""The spread of the blur, as a share of the picture's shorter side."""


@dataclass(frozen=True)
class Occluders:
    """The places of a square occluder along y and x; the last of each is moved in to the border."""

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    size: int

    @classmethod
    def over(cls, picture: Size, *, size: int, stride: int) -> "Occluders":
        """Those that cover a picture of this size."""
        if size < 1 or stride < 1:
            raise RetroscopeError(
                f"an occluder of {size} pixels at every {stride}; both are 1 or more"
            )
        if size > min(picture):
            raise RetroscopeError(
                f"an occluder of {size}x{size} pixels is larger than the picture of "
                f"{picture[0]}x{picture[1]}; give a size of at most {min(picture)}"
            )
        return cls(_places(picture[0], size, stride), _places(picture[1], size, stride), size)

    @property
    def places(self) -> list[tuple[int, int]]:
        """Their tops and lefts in reading order."""
        return [(top, left) for top in self.tops for left in self.lefts]


def _places(length: int, size: int, stride: int) -> tuple[int, ...]:
    """
    >>> _places(10, 4, 3), _places(10, 4, 4)
    ((0, 3, 6), (0, 4, 6))
    """
    last = length - size
    return (*range(0, last, stride), last)


def cover(numbers: torch.Tensor, fill: str | float, kept: Preprocessing) -> torch.Tensor:
    """What would be seen in place of each pixel of a picture (channels, height, width)."""
    number = _as_number(fill)
    if number is not None:
        return torch.full_like(numbers, number)
    if fill not in FILLS:
        hint = did_you_mean(str(fill), FILLS) or f"there are {', '.join(FILLS)}, or a number"
        raise RetroscopeError(f"no fill {fill!r}; {hint}")
    return FILLS[str(fill)](numbers, kept)


def _as_number(fill: str | float) -> float | None:
    try:
        number = float(fill)
    except ValueError:
        return None
    if not isfinite(number):
        raise RetroscopeError(f"no fill {fill!r}; a number that covers a picture is finite")
    return number


def _grey(numbers: torch.Tensor, kept: Preprocessing) -> torch.Tensor:
    """The middle between black and white, as the network takes it."""
    means, stds = torch.tensor(kept.mean), torch.tensor(kept.std)
    return ((0.5 - means) / stds).to(numbers)[:, None, None].expand_as(numbers)


def _mean(numbers: torch.Tensor, _kept: Preprocessing) -> torch.Tensor:
    return numbers.mean(dim=(1, 2), keepdim=True).expand_as(numbers)


def _blur(numbers: torch.Tensor, _kept: Preprocessing) -> torch.Tensor:
    """A Gaussian blur, its weights normalised where it meets the border."""
    spread = max(min(numbers.shape[1:]) * _BLUR, 1.0)
    reach = int(3 * spread)
    steps = torch.arange(-reach, reach + 1).to(numbers)
    weights = torch.exp(-(steps**2) / (2 * spread**2))
    shown = torch.stack([*numbers, torch.ones_like(numbers[0])])[:, None]
    down = F.conv2d(shown, weights[None, None, :, None], padding=(reach, 0))
    mixed = F.conv2d(down, weights[None, None, None, :], padding=(0, reach))[:, 0]
    return mixed[:-1] / mixed[-1]


FILLS: dict[str, Callable[[torch.Tensor, Preprocessing], torch.Tensor]] = {
    "grey": _grey,
    "mean": _mean,
    "blur": _blur,
}
