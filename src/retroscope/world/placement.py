"""Positions of several objects in one image: apart from each other, as far as there is room."""

from collections.abc import Sequence
from math import sqrt

from retroscope.world.seeded_random import SeededRandom
from retroscope.world.shapes import Point

SIDE, CANDIDATES = 96, 10
"""Positions are in pixels of a 96-pixel canvas; each is the best of some candidates."""


def crowd_scale(count: int) -> float:
    """By how much objects shrink if this many share an image."""
    return 0.95 / sqrt(count)


def place_apart(radii: Sequence[float], random: SeededRandom) -> list[Point]:
    """A position for the centre of each object, the farthest from those placed before.

    >>> len(place_apart([20.0, 10.0], SeededRandom(3)))
    2
    """
    positions: list[Point] = []
    for index, radius in enumerate(radii):
        low, high = 0.85 * radius, SIDE - 0.85 * radius
        candidates = [
            (random.uniform(low, high), random.uniform(low, high)) for _ in range(CANDIDATES)
        ]
        gaps = [_gap(point, radius, positions, radii[:index]) for point in candidates]
        positions.append(candidates[gaps.index(max(gaps))])
    return positions


def _gap(point: Point, radius: float, positions: Sequence[Point], radii: Sequence[float]) -> float:
    """The least squared distance to other objects, in squares of the sum of both radii."""
    return min(
        (
            ((point[0] - x) * (point[0] - x) + (point[1] - y) * (point[1] - y))
            / ((radius + other) * (radius + other))
            for (x, y), other in zip(positions, radii, strict=True)
        ),
        default=0.0,
    )
