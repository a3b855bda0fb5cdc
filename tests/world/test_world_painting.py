"""Painting: shapes against their definitions, coverage, light, textures and random draws."""

import numpy as np
import numpy.typing as npt
import pytest

from retroscope.world import shapes
from retroscope.world.painting import Light, Material, Pose, SceneCanvas
from retroscope.world.palette import BLACK, WHITE, rgb
from retroscope.world.part_map import PART_NUMBERS
from retroscope.world.seeded_random import SeededRandom
from retroscope.world.textures import SIDE, TEXTURES, texture

LEFT = Light(-0.6, 0.0, 0.8, ambient=(0.3, 0.3, 0.3), sun=(0.7, 0.7, 0.7))
MATT = Material(rgb("808080"), bulge=0, rim=0)


def grid(side: int = 61) -> tuple[shapes.Grid, shapes.Grid]:
    coordinates = np.linspace(-1.5, 1.5, side, dtype=np.float32)
    return coordinates[None, :].repeat(side, 0), coordinates[:, None].repeat(side, 1)


Points = npt.NDArray[np.float64]


def edge(shape: shapes.Shape) -> Points:
    """Points close to a shape's edge, from sign changes on a fine grid."""
    fine = np.linspace(-1.5, 1.5, 1201, dtype=np.float32)
    inside = shape.distance(fine[None, :].repeat(1201, 0), fine[:, None].repeat(1201, 1)) < 0
    down, across = inside[1:, 1:] ^ inside[:-1, 1:], inside[1:, 1:] ^ inside[1:, :-1]
    rows, columns = np.nonzero(down | across)
    return np.stack([fine[columns], fine[rows]], axis=1).astype(np.float64)


EXACT = {
    "circle": shapes.circle(0.1, -0.2, 0.6),
    "round box": shapes.box(-0.7, -0.4, 0.5, 0.6, corner=0.2),
    "ring": shapes.ring(0, 0.1, 0.7, width=0.3),
    "stroke": shapes.stroke((-0.6, -0.3), (0.5, 0.4), 0.3),
}
"""Shapes with an exact distance everywhere; that of the others is exact at the edge only."""


@pytest.mark.parametrize("name", EXACT)
def test_the_distance_is_to_the_nearest_point_of_the_edge(name: str) -> None:
    shape, (x, y) = EXACT[name], grid(31)
    points = edge(shape)
    near = [
        np.hypot(points[:, 0] - a, points[:, 1] - b).min()
        for a, b in zip(x.flat, y.flat, strict=True)
    ]
    assert np.abs(np.abs(shape.distance(x, y)).ravel() - near).max() < 0.01


def test_a_polygon_is_the_union_of_the_triangles_of_its_corners() -> None:
    """A point is in a convex hull if it is in a triangle of its corners."""
    corners = [(-0.8, -0.2), (0.1, -0.9), (0.9, 0.1), (0.3, 0.8), (-0.6, 0.7)]
    x, y = grid()

    def side(p: shapes.Point, q: shapes.Point) -> Points:
        return (q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0])

    def in_triangle(p: shapes.Point, q: shapes.Point, r: shapes.Point) -> Points:
        turns = np.stack([side(p, q), side(q, r), side(r, p)])
        inside: Points = np.maximum(turns.min(axis=0), -turns.max(axis=0)) >= 0
        return inside

    hull = np.any([in_triangle(corners[0], corners[n], corners[n + 1]) for n in (1, 2, 3)], axis=0)
    for order in (corners, corners[::-1]):
        distance = shapes.polygon(*order).distance(x, y)
        clear = np.abs(distance) > 1e-5
        assert ((distance < 0) == hull)[clear].all()


def test_union_intersection_and_difference() -> None:
    x, y = grid()
    circle, box = shapes.circle(-0.3, 0, 0.6), shapes.box(-0.2, -0.5, 0.9, 0.5)
    a, b = circle.distance(x, y) < 0, box.distance(x, y) < 0
    assert ((shapes.union(circle, box).distance(x, y) < 0) == (a | b)).all()
    assert ((shapes.intersection(circle, box).distance(x, y) < 0) == (a & b)).all()
    clear = box.distance(x, y) != 0
    assert ((shapes.difference(circle, box).distance(x, y) < 0) == (a & ~b))[clear].all()


@pytest.mark.parametrize("turn", [0, 17, 90, 233])
@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_a_shape_lies_within_its_bounding_box(turn: int, mirror: float) -> None:
    pose = Pose(50, 45, 30, mirror=mirror).at(0.1, 0, turn=turn)
    for shape in EXACT.values():
        canvas = SceneCanvas(96, LEFT)
        canvas.paint(pose, shape, MATT, part="body")
        left, top, right, bottom = pose.bounding_box(shape.bounds)
        rows, columns = np.nonzero(canvas.parts)
        assert rows.min() >= top - 1
        assert rows.max() <= bottom + 1
        assert columns.min() >= left - 1
        assert columns.max() <= right + 1


