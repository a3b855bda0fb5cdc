"""Places at the border of a map: small blocks, and the frame.

```
+--------------+
| [] []        |      a block is a twelfth of the map high and wide, at least two positions;
|  +--------+  |      blocks overlap, one for each shift by one position; they touch an edge or
|[]|        |  |      have their middle in the outer sixth of the map along an axis
|  |        |[]|
|  +--------+  |      the frame is the outermost ring, a twenty-fourth of the map deep, at least
|         [] []|      one position
+--------------+
```
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retroscope.geometry import Box

MIN_SIDE = 4
"""Positions along each axis below which a map has no border to speak of."""
BLOCKS, FRAMES = 12, 24
"""A block is this part of a side long, and the frame this part of it deep."""
_MIN_BLOCK = 2
_OUTER = 1 / 6
"""The middle of a block is in this part of a side, next to an edge."""

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MapPlace:
    """A box of positions, or with `is_frame` all positions outside of it."""

    box: Box
    is_frame: bool = False

    def name(self, height: int, width: int) -> str:
        """Where it is, in words.

        >>> MapPlace(Box(9, 9, 12, 12)).name(12, 12), MapPlace(Box(0, 4, 3, 7)).name(12, 12)
        ('bottom right corner', 'top edge')
        """
        if self.is_frame:
            return "frame"
        vertical = _third(self.box.top, self.box.bottom, height, ("top", "", "bottom"))
        horizontal = _third(self.box.left, self.box.right, width, ("left", "", "right"))
        if vertical and horizontal:
            return f"{vertical} {horizontal} corner"
        return f"{vertical or horizontal} edge"

    def in_image(self, map_size: Sequence[int], image_size: tuple[int, int]) -> Box:
        """The box in an image of this size, with half a block around it, since units see beyond.

        >>> MapPlace(Box(9, 9, 11, 11)).in_image((12, 12), (96, 96))
        Box(top=64, left=64, bottom=96, right=96)
        """
        (height, width), (rows, columns) = image_size, map_size
        box = self.box
        beyond = (box.height + 1) // 2, (box.width + 1) // 2
        return Box(
            max(box.top - beyond[0], 0) * height // rows,
            max(box.left - beyond[1], 0) * width // columns,
            -(-min(box.bottom + beyond[0], rows) * height // rows),
            -(-min(box.right + beyond[1], columns) * width // columns),
        )


def _third(start: int, stop: int, length: int, names: tuple[str, str, str]) -> str:
    """The name of the third of a side that the middle of an interval is in."""
    return names[min(3 * (start + stop) // (2 * length), 2)]


class BorderPlaces:
    """All places at the border of maps of one size."""

    def __init__(self, height: int, width: int) -> None:
        self.size = height, width
        blocks = [
            MapPlace(Box(top, left, bottom, right))
            for top, bottom in _intervals(height)
            for left, right in _intervals(width)
            if _is_outer(top, bottom, height) or _is_outer(left, right, width)
        ]
        depth = [max(1, length // FRAMES) for length in self.size]
        inner = Box(depth[0], depth[1], height - depth[0], width - depth[1])
        self.places = (*blocks, MapPlace(inner, is_frame=True))
        boxes = [place.box for place in self.places]
        self._edges = np.array([[b.top, b.bottom, b.left, b.right] for b in boxes]).T[..., None]
        self.is_frame = np.array([place.is_frame for place in self.places])
        positions = np.indices(self.size).reshape(2, -1)
        self.shares: Floats = self.contain(positions[0], positions[1]).mean(axis=1)

    def contain(self, ys: Integers, xs: Integers) -> Mask:
        """Whether each place holds each position: (places, positions)."""
        top, bottom, left, right = self._edges
        inside = (ys >= top) & (ys < bottom) & (xs >= left) & (xs < right)
        is_contained: Mask = inside != self.is_frame[:, None]
        return is_contained


def _intervals(length: int) -> list[tuple[int, int]]:
    block = max(_MIN_BLOCK, length // BLOCKS)
    return [(start, start + block) for start in range(length - block + 1)]


def _is_outer(start: int, stop: int, length: int) -> bool:
    """Whether an interval touches an end of a side, or has its middle near one."""
    middle = (start + stop) / (2 * length)
    return start == 0 or stop == length or not _OUTER <= middle <= 1 - _OUTER
