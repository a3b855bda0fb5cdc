"""A channel of an atlas: the patches that excite it most, and its statistics."""

from dataclasses import dataclass, field

import numpy as np

from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB
from retroscope.results.display import ArrayResult, DrawableResult
from retroscope.results.layers import Layer
from retroscope.results.projections import Projection
from retroscope.results.statistics import ChannelStats
from retroscope.results.unit_numbers import UnitName, UnitNumber
from retroscope.unit import Unit


@dataclass(frozen=True, eq=False, repr=False)
class Patch(ArrayResult):
    """The pixels of an image that a unit saw.

    `box` is the unit's field, which may leave the image; `pixels` are those of `visible`, the part
    of it in the image. `size` is that of the image; None if the atlas does not have the image, and
    the pixels are grey. As an array it is `pixels`, as a tensor the same with the channels first.
    """

    score: float
    source: str
    position: tuple[int, int]
    box: Box
    pixels: RGB
    projection: Projection | None = field(default=None)
    size: tuple[int, int] | None = None

    @property
    def visible(self) -> Box:
        """The part of the field in the image; the field, if the size of the image is not known."""
        return self.box if self.size is None else self.box.clip(*self.size)

    def _array(self) -> RGB:
        return self.pixels

    def _channels_first(self) -> RGB:
        return np.moveaxis(self.pixels, 2, 0)


NEARLY_ALL = 0.9
"""The share of an image from which a clipped field looks like the image itself."""
HALF = 0.5
"""The share of an image from which the middle of a clipped field says more than its frame."""


def place_in_image(
    box: Box, size: tuple[int, int], *, share: float = NEARLY_ALL
) -> tuple[float, float] | None:
    """The middle pixel (y, x) of a field that leaves an image and covers this share of it.

    None for smaller fields, and for one inside the image. One that is exactly the image, as after
    global pooling, is nowhere in particular.

    >>> place_in_image(Box(-40, 0, 20, 60), (20, 20)), place_in_image(Box(0, 0, 20, 20), (20, 20))
    ((0.0, 19.0), None)
    """
    visible, (height, width) = box.clip(*size), size
    if box == visible or visible.height * visible.width < share * height * width:
        return None
    middle = (box.top + box.bottom - 1) / 2, (box.left + box.right - 1) / 2
    return min(max(middle[0], 0.0), height - 1.0), min(max(middle[1], 0.0), width - 1.0)


@dataclass(frozen=True, eq=False, repr=False)
class Plate(DrawableResult):
    """The patches that excite a channel most, strongest first, and its statistics.

    `ranked_by` is `max`, or `mean` over the positions of the map. `names` and `numbers` are those
    that `score` has stored.
    """

    unit: Unit
    layer: Layer
    patches: tuple[Patch, ...]
    stats: ChannelStats
    ranked_by: str = "max"
    names: tuple[UnitName, ...] = ()
    numbers: tuple[UnitNumber, ...] = ()
