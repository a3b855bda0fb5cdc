"""Shapes as signed distance functions: negative inside, positive outside, in object coordinates.

They use only sums, products, quotients and square roots, which round the same on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from math import cos, radians, sin, sqrt

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.float32]
Point = tuple[float, float]
Distance = Callable[[Grid, Grid], Grid]


@dataclass(frozen=True)
class Shape:
    """A distance function, and the bounding box (left, top, right, bottom)."""

    distance: Distance
    bounds: tuple[float, float, float, float]


def unit_vector(degrees: int) -> Point:
    """The cosine and sine of an angle, rounded so they are the same on every machine."""
    return round(cos(radians(degrees)), 7), round(sin(radians(degrees)), 7)


def _length(x: Grid, y: Grid) -> Grid:
    return np.sqrt(x * x + y * y)


def circle(x: float, y: float, radius: float) -> Shape:
    return Shape(
        lambda u, v: _length(u - x, v - y) - radius,
        (x - radius, y - radius, x + radius, y + radius),
    )


def ellipse(centre: Point, across: float, down: float) -> Shape:
    """An ellipse; its distance is an approximation, exact on the edge."""
    x, y = centre

    def distance(u: Grid, v: Grid) -> Grid:
        a, b = (u - x) / across, (v - y) / down
        near = _length(a, b)
        return near * (near - 1) / (_length(a / across, b / down) + 1e-6)

    return Shape(distance, (x - across, y - down, x + across, y + down))


def box(left: float, top: float, right: float, bottom: float, *, corner: float = 0) -> Shape:
    x, y, across, down = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    half, tall = across / 2 - corner, down / 2 - corner

    def distance(u: Grid, v: Grid) -> Grid:
        a, b = np.abs(u - x) - half, np.abs(v - y) - tall
        inside: Grid = np.maximum(a, b)
        if not corner:
            return inside
        outside = _length(np.maximum(a, 0), np.maximum(b, 0))
        return outside + np.minimum(inside, 0) - corner

    return Shape(distance, (left, top, right, bottom))


def polygon(*corners: Point) -> Shape:
    """A convex polygon, with its corners clockwise or counter-clockwise."""
    edges = list(zip(corners, (*corners[1:], corners[0]), strict=True))
    area = sum(a * d - c * b for (a, b), (c, d) in edges)
    planes = [_plane(start, end, area > 0) for start, end in edges]
    xs, ys = zip(*corners, strict=True)
    return Shape(_maximum(planes), (min(xs), min(ys), max(xs), max(ys)))


def _plane(start: Point, end: Point, clockwise: bool) -> Distance:
    """The signed distance from the line through start and end."""
    (a, b), (c, d) = (start, end) if clockwise else (end, start)
    long = sqrt((c - a) * (c - a) + (d - b) * (d - b))
    x, y = (d - b) / long, (a - c) / long
    off = x * a + y * b
    return lambda u, v: x * u + (y * v - off)


def _maximum(distances: list[Distance]) -> Distance:
    return lambda u, v: reduce(np.maximum, (distance(u, v) for distance in distances))


def stroke(start: Point, end: Point, width: float, *, tip: float | None = None) -> Shape:
    """A line with round ends that tapers from `width` to `tip`."""
    (x, y), (dx, dy) = start, (end[0] - start[0], end[1] - start[1])
    first, last = width / 2, (width if tip is None else tip) / 2
    square = dx * dx + dy * dy + 1e-9

    def distance(u: Grid, v: Grid) -> Grid:
        a, b = u - x, v - y
        along: Grid = np.minimum(np.maximum((a * dx + b * dy) / square, 0), 1)
        return _length(a - dx * along, b - dy * along) - (first + (last - first) * along)

    w = max(first, last)
    return Shape(
        distance,
        (min(x, end[0]) - w, min(y, end[1]) - w, max(x, end[0]) + w, max(y, end[1]) + w),
    )


def ring(x: float, y: float, radius: float, *, width: float) -> Shape:
    far = radius + width / 2
    return Shape(
        lambda u, v: np.abs(_length(u - x, v - y) - radius) - width / 2,
        (x - far, y - far, x + far, y + far),
    )


def union(*shapes: Shape) -> Shape:
    lefts, tops, rights, bottoms = zip(*(shape.bounds for shape in shapes), strict=True)
    return Shape(
        lambda u, v: reduce(np.minimum, (shape.distance(u, v) for shape in shapes)),
        (min(lefts), min(tops), max(rights), max(bottoms)),
    )


def difference(shape: Shape, hole: Shape) -> Shape:
    """The part of a shape outside of another."""
    return Shape(lambda u, v: np.maximum(shape.distance(u, v), -hole.distance(u, v)), shape.bounds)


def intersection(shape: Shape, mask: Shape) -> Shape:
    """The part of a shape inside another."""
    a, b = shape.bounds, mask.bounds
    return Shape(
        lambda u, v: np.maximum(shape.distance(u, v), mask.distance(u, v)),
        (max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])),
    )
