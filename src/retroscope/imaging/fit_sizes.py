"""The size that each mode of a fit resizes an image to, and what is kept of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import PIL.Image

from retroscope.geometry import Box
from retroscope.imaging.decoding import Size

if TYPE_CHECKING:
    from retroscope.imaging.image import Fit

_Sized = Box | PIL.Image.Image


def _network_size(image: _Sized, fit: "Fit") -> Size:
    """torchvision's rule: the longer side is truncated to whole pixels, not rounded."""
    if fit.shorter is None:
        return _covering_size(image, fit)
    short, long = sorted((image.height, image.width))
    longer = int(fit.shorter * long / short)
    return (fit.shorter, longer) if image.height <= image.width else (longer, fit.shorter)


def _covering_size(image: _Sized, fit: "Fit") -> Size:
    """The smallest size of the same proportions that covers the size of the fit."""
    height, width = fit.size
    if height * image.width >= width * image.height:
        return height, image.width * height // image.height
    return image.height * width // image.width, width


def _whole_size(image: _Sized, fit: "Fit") -> Size:
    return (image.height, image.width) if fit.shorter is None else _network_size(image, fit)


def _inner_size(image: _Sized, fit: "Fit") -> Size:
    """The largest size of the same proportions that fits inside the size of the fit."""
    scale = min(fit.size[0] / image.height, fit.size[1] / image.width)
    return max(1, round(image.height * scale)), max(1, round(image.width * scale))


RESIZED_SIZES: dict[str, Callable[[_Sized, "Fit"], Size]] = {
    "network": _network_size,
    "crop": _covering_size,
    "stretch": lambda _, fit: fit.size,
    "whole": _whole_size,
    "letterbox": _inner_size,
}


def frame_of(size: Size, fit: "Fit") -> Box:
    """What is kept of a resized image."""
    return Box(0, 0, *size) if fit.mode == "whole" else _centre(size, fit.size)


def _centre(image_size: Size, size: Size) -> Box:
    """The box of this size in the middle of an image, rounded like CenterCrop."""
    top, left = (
        round((length - side) / 2) if length >= side else -((side - length) // 2)
        for length, side in zip(image_size, size, strict=True)
    )
    return Box(top, left, top + size[0], left + size[1])
