"""Backgrounds (outdoors, rooms, backdrops, water), light, clutter and occluders."""

from collections.abc import Callable
from math import sqrt

import numpy as np

from retroscope.world.painting import Light, Material, Pose, SceneCanvas
from retroscope.world.palette import (
    GROUND,
    LEAF,
    PASTEL,
    SKY,
    WALL,
    WHITE,
    WOOD,
    Colour,
    mix,
    pick_colour,
    rgb,
    shade,
)
from retroscope.world.plants import tuft
from retroscope.world.seeded_random import SeededRandom
from retroscope.world.shapes import Grid, box, circle, ellipse, polygon

Background = Callable[[SceneCanvas, SeededRandom], None]


def random_light(random: SeededRandom) -> Light:
    """A light from above, more or less from one side, cool and dim or warm and bright."""
    x, y = random.uniform(-0.6, 0.6), random.uniform(-0.62, -0.25)
    warm, strong = random.uniform(-0.05, 0.06), random.uniform(0.5, 0.72)
    base = random.uniform(0.93, 1.06) - strong
    return Light(
        x,
        y,
        round(sqrt(1 - x * x - y * y), 6),
        ambient=(base - warm / 2, base, base + warm),
        sun=(strong + warm, strong, strong - warm),
    )


def meadow(canvas: SceneCanvas, random: SeededRandom) -> None:
    """A sky with clouds, hills, and ground that recedes."""
    horizon = random.uniform(0.5, 0.72)
    _sky(canvas, random, horizon)
    ground = pick_colour(GROUND, random)
    for _ in range(random.integer(1, 3)):
        _hill(canvas, random, horizon, mix(ground, rgb("8fa8b8"), random.uniform(0.4, 0.7)))
    _floor(canvas, horizon, ground, texture=random.choice(("grass", "blotches", "foliage")))


def sea(canvas: SceneCanvas, random: SeededRandom) -> None:
    """A sky above, waves below."""
    horizon = random.uniform(0.45, 0.68)
    _sky(canvas, random, horizon)
    if random.chance(0.5):
        _hill(canvas, random, horizon, rgb("8fa3b0"))
    water = shade(rgb(random.choice(("4f87a0", "3f7890", "6a9fae"))), random.uniform(0.85, 1.15))
    _floor(canvas, horizon, water, texture="ripples")


def under_water(canvas: SceneCanvas, random: SeededRandom) -> None:
    """Under water: light from above fades towards the ground."""
    top, low = rgb(random.choice(("6fb3c4", "5fa0b8", "7fc0b8"))), rgb("2a5a78")
    _fill_gradient(canvas, (top, low), texture="ripples", strength=0.1)
    _floor(canvas, random.uniform(0.8, 0.95), rgb("b8a884"), texture="blotches")
    for _ in range(random.integer(3, 8)):
        x, y, size = random.uniform(0, 96), random.uniform(0, 96), random.uniform(0.8, 2.6)
        bubble = Material(rgb("cfe8ee"), transparency=0.5, gloss=0.4)
        canvas.paint(_pose_at(canvas, x, y), circle(0, 0, size), bubble)


def room(canvas: SceneCanvas, random: SeededRandom) -> None:
    """A wallpapered wall above a floor or a table."""
    paper = pick_colour(random.choice((WALL, PASTEL)), random)
    texture = random.choice(("stripes", "weave", "spots", "bricks", "blotches", "planks"))
    pale = shade(paper, random.uniform(0.7, 0.95))
    _fill_gradient(canvas, (paper, pale), texture=texture, strength=random.uniform(0.05, 0.16))
    edge = random.uniform(0.68, 0.86)
    boards = pick_colour(WOOD, random) if random.chance(0.7) else shade(paper, 0.55)
    _floor(canvas, edge, boards, texture=random.choice(("wood", "planks", "weave")))
    skirting = box(0, 96 * edge - 3, 96, 96 * edge)
    canvas.paint(_pose_at(canvas, 0, 0), skirting, Material(mix(paper, WHITE, 0.5), bulge=0))


def backdrop(canvas: SceneCanvas, random: SeededRandom) -> None:
    """A painted backdrop, brighter on one side."""
    first = pick_colour(random.choice((PASTEL, WALL, GROUND)), random)
    second = mix(shade(first, random.uniform(0.45, 0.8)), pick_colour(PASTEL, random), 0.25)
    pair = (first, second) if random.chance(0.5) else (second, first)
    texture = random.choice(("blotches", "clouds", "weave", "foliage"))
    _fill_gradient(canvas, pair, texture=texture, strength=random.uniform(0.06, 0.22))


def _fill_gradient(
    canvas: SceneCanvas, pair: tuple[Colour, Colour], *, texture: str, strength: float
) -> None:
    """Fill the canvas with a gradient from top to bottom, times a texture."""
    down = (np.arange(canvas.side, dtype=np.float32) / np.float32(canvas.side))[None, :, None]
    first, last = (np.array(colour, np.float32)[:, None, None] for colour in pair)
    everything = slice(0, canvas.side), slice(0, canvas.side)
    surface = 1 + strength * canvas.texture(texture, everything)
    canvas.colours[:] = (first + (last - first) * down) * surface


