"""The target of a heat map drawn on an image: the box of a detection, or the outline of a mask."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB
from retroscope.render.theme import Colour
from retroscope.results.heat_maps import BoxEdges, HeatMap, Mask, Target

LINES: tuple[Colour, Colour] = ((226, 20, 24), (255, 255, 255))
"""The line itself, and the one around it that sets it off from any colour."""

_SIDE_OF_ONE_PIXEL = 200
"""Lines are one pixel thick for images up to this side, then in proportion."""
_RING_SHARE = 1 / 30


def mark_target(pixels: RGB, heat: HeatMap, frame: Box) -> RGB:
    """The pixels with the target marked; the same pixels if it is no part of an image.

    `frame` is where the network's input lies among the pixels.
    """
    box = heat.target.box if isinstance(heat.target, Target) else None
    if box is None and heat.mask is None:
        return pixels
    image = Image.fromarray(pixels)
    thickness = max(round(min(pixels.shape[:2]) / _SIDE_OF_ONE_PIXEL), 1)
    if box is not None:
        _draw_box(image, _place(box, heat.size, frame), thickness)
    if heat.mask is not None:
        return _draw_mask(image, heat.mask, frame, thickness)
    return np.array(image)


def _place(box: BoxEdges, size: Sequence[int], frame: Box) -> BoxEdges:
    """A box of the network's input in the pixels that are drawn on."""
    down, across = frame.height / size[0], frame.width / size[1]
    top, left, bottom, right = box
    return (
        frame.top + top * down,
        frame.left + left * across,
        frame.top + bottom * down,
        frame.left + right * across,
    )


def _draw_box(image: Image.Image, box: BoxEdges, thickness: int) -> None:
    """A rectangle of two lines, of which the inner one covers the edge pixels of the box."""
    top, left, bottom, right = (round(edge) for edge in box)
    pen = ImageDraw.Draw(image)
    for line, colour in enumerate(LINES):
        for step in range(thickness):
            out = line * thickness + step
            corners = (
                left - out,
                top - out,
                max(right - 1, left) + out,
                max(bottom - 1, top) + out,
            )
            pen.rectangle(corners, outline=colour)


def _draw_mask(image: Image.Image, mask: Mask, frame: Box, thickness: int) -> RGB:
    """The outline of a mask; a ring around a single pixel."""
    if mask.sum() == 1:
        ((y, x),) = np.argwhere(mask) + 0.5
        _draw_ring(image, _place((y, x, y, x), (mask.shape[0], mask.shape[1]), frame), thickness)
        return np.array(image)
    resized = Image.fromarray(mask).resize((frame.width, frame.height), Image.Resampling.NEAREST)
    placed = Image.new("1", image.size)
    placed.paste(resized, (frame.left, frame.top))
    inside = np.array(placed)
    pixels = np.array(image)
    inner = _erode(inside, thickness)
    pixels[inside & ~inner] = LINES[0]
    pixels[~inside & ~_erode(~inside, thickness)] = LINES[1]
    return pixels


def _erode(mask: Mask, steps: int) -> Mask:
    """The pixels of a mask that are more than so many steps from its border in the image."""
    for _ in range(steps):
        padded = np.pad(mask, 1, constant_values=True)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def _draw_ring(image: Image.Image, place: BoxEdges, thickness: int) -> None:
    y, x = place[:2]
    radius = max(min(image.size) * _RING_SHARE, 3)
    pen = ImageDraw.Draw(image)
    for line, colour in enumerate(LINES):
        reach = radius + line * thickness
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), outline=colour, width=thickness)
