"""Occluders: their positions, and the pixels that cover the image there."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import isfinite

import torch

from retroscope.engine.batching import Size
from retroscope.errors import RetroscopeError, choose
from retroscope.geometry import IMAGE_RANK, INPUTS, format_size
from retroscope.methods.axis_lengths import Lengths, alike_in_slices, along_axes, format_lengths
from retroscope.methods.gaussian_blur import Border, blur_axes
from retroscope.preprocessing import Preprocessing

_BLUR_SHARE = 1 / 8
"""The standard deviation of the blur, as a share of the image's shorter side, or along the depth of
a volume of its own length.
"""


_IMAGE_SIZE, _IMAGE_STRIDE = 32, 8
_OCCLUDERS_ALONG_AXIS = 4
"""A volume, a clip or a signal is by default so many times as long as the occluder."""


@dataclass(frozen=True)
class OccluderGrid:
    """The positions of an occluder; the last ones are moved inward to touch the border.

    `starts` are the positions along each axis, `size` the lengths of the occluder.
    """

    starts: tuple[tuple[int, ...], ...]
    size: tuple[int, ...]

    @classmethod
    def covering(
        cls, image_size: Size, *, size: Lengths | None, stride: Lengths | None
    ) -> "OccluderGrid":
        """The grid that covers an image of this size.

        Without a size and a stride, images have a square of 32 pixels that moves by 8; volumes,
        clips and signals a box of a quarter of each axis that moves by half of its own length.
        """
        is_image = len(image_size) == IMAGE_RANK
        if size is None:
            quarters = [max(length // _OCCLUDERS_ALONG_AXIS, 1) for length in image_size]
            size = _IMAGE_SIZE if is_image else quarters
        lengths = along_axes("size", size, len(image_size))
        if stride is None:
            stride = _IMAGE_STRIDE if is_image else [max(length // 2, 1) for length in lengths]
        steps = along_axes("stride", stride, len(image_size))
        if min(*lengths, *steps) < 1:
            raise RetroscopeError(
                f"an occluder of {format_lengths(size)} pixels with stride "
                f"{format_lengths(stride)}; both must be at least 1"
            )
        _refuse_large_occluder(lengths, image_size)
        return cls(tuple(map(_offsets, image_size, lengths, steps)), lengths)

    @property
    def positions(self) -> list[tuple[int, ...]]:
        """All starts in reading order: tops and lefts, in a volume fronts as well."""
        return list(product(*self.starts))

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of positions along each axis."""
        return tuple(map(len, self.starts))


def _refuse_large_occluder(lengths: Size, image_size: Size) -> None:
    if any(length > full for length, full in zip(lengths, image_size, strict=True)):
        raise RetroscopeError(
            f"an occluder of {format_size(lengths)} pixels is larger than the "
            f"{INPUTS[len(image_size)]} of {format_size(image_size)}; give a size of at most "
            f"{min(image_size)}, or one for each axis"
        )


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
    return input_tensor.mean(dim=tuple(range(1, input_tensor.dim())), keepdim=True).expand_as(
        input_tensor
    )


def _blur(input_tensor: torch.Tensor, _preprocessing: Preprocessing) -> torch.Tensor:
    stds = [max(length * _BLUR_SHARE, 1.0) for length in alike_in_slices(input_tensor.shape[1:])]
    radii = [int(3 * std) for std in stds]
    return blur_axes(input_tensor[None], stds, radii=radii, border=Border.IGNORE)[0]


FILLS: dict[str, Callable[[torch.Tensor, Preprocessing], torch.Tensor]] = {
    "grey": _grey,
    "mean": _mean_colour,
    "blur": _blur,
}
