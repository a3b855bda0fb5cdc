"""Heat maps over their image: the image keeps its colours where there is no heat.

Heat is opaque in proportion to its share of the colour scale, up to full opacity in the middle of
the scale. Under it the image turns grey, in the same proportion, and lends it light and shade only.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB, Size
from retroscope.imaging.image import Fit, Image, as_image, crop, resize_array, to_grey
from retroscope.render.colours import apply_scale
from retroscope.render.target_marks import mark_target
from retroscope.render.tone import ROBUST_PERCENTILE, zero_non_finite
from retroscope.results.heat_maps import HeatMap, Map

ImageInput = str | Path | PIL.Image.Image | Image
OPACITY = 0.6
_FULL_OPACITY_AT = 0.5
"""The share of the colour scale from which heat has its full opacity."""
_OUTSIDE_OPACITY = 0.35
"""Opacity of the parts of an image that lie outside the network's input."""


def overlay(
    image: RGB, heat: HeatMap, *, colours: str = "inferno", opacity: float = OPACITY
) -> RGB:
    """A heat map in colours over the network's input, at the size of the input, its box marked."""
    height, width = image.shape[:2]
    values = smooth(heat, (height, width))
    overlaid = _lay_over(image, values, colours, limit=scale_limit(heat), opacity=opacity)
    return mark_target(overlaid, heat, Box(0, 0, height, width))


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
    values = smooth(heat, (frame.height, frame.width))
    inside_frame = Box(
        inside.top - frame.top,
        inside.left - frame.left,
        inside.bottom - frame.top,
        inside.right - frame.left,
    )
    overlaid = _mix(np.full_like(pixels, 255), _grey(pixels), _OUTSIDE_OPACITY)
    rows, columns = slice(inside.top, inside.bottom), slice(inside.left, inside.right)
    overlaid[rows, columns] = _lay_over(
        pixels[rows, columns],
        crop(values, inside_frame, fill=0),
        colours,
        limit=scale_limit(heat),
        opacity=opacity,
    )
    return mark_target(overlaid, heat, frame)


def smooth(heat: HeatMap, size: Size) -> Map:
    """The values at another size for the eye: bicubic, within the range of the values.

    Bilinear interpolation shows the grid of the layer as crosses. Like it, this passes through the
    values at the centres of their positions; `heat.resize` is the bilinear one.
    """
    values = zero_non_finite(heat.values).astype(np.float32)
    resized = resize_array(values, size, resample="bicubic")
    return np.clip(resized, values.min(initial=0), values.max(initial=0))


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
    if fit is None or fit.mode in ("stretch", "whole"):
        return Box(0, 0, height, width)
    covering = min if fit.mode == "letterbox" else max
    scale = covering(fit.size[0] / height, fit.size[1] / width)
    if fit.mode == "network" and fit.shorter is not None:
        scale = fit.shorter / min(size)
    down, across = fit.size[0] / scale, fit.size[1] / scale
    top, left = (height - down) / 2, (width - across) / 2
    return Box(round(top), round(left), round(top + down), round(left + across))


def _grey(pixels: RGB) -> RGB:
    # Pillow's "L" uses fixed-point weights and its `blend` truncates; both differ by a level.
    grey: RGB = np.rint(to_grey(pixels)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _lay_over(image: RGB, values: Map, colours: str, *, limit: float, opacity: float) -> RGB:
    """Values in colours over an image of the same size."""
    if not 0 <= opacity <= 1:
        raise RetroscopeError(f"cannot draw a heat map with opacity {opacity}; give 0 to 1")
    shares = np.abs(values) / ((limit or 1) * _FULL_OPACITY_AT)
    shares = opacity * np.clip(shares, 0, 1)[..., None]
    faded = _mix(image, _grey(image), shares)
    return _mix(faded, apply_scale(values, colours, limit=limit), shares)


def _mix(below: RGB, above: RGB, share: float | npt.NDArray[np.floating]) -> RGB:
    mixed: RGB = np.rint(below * (1 - share) + above * share).astype(np.uint8)
    return mixed