def _sky(canvas: SceneCanvas, random: SeededRandom, horizon: float) -> None:
    top, low = map(rgb, random.choice(SKY))
    _fill_gradient(canvas, (top, low), texture="clouds", strength=0)
    rows = slice(0, int(canvas.side * horizon) + 1)
    cloud: Grid = np.maximum(canvas.texture("clouds", (rows, slice(0, canvas.side))), 0)
    cover = np.minimum(cloud * random.uniform(0.6, 2.0), 0.85)
    canvas.colours[:, rows] += cover * (np.float32(0.97) - canvas.colours[:, rows])


def _hill(canvas: SceneCanvas, random: SeededRandom, horizon: float, colour: Colour) -> None:
    x, wide = random.uniform(0, 96), random.uniform(25, 60)
    hill = ellipse((x, 96 * horizon + 2), wide, random.uniform(5, 16))
    material = Material(colour, bulge=0.3, rim=0, texture="blotches", softness=2)
    canvas.paint(_pose_at(canvas, 0, 0), hill, material)


def _floor(canvas: SceneCanvas, horizon: float, colour: Colour, *, texture: str) -> None:
    """Paint the ground below the horizon, hazy far away and rougher nearby."""
    top = int(canvas.side * horizon)
    rows, columns = slice(top, canvas.side), slice(0, canvas.side)
    near = np.arange(canvas.side - top, dtype=np.float32)[:, None] / np.float32(canvas.side - top)
    base = np.array(colour, np.float32)[:, None, None]
    surface = canvas.texture(texture, (rows, columns)) * (0.08 + 0.14 * near)
    canvas.colours[:, rows] = base * (1.06 - 0.22 * near + surface)


def _pose_at(canvas: SceneCanvas, x: float, y: float) -> Pose:
    """A pose at (x, y) in pixels of a 96-pixel canvas."""
    return Pose(x * canvas.pixel, y * canvas.pixel, canvas.pixel)


def add_clutter(canvas: SceneCanvas, random: SeededRandom) -> None:
    """Paint a few small objects: pebbles, balls, tufts, posts."""
    for _ in range(random.integer(0, 4)):
        pose = _pose_at(canvas, random.uniform(2, 94), random.uniform(60, 94))
        random.choice((_pebble, _ball, _tuft, _post))(canvas, pose, random)


def _pebble(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    wide = random.uniform(3, 7)
    canvas.shadow(pose, ellipse((0, wide * 0.5), wide, 1.5), softness=3)
    stone = Material(shade(rgb("9a948c"), random.uniform(0.7, 1.2)), bulge=0.8, texture="grain")
    canvas.paint(pose, ellipse((0, 0), wide, wide * random.uniform(0.5, 0.8)), stone)


def _ball(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    size = random.uniform(3, 6)
    canvas.shadow(pose, ellipse((0, size), size, 1.4), softness=3)
    material = Material(pick_colour(PASTEL, random), bulge=0.85, gloss=0.3)
    canvas.paint(pose, circle(0, 0, size), material)


def _tuft(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    tuft(canvas, pose.at(0, 0, scale=random.uniform(6, 11)), random)


def _post(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    tall = random.uniform(10, 26)
    material = Material(pick_colour(WOOD, random), bulge=0.7, texture="wood")
    canvas.paint(pose, box(-1.6, -tall, 1.6, 4, corner=0.8), material)


def add_occluder(canvas: SceneCanvas, random: SeededRandom) -> None:
    """Paint something in the foreground that hides a corner or an edge of the object."""
    side = random.choice((-1, 1))
    pose = _pose_at(canvas, 48 + side * random.uniform(12, 34), random.uniform(34, 92))
    random.choice((_bough, _out_of_focus, _near_tuft, _plank))(canvas, pose, random)


def _bough(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    green = pick_colour(LEAF, random)
    for _ in range(6):
        x, y = random.uniform(-9, 9), random.uniform(-9, 9)
        long, wide = random.uniform(6, 10), random.uniform(2.4, 4)
        leaf_pose = pose.at(x, y, turn=random.integer(0, 179))
        material = Material(
            shade(green, random.uniform(0.7, 1.1)), texture="blotches", softness=1.6
        )
        canvas.paint(leaf_pose, ellipse((0, 0), long, wide), material)


def _out_of_focus(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    """A blurred disc in the foreground."""
    material = Material(pick_colour(PASTEL, random), bulge=0.3, rim=0, softness=8, transparency=0.1)
    canvas.paint(pose, circle(0, 0, random.uniform(7, 12)), material)


def _near_tuft(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    low = _pose_at(canvas, pose.x / canvas.pixel, 98)
    tuft(canvas, low.at(0, 0, scale=random.uniform(26, 44)), random)


def _plank(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    board_pose = pose.at(0, 0, turn=random.integer(-30, 30))
    board = polygon((-4, -60), (4, -60), (4, 70), (-4, 70))
    canvas.shadow(board_pose, board, reach=3, softness=5, darkness=0.3)
    canvas.paint(board_pose, board, Material(pick_colour(WOOD, random), bulge=0.5, texture="wood"))


BACKGROUNDS: dict[str, tuple[Background, ...]] = {
    "anywhere": (meadow, meadow, room, backdrop),
    "outside": (meadow, meadow, meadow, backdrop),
    "aloft": (meadow, sea, sea, backdrop),
    "inside": (room, room, backdrop, meadow),
    "water": (sea, under_water, backdrop, room),
}
"""The backgrounds of each kind of object; repeated ones are more likely."""
