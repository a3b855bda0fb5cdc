"""Heat maps over their image. The image is turned grey, so all colour comes from the heat map."""

from pathlib import Path

import numpy as np
import PIL.Image

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import Fit, Image, as_image, crop
from retroscope.render.colours import apply_scale
from retroscope.render.tone import ROBUST_PERCENTILE, zero_non_finite
from retroscope.results.heat_maps import HeatMap

ImageInput = str | Path | PIL.Image.Image | Image
OPACITY = 0.6
_LUMA = (0.299, 0.587, 0.114)
_OUTSIDE_OPACITY = 0.35
"""Opacity of the parts of an image that lie outside the network's input."""


def overlay(
    image: RGB, heat: HeatMap, *, colours: str = "inferno", opacity: float = OPACITY
) -> RGB:
    """A heat map in colours over the network's input, at the size of the input."""
    heat_pixels = apply_scale(heat.resize(*image.shape[:2]), colours, limit=scale_limit(heat))
    return _blend(_grey(image), heat_pixels, _check_opacity(opacity))


def overlay_on(
    image: ImageInput, heat: HeatMap, *, colours: str = "inferno", opacity: float = OPACITY
) -> RGB:
    """A heat map over the original image, at the size of the original.

    Parts that lie outside the network's input, cropped away by `heat.fit`, are pale.

        +--------------------------+  image
        |  pale   +----------+     |
        |         |  frame   |     |  `frame`: the network's input, in pixels of the image; it may
        |         |          |     |  leave the image. `inside`: the part of it in the image.
        +---------+----------+-----+
    """
    pixels = as_image(image).pixels
    height, width = pixels.shape[:2]
    frame = visible_box((height, width), heat.fit)
    inside = frame.clip(height, width)
    values = heat.resize(frame.height, frame.width)
    inside_frame = Box(
        inside.top - frame.top,
        inside.left - frame.left,
        inside.bottom - frame.top,
        inside.right - frame.left,
    )
    grey = _grey(pixels)
    overlaid = _blend(np.full_like(grey, 255), grey, _OUTSIDE_OPACITY)
    rows, columns = slice(inside.top, inside.bottom), slice(inside.left, inside.right)
    heat_pixels = crop(apply_scale(values, colours, limit=scale_limit(heat)), inside_frame)
    overlaid[rows, columns] = _blend(grey[rows, columns], heat_pixels, _check_opacity(opacity))
    return overlaid


def scale_limit(heat: HeatMap) -> float:
    """The value at the end of the colour scale.

    That is the largest magnitude for a layer's heat map. Per-pixel heat maps have outliers, so
    theirs is the 99.5th percentile.
    """
    values = np.abs(zero_non_finite(heat.values))
    maximum = float(values.max(initial=0))
    return maximum if heat.layer else float(np.percentile(values, ROBUST_PERCENTILE)) or maximum


def visible_box(size: tuple[int, int], fit: Fit | None) -> Box:
    """The box of an original image that the network's input shows; it may leave the image.

    >>> visible_box((100, 200), Fit((50, 50)))
    Box(top=0, left=50, bottom=100, right=150)
    """
    height, width = size
    if fit is None or fit.mode == "stretch":
        return Box(0, 0, height, width)
    scale = max(fit.size[0] / height, fit.size[1] / width)
    if fit.mode == "network" and fit.shorter is not None:
        scale = fit.shorter / min(size)
    down, across = fit.size[0] / scale, fit.size[1] / scale
    top, left = (height - down) / 2, (width - across) / 2
    return Box(round(top), round(left), round(top + down), round(left + across))


def _grey(pixels: RGB) -> RGB:
    # Pillow's "L" uses fixed-point weights and its `blend` truncates; both differ by a level.
    grey: RGB = np.rint(pixels @ np.array(_LUMA)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _blend(below: RGB, above: RGB, opacity: float) -> RGB:
    blended: RGB = np.rint(below * (1 - opacity) + above * opacity).astype(np.uint8)
    return blended


def _check_opacity(opacity: float) -> float:
    if not 0 <= opacity <= 1:
        raise RetroscopeError(f"cannot draw a heat map with opacity {opacity}; give 0 to 1")
    return opacity
