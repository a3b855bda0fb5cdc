"""Where scenes are painted: anti-aliased shapes, lit from one side, and the parts they show."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from retroscope.world.palette import Colour
from retroscope.world.part_names import NUMBER_OF
from retroscope.world.shapes import Grid, Point, Shape, direction
from retroscope.world.textures import texture


@dataclass(frozen=True)
class Pose:
    """Where an object's own coordinates lie in the picture: y down, about -1 to 1."""

    x: float
    y: float
    scale: float
    along: Point = (1.0, 0.0)
    mirror: float = 1.0

    def at(self, x: float, y: float, *, turn: int = 0, scale: float = 1.0) -> "Pose":
        """The pose of something that stands at this place of the object."""
        c, s = self.along
        across, (a, b) = self.mirror * x, direction(turn)
        return Pose(
            self.x + self.scale * (c * across - s * y),
            self.y + self.scale * (s * across + c * y),
            self.scale * scale,
            (c * a - s * b * self.mirror, s * a + c * b * self.mirror),
            self.mirror,
        )

    def outer(self, bounds: tuple[float, float, float, float]) -> tuple[float, ...]:
        """The box of pixels that holds a box of the object's own coordinates."""
        left, top, right, bottom = bounds
        corners = [self.at(x, y) for x in (left, right) for y in (top, bottom)]
        xs, ys = [one.x for one in corners], [one.y for one in corners]
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True)
class Light:
    """Where the light comes from (x right, y down, z towards us), and what it gives."""

    x: float
    y: float
    z: float
    ambient: Colour
    sun: Colour


@dataclass(frozen=True)
class Skin:
    """How a surface looks. `bulge` is 0 for a flat one and 1 for a ball.

    `rim` darkens the edge, `gloss` is the highlight, `soft` blurs the edge by so many pixels, and
    `clear` is how much of what is behind shows through.
    """

    colour: Colour
    bulge: float = 0.5
    rim: float = 0.25
    gloss: float = 0.0
    texture: str = ""
    strength: float = 0.2
    soft: float = 1.0
    clear: float = 0.0

    def of(self, colour: Colour) -> "Skin":
        return replace(self, colour=colour)


class Canvas:
    """A picture under the brush: colours (3, side, side) from 0 to 1, and a part for each pixel."""

    def __init__(self, side: int, light: Light, *, offset: tuple[int, int] = (0, 0)) -> None:
        self.side, self.light, self.offset = side, light, offset
        self.colours = np.zeros((3, side, side), np.float32)
        self.parts = np.zeros((side, side), np.uint8)
        self._places = np.arange(side, dtype=np.float32) + np.float32(0.5)

    @property
    def pixel(self) -> float:
        """How large what is one pixel of 96 is here."""
        return self.side / 96

    def paint(self, pose: Pose, shape: Shape, skin: Skin, *, part: str = "") -> None:
        """A shape in its skin, on top of all that is there."""
        found = self._spread(pose, shape, max(skin.soft, 1.0) * self.pixel)
        if found is None:
            return
        where, x, y, distance = found
        cover = np.minimum(np.maximum(0.5 - distance / (skin.soft * self.pixel), 0), 1)
        if skin.clear:
            cover *= 1 - skin.clear
        lit = self._lit(pose, shape, skin, x=x, y=y)
        if skin.texture:
            lit *= 1 + skin.strength * self.texture(skin.texture, where)
        if skin.rim:
            lit -= skin.rim * np.maximum(1 + distance / (3 * self.pixel), 0)
        self._blend(where, cover, skin, lit)
        self.parts[where][cover > 0.5] = NUMBER_OF[part]

    def shadow(
        self, pose: Pose, shape: Shape, *, reach: float = 0, soft: float = 6, deep: float = 0.4
    ) -> None:
        """What a shape darkens behind it, `reach` of its own units away from the light."""
        far = reach * pose.scale
        moved = replace(pose, x=pose.x - self.light.x * far, y=pose.y - self.light.y * far)
        found = self._spread(moved, shape, soft * self.pixel)
        if found is None:
            return
        where, _, _, distance = found
        cover = np.minimum(np.maximum(0.5 - distance / (soft * self.pixel), 0), 1)
        self.colours[:, *where] *= 1 - deep * (cover * cover * (3 - 2 * cover))

    def _spread(
        self, pose: Pose, shape: Shape, margin: float
    ) -> tuple[tuple[slice, slice], Grid, Grid, Grid] | None:
        """The pixels near a shape: where, their place in the object, their distance in pixels."""
        left, top, right, bottom = pose.outer(shape.bounds)
        columns = slice(max(int(left - margin), 0), max(int(right + margin) + 1, 0))
        rows = slice(max(int(top - margin), 0), max(int(bottom + margin) + 1, 0))
        across = (self._places[columns] - pose.x) / pose.scale
        down = (self._places[rows, None] - pose.y) / pose.scale
        if not across.size or not down.size:
            return None
        c, s = pose.along
        x = (c * pose.mirror) * across + (s * pose.mirror) * down
        y = c * down - s * across
        return (rows, columns), x, y, shape.distance(x, y) * pose.scale

    def _lit(self, pose: Pose, shape: Shape, skin: Skin, *, x: Grid, y: Grid) -> Grid:
        """How much of the sun each pixel gets: 1 on a surface that faces us."""
        if not skin.bulge:
            return np.ones_like(x)
        left, top, right, bottom = shape.bounds
        a = (x - (left + right) / 2) * (2 * skin.bulge / (right - left))
        b = (y - (top + bottom) / 2) * (2 * skin.bulge / (bottom - top))
        (c, s), sun = pose.along, self.light
        towards = pose.mirror * (c * sun.x + s * sun.y), c * sun.y - s * sun.x
        facing = np.sqrt(np.maximum(1 - a * a - b * b, 0.04))
        lit: Grid = (towards[0] * a + towards[1] * b + sun.z * facing) * (1 / sun.z)
        return np.maximum(lit, 0)

    def texture(self, name: str, where: tuple[slice, slice]) -> Grid:
        top, left = self.offset
        rows, columns = where
        return texture(name)[
            top + rows.start : top + min(rows.stop, self.side),
            left + columns.start : left + min(columns.stop, self.side),
        ]

    def _blend(self, where: tuple[slice, slice], cover: Grid, skin: Skin, lit: Grid) -> None:
        under = self.colours[:, *where]
        shown = _column(skin.colour, self.light.sun) * lit
        shown += _column(skin.colour, self.light.ambient)
        if skin.gloss:
            shown += skin.gloss * np.maximum(lit - 1.05, 0)
        shown -= under
        shown *= cover
        under += shown


def _column(colour: Colour, light: Colour) -> npt.NDArray[np.float32]:
    products = [a * b for a, b in zip(colour, light, strict=True)]
    return np.array(products, np.float32)[:, None, None]
