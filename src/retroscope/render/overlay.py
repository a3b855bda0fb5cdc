"""Heat over the picture that it is of: the picture in greys, so that every colour is heat."""

from pathlib import Path

import numpy as np
import PIL.Image

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.imaging.image import Fit, Image, as_image, crop
from retroscope.render.colours import coloured
from retroscope.render.tone import ROBUST_SHARE, finite
from retroscope.results.heat_maps import HeatMap
from retroscope.results.values import Picture

AnyPicture = str | Path | PIL.Image.Image | Image
OPACITY = 0.6
_GREYS = (0.299, 0.587, 0.114)
_UNSEEN = 0.35
"""How much is left of what the network was not shown."""


def overlay(
    picture: Picture, heat: HeatMap, *, colours: str = "inferno", opacity: float = OPACITY
) -> Picture:
    """The heat in colours over the picture that the network saw, at the picture's size."""
    shown = coloured(heat.resized(*picture.shape[:2]), colours, most=reach(heat))
    return _mixed(_grey(picture), shown, _checked(opacity))


def overlay_on(
    over: AnyPicture, heat: HeatMap, *, colours: str = "inferno", opacity: float = OPACITY
) -> Picture:
    """The heat over the original picture, at its own size; what the network never saw is pale."""
    picture = as_image(over).pixels
    height, width = picture.shape[:2]
    frame = frame_in((height, width), heat.fit)
    inside = frame.clipped(height, width)
    values = heat.resized(frame.height, frame.width)
    seen = Box(
        inside.top - frame.top,
        inside.left - frame.left,
        inside.bottom - frame.top,
        inside.right - frame.left,
    )
    grey = _grey(picture)
    whole = _mixed(np.full_like(grey, 255), grey, _UNSEEN)
    rows, columns = slice(inside.top, inside.bottom), slice(inside.left, inside.right)
    shown = crop(coloured(values, colours, most=reach(heat)), seen)
    whole[rows, columns] = _mixed(grey[rows, columns], shown, _checked(opacity))
    return whole


def reach(heat: HeatMap) -> float:
    """The value at the end of the scale of colours.

    Maps of single pixels are spiky: there, what one pixel in 200 exceeds.
    """
    values = np.abs(finite(heat.values))
    most = float(values.max(initial=0))
    return most if heat.layer else float(np.percentile(values, ROBUST_SHARE)) or most


def frame_in(size: tuple[int, int], fit: Fit | None) -> Box:
    """The part of an original picture that the network was shown.

    >>> frame_in((100, 200), Fit((50, 50)))
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


def _grey(picture: Picture) -> Picture:
    grey: Picture = np.rint(picture @ np.array(_GREYS)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _mixed(below: Picture, above: Picture, share: float) -> Picture:
    mixed: Picture = np.rint(below * (1 - share) + above * share).astype(np.uint8)
    return mixed


def _checked(opacity: float) -> float:
    if not 0 <= opacity <= 1:
        raise RetroscopeError(f"cannot draw heat with opacity {opacity}; give a share from 0 to 1")
    return opacity
