"""Paint anti-aliased, lit shapes on a canvas, and record what each pixel shows of which object."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from retroscope.world.palette import Colour
from retroscope.world.part_map import PART_NUMBERS
from retroscope.world.shapes import Grid, Point, Shape, unit_vector
from retroscope.world.textures import texture


@dataclass(frozen=True)
class Pose:
    """An object's position, scale and rotation. Object coordinates are about -1 to 1, y down."""

    x: float
    y: float
    scale: float
    x_axis: Point = (1.0, 0.0)
    mirror: float = 1.0

    def at(self, x: float, y: float, *, turn: int = 0, scale: float = 1.0) -> "Pose":
        """The pose of a child at (x, y) of this object, turned by `turn` degrees."""
        c, s = self.x_axis
        across, (a, b) = self.mirror * x, unit_vector(turn)
        return Pose(
            self.x + self.scale * (c * across - s * y),
            self.y + self.scale * (s * across + c * y),
            self.scale * scale,
            (c * a - s * b * self.mirror, s * a + c * b * self.mirror),
            self.mirror,
        )

    def bounding_box(self, bounds: tuple[float, float, float, float]) -> tuple[float, ...]:
        """The pixel box around a box in object coordinates."""
        left, top, right, bottom = bounds
        corners = [self.at(x, y) for x in (left, right) for y in (top, bottom)]
        xs, ys = [corner.x for corner in corners], [corner.y for corner in corners]
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True)
class Light:
    """A light direction (x right, y down, z towards the viewer), with ambient and sun colours."""

    x: float
    y: float
    z: float
    ambient: Colour
    sun: Colour


@dataclass(frozen=True)
class Material:
    """How a surface looks.

    `bulge` is 0 for a flat surface and 1 for a ball, `rim` darkens the edge, `gloss` is the
    strength of the highlight, `strength` that of the texture, and `softness` the width of the
    blurred edge in pixels.
    """

    colour: Colour
    bulge: float = 0.5
    rim: float = 0.25
    gloss: float = 0.0
    texture: str = ""
    strength: float = 0.2
    softness: float = 1.0
    transparency: float = 0.0

    def with_colour(self, colour: Colour) -> "Material":
        return replace(self, colour=colour)


class SceneCanvas:
    """Colours (3, side, side) from 0 to 1, a part map and an object map (side, side).

    What is painted belongs to the object of number `object_number`; 0 is none. Parts in `omitted`
    are not painted, nor are their shadows.
    """

    def __init__(
        self,
        side: int,
        light: Light,
        *,
        offset: tuple[int, int] = (0, 0),
        omitted: Collection[str] = (),
    ) -> None:
        self.side, self.light, self.offset = side, light, offset
        self.omitted = frozenset(omitted)
        self.colours = np.zeros((3, side, side), np.float32)
        self.parts = np.zeros((side, side), np.uint8)
        self.objects = np.zeros((side, side), np.uint8)
        self.object_number = 0
        self._pixel_centres = np.arange(side, dtype=np.float32) + np.float32(0.5)

    @property
    def pixel(self) -> float:
        """The size of one pixel of a 96-pixel canvas on this one."""
        return self.side / 96

    def paint(self, pose: Pose, shape: Shape, material: Material, *, part: str = "") -> None:
        """Paint a shape over everything painted so far."""
        if part in self.omitted:
            return
        pixels = self._nearby_pixels(pose, shape, max(material.softness, 1.0) * self.pixel)
        if pixels is None:
            return
        window, x, y, distance = pixels
        cover = np.minimum(np.maximum(0.5 - distance / (material.softness * self.pixel), 0), 1)
        if material.transparency:
            cover *= 1 - material.transparency
        lit = self._illumination(pose, shape, material, x=x, y=y)
        if material.texture:
            lit *= 1 + material.strength * self.texture(material.texture, window)
        if material.rim:
            lit -= material.rim * np.maximum(1 + distance / (3 * self.pixel), 0)
        self._blend(window, cover, material, lit)
        covered = cover > 0.5
        self.parts[window][covered] = PART_NUMBERS[part]
        self.objects[window][covered] = self.object_number

    def shadow(
        self,
        pose: Pose,
        shape: Shape,
        *,
        reach: float = 0,
        softness: float = 6,
        darkness: float = 0.4,
        part: str = "",
    ) -> None:
        """Darken what lies behind a shape, shifted by `reach` object units away from the light.

        The shadow of a part is left out with it.
        """
        if part in self.omitted:
            return
        far = reach * pose.scale
        moved = replace(pose, x=pose.x - self.light.x * far, y=pose.y - self.light.y * far)
        pixels = self._nearby_pixels(moved, shape, softness * self.pixel)
        if pixels is None:
            return
        window, _, _, distance = pixels
        cover = np.minimum(np.maximum(0.5 - distance / (softness * self.pixel), 0), 1)
        self.colours[:, *window] *= 1 - darkness * (cover * cover * (3 - 2 * cover))

    def _nearby_pixels(
        self, pose: Pose, shape: Shape, margin: float
    ) -> tuple[tuple[slice, slice], Grid, Grid, Grid] | None:
        """The pixels near a shape: their window, object coordinates, and distance in pixels."""
        left, top, right, bottom = pose.bounding_box(shape.bounds)
        columns = slice(max(int(left - margin), 0), max(int(right + margin) + 1, 0))
        rows = slice(max(int(top - margin), 0), max(int(bottom + margin) + 1, 0))
        across = (self._pixel_centres[columns] - pose.x) / pose.scale
        down = (self._pixel_centres[rows, None] - pose.y) / pose.scale
        if not across.size or not down.size:
            return None
        c, s = pose.x_axis
        x = (c * pose.mirror) * across + (s * pose.mirror) * down
        y = c * down - s * across
        return (rows, columns), x, y, shape.distance(x, y) * pose.scale

    def _illumination(
        self, pose: Pose, shape: Shape, material: Material, *, x: Grid, y: Grid
    ) -> Grid:
        """The share of sunlight on each pixel: 1 on a surface that faces the viewer."""
        if not material.bulge:
            return np.ones_like(x)
        left, top, right, bottom = shape.bounds
        a = (x - (left + right) / 2) * (2 * material.bulge / (right - left))
        b = (y - (top + bottom) / 2) * (2 * material.bulge / (bottom - top))
        (c, s), sun = pose.x_axis, self.light
        towards = pose.mirror * (c * sun.x + s * sun.y), c * sun.y - s * sun.x
        facing = np.sqrt(np.maximum(1 - a * a - b * b, 0.04))
        lit: Grid = (towards[0] * a + towards[1] * b + sun.z * facing) * (1 / sun.z)
        return np.maximum(lit, 0)

    def texture(self, name: str, window: tuple[slice, slice]) -> Grid:
        top, left = self.offset
        rows, columns = window
        return texture(name)[
            top + rows.start : top + min(rows.stop, self.side),
            left + columns.start : left + min(columns.stop, self.side),
        ]

    def _blend(
        self, window: tuple[slice, slice], cover: Grid, material: Material, lit: Grid
    ) -> None:
        background = self.colours[:, *window]
        blended = _product(material.colour, self.light.sun) * lit
        blended += _product(material.colour, self.light.ambient)
        if material.gloss:
            blended += material.gloss * np.maximum(lit - 1.05, 0)
        blended -= background
        blended *= cover
        background += blended


def _product(colour: Colour, light: Colour) -> npt.NDArray[np.float32]:
    products = [a * b for a, b in zip(colour, light, strict=True)]
    return np.array(products, np.float32)[:, None, None]