def test_a_mirrored_pose_paints_the_mirrored_image() -> None:
    flat = Light(0, 0, 1, ambient=(0.3, 0.3, 0.3), sun=(0.7, 0.7, 0.7))
    images = []
    for mirror in (1.0, -1.0):
        canvas = SceneCanvas(96, flat)
        pose = Pose(48, 48, 40, mirror=mirror)
        canvas.paint(pose.at(0.3, 0.1, turn=25), shapes.box(-0.3, -0.2, 0.5, 0.1), MATT)
        images.append(canvas.colours)
    assert np.abs(images[0] - images[1][:, :, ::-1]).max() < 1e-3
    assert images[0].max() > 0.4


@pytest.mark.parametrize("radius", [1.5, 4.0, 20.0])
def test_edges_are_anti_aliased_so_a_disc_covers_its_area(radius: float) -> None:
    canvas = SceneCanvas(96, LEFT)
    material = Material((1.0, 1.0, 1.0), bulge=0, rim=0)
    canvas.paint(Pose(47.3, 50.6, 1), shapes.circle(0, 0, radius), material)
    covered = float(canvas.colours[0].astype(np.float64).sum())
    assert covered == pytest.approx(np.pi * radius**2, rel=0.03)


def test_a_ball_is_bright_towards_the_light_and_dark_away_from_it() -> None:
    for mirror in (1.0, -1.0):
        for turn in (0, 70, 180):
            canvas = SceneCanvas(96, LEFT)
            pose = Pose(48, 48, 40, mirror=mirror).at(0, 0, turn=turn)
            canvas.paint(pose, shapes.circle(0, 0, 1), Material(rgb("808080"), bulge=0.9, rim=0))
            row = canvas.colours[0, 48]
            assert row[20] > row[48] + 0.05
            assert row[48] > row[76] + 0.05


def test_a_surface_that_faces_us_has_its_own_colour_in_white_light() -> None:
    canvas = SceneCanvas(96, LEFT)
    canvas.paint(
        Pose(48, 48, 40), shapes.circle(0, 0, 1), Material(rgb("4080c0"), bulge=0.8, rim=0)
    )
    assert canvas.colours[:, 48, 48] == pytest.approx(rgb("4080c0"), abs=0.02)


def test_a_shadow_falls_away_from_the_light() -> None:
    canvas = SceneCanvas(96, LEFT)
    canvas.colours[:] = 1
    canvas.shadow(Pose(48, 48, 20), shapes.circle(0, 0, 1), reach=0.5)
    dark = 1 - canvas.colours[0].astype(np.float64)
    columns = np.arange(96) + 0.5
    assert (dark.sum(0) * columns).sum() / dark.sum() == pytest.approx(48 + 0.6 * 0.5 * 20, abs=0.3)
    assert not canvas.parts.any()


def test_later_shapes_hide_earlier_ones_and_their_parts() -> None:
    canvas = SceneCanvas(96, LEFT)
    pose = Pose(48, 48, 20)
    canvas.paint(pose, shapes.circle(0, 0, 1), Material(WHITE), part="dial")
    canvas.paint(pose, shapes.circle(0, 0, 0.5), Material(BLACK), part="hand")
    canvas.paint(pose, shapes.circle(0, 0, 0.2), Material(BLACK))
    parts = [canvas.parts[48, 48 + away] for away in (0, 7, 15, 30)]
    assert parts == [0, PART_NUMBERS["hand"], PART_NUMBERS["dial"], 0]


def test_a_shape_off_the_canvas_paints_nothing() -> None:
    canvas = SceneCanvas(96, LEFT)
    for x, y in ((-50.0, 48.0), (200.0, 48.0), (48.0, -50.0), (48.0, 200.0)):
        canvas.paint(Pose(x, y, 20), shapes.circle(0, 0, 1), Material(WHITE), part="dial")
        canvas.shadow(Pose(x, y, 20), shapes.circle(0, 0, 1))
    assert not canvas.parts.any()
    assert not canvas.colours.any()


@pytest.mark.parametrize("name", sorted(TEXTURES))
def test_a_texture_is_seamless_and_has_a_range(name: str) -> None:
    tiled = texture(name)
    assert tiled.shape == (2 * SIDE, 2 * SIDE)
    assert tiled.dtype == np.float32
    assert np.array_equal(tiled[:SIDE], tiled[SIDE:])
    assert np.array_equal(tiled[:, :SIDE], tiled[:, SIDE:])
    assert 0.1 < np.abs(tiled).max() <= 1.1
    assert abs(float(tiled.mean())) < 0.4
    with pytest.raises(ValueError, match="read-only"):
        tiled[0, 0] = 0


def test_draws_are_uniform_and_in_range() -> None:
    random = SeededRandom(5)
    numbers = np.array([random.uniform(2, 4) for _ in range(4000)])
    assert numbers.min() >= 2
    assert numbers.max() < 4
    assert np.histogram(numbers, 4)[0] == pytest.approx(1000, rel=0.12)
    wholes = [random.integer(-1, 2) for _ in range(4000)]
    assert {number: wholes.count(number) > 850 for number in set(wholes)} == {
        -1: True, 0: True, 1: True, 2: True,
    }  # fmt: skip
    assert sum(random.chance(0.25) for _ in range(4000)) == pytest.approx(1000, rel=0.12)
    assert {random.choice("abc") for _ in range(60)} == set("abc")
