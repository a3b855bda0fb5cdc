"""Where objects stand: out of doors, in a room, before a backdrop, on the water; and the light."""

from collections.abc import Callable
from math import sqrt

import numpy as np

from retroscope.world.draws import Chance
from retroscope.world.painting import Canvas, Light, Pose, Skin
from retroscope.world.palette import (
    GROUND,
    LEAF,
    PASTEL,
    SKY,
    WALL,
    WHITE,
    WOOD,
    Colour,
    mixed,
    rgb,
    shade,
    some,
)
from retroscope.world.plants import tuft
from retroscope.world.shapes import Grid, box, circle, ellipse, polygon

Setting = Callable[[Canvas, Chance], None]


def light(chance: Chance) -> Light:
    """From above, more or less aside: cool and dim, or warm and bright."""
    x, y = chance.between(-0.6, 0.6), chance.between(-0.62, -0.25)
    warm, strong = chance.between(-0.05, 0.06), chance.between(0.5, 0.72)
    base = chance.between(0.93, 1.06) - strong
    return Light(
        x,
        y,
        round(sqrt(1 - x * x - y * y), 6),
        ambient=(base - warm / 2, base, base + warm),
        sun=(strong + warm, strong, strong - warm),
    )


def meadow(canvas: Canvas, chance: Chance) -> None:
    """A sky with clouds, hills, and ground that runs away from us."""
    horizon = chance.between(0.5, 0.72)
    _sky(canvas, chance, horizon)
    ground = some(GROUND, chance)
    for _ in range(chance.whole(1, 3)):
        _hill(canvas, chance, horizon, mixed(ground, rgb("8fa8b8"), chance.between(0.4, 0.7)))
    _floor(canvas, horizon, ground, stuff=chance.pick(("grass", "blotches", "foliage")))


def sea(canvas: Canvas, chance: Chance) -> None:
    """A sky above, waves below."""
    horizon = chance.between(0.45, 0.68)
    _sky(canvas, chance, horizon)
    if chance.perhaps(0.5):
        _hill(canvas, chance, horizon, rgb("8fa3b0"))
    water = shade(rgb(chance.pick(("4f87a0", "3f7890", "6a9fae"))), chance.between(0.85, 1.15))
    _floor(canvas, horizon, water, stuff="ripples")


def depth(canvas: Canvas, chance: Chance) -> None:
    """Under water: light from above fades towards the ground."""
    top, low = rgb(chance.pick(("6fb3c4", "5fa0b8", "7fc0b8"))), rgb("2a5a78")
    _fill(canvas, (top, low), stuff="ripples", strength=0.1)
    _floor(canvas, chance.between(0.8, 0.95), rgb("b8a884"), stuff="blotches")
    for _ in range(chance.whole(3, 8)):
        x, y, size = chance.between(0, 96), chance.between(0, 96), chance.between(0.8, 2.6)
        bubble = Skin(rgb("cfe8ee"), clear=0.5, gloss=0.4)
        canvas.paint(_place(canvas, x, y), circle(0, 0, size), bubble)


def room(canvas: Canvas, chance: Chance) -> None:
    """A papered wall above a floor or a table."""
    paper = some(chance.pick((WALL, PASTEL)), chance)
    stuff = chance.pick(("stripes", "weave", "spots", "bricks", "blotches", "planks"))
    pale = shade(paper, chance.between(0.7, 0.95))
    _fill(canvas, (paper, pale), stuff=stuff, strength=chance.between(0.05, 0.16))
    edge = chance.between(0.68, 0.86)
    boards = some(WOOD, chance) if chance.perhaps(0.7) else shade(paper, 0.55)
    _floor(canvas, edge, boards, stuff=chance.pick(("wood", "planks", "weave")))
    skirting = box(0, 96 * edge - 3, 96, 96 * edge)
    canvas.paint(_place(canvas, 0, 0), skirting, Skin(mixed(paper, WHITE, 0.5), bulge=0))


def backdrop(canvas: Canvas, chance: Chance) -> None:
    """A painted cloth, brighter on one side."""
    first = some(chance.pick((PASTEL, WALL, GROUND)), chance)
    other = mixed(shade(first, chance.between(0.45, 0.8)), some(PASTEL, chance), 0.25)
    pair = (first, other) if chance.perhaps(0.5) else (other, first)
    stuff = chance.pick(("blotches", "clouds", "weave", "foliage"))
    _fill(canvas, pair, stuff=stuff, strength=chance.between(0.06, 0.22))


def _fill(canvas: Canvas, pair: tuple[Colour, Colour], *, stuff: str, strength: float) -> None:
    """The whole picture from one colour to another, from top to bottom."""
    down = (np.arange(canvas.side, dtype=np.float32) / np.float32(canvas.side))[None, :, None]
    first, last = (np.array(one, np.float32)[:, None, None] for one in pair)
    whole = slice(0, canvas.side), slice(0, canvas.side)
    surface = 1 + strength * canvas.texture(stuff, whole)
    canvas.colours[:] = (first + (last - first) * down) * surface


def _sky(canvas: Canvas, chance: Chance, horizon: float) -> None:
    top, low = map(rgb, chance.pick(SKY))
    _fill(canvas, (top, low), stuff="clouds", strength=0)
    rows = slice(0, int(canvas.side * horizon) + 1)
    cloud: Grid = np.maximum(canvas.texture("clouds", (rows, slice(0, canvas.side))), 0)
    cover = np.minimum(cloud * chance.between(0.6, 2.0), 0.85)
    canvas.colours[:, rows] += cover * (np.float32(0.97) - canvas.colours[:, rows])


def _hill(canvas: Canvas, chance: Chance, horizon: float, colour: Colour) -> None:
    x, wide = chance.between(0, 96), chance.between(25, 60)
    hill = ellipse((x, 96 * horizon + 2), wide, chance.between(5, 16))
    skin = Skin(colour, bulge=0.3, rim=0, texture="blotches", soft=2)
    canvas.paint(_place(canvas, 0, 0), hill, skin)


def _floor(canvas: Canvas, horizon: float, colour: Colour, *, stuff: str) -> None:
    """Ground from the horizon down: hazy far away, rougher near."""
    top = int(canvas.side * horizon)
    rows, columns = slice(top, canvas.side), slice(0, canvas.side)
    near = np.arange(canvas.side - top, dtype=np.float32)[:, None] / np.float32(canvas.side - top)
    base = np.array(colour, np.float32)[:, None, None]
    surface = canvas.texture(stuff, (rows, columns)) * (0.08 + 0.14 * near)
    canvas.colours[:, rows] = base * (1.06 - 0.22 * near + surface)


def _place(canvas: Canvas, x: float, y: float) -> Pose:
    """Pixels of 96, from here."""
    return Pose(x * canvas.pixel, y * canvas.pixel, canvas.pixel)


def clutter(canvas: Canvas, chance: Chance) -> None:
    """A few small things around: pebbles, balls, tufts, posts."""
    for _ in range(chance.whole(0, 4)):
        pose = _place(canvas, chance.between(2, 94), chance.between(60, 94))
        chance.pick((_pebble, _ball, _tuft, _post))(canvas, pose, chance)


def _pebble(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    wide = chance.between(3, 7)
    canvas.shadow(pose, ellipse((0, wide * 0.5), wide, 1.5), soft=3)
    stone = Skin(shade(rgb("9a948c"), chance.between(0.7, 1.2)), bulge=0.8, texture="grain")
    canvas.paint(pose, ellipse((0, 0), wide, wide * chance.between(0.5, 0.8)), stone)


def _ball(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    size = chance.between(3, 6)
    canvas.shadow(pose, ellipse((0, size), size, 1.4), soft=3)
    skin = Skin(some(PASTEL, chance), bulge=0.85, gloss=0.3)
    canvas.paint(pose, circle(0, 0, size), skin)


def _tuft(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    tuft(canvas, pose.at(0, 0, scale=chance.between(6, 11)), chance)


def _post(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    tall = chance.between(10, 26)
    skin = Skin(some(WOOD, chance), bulge=0.7, texture="wood")
    canvas.paint(pose, box(-1.6, -tall, 1.6, 4, corner=0.8), skin)


def occluder(canvas: Canvas, chance: Chance) -> None:
    """Something near us that hides a corner or an edge of the object."""
    side = chance.pick((-1, 1))
    pose = _place(canvas, 48 + side * chance.between(12, 34), chance.between(34, 92))
    chance.pick((_bough, _blur, _tuft_near, _plank))(canvas, pose, chance)


def _bough(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    green = some(LEAF, chance)
    for _ in range(6):
        x, y = chance.between(-9, 9), chance.between(-9, 9)
        long, wide = chance.between(6, 10), chance.between(2.4, 4)
        own = pose.at(x, y, turn=chance.whole(0, 179))
        skin = Skin(shade(green, chance.between(0.7, 1.1)), texture="blotches", soft=1.6)
        canvas.paint(own, ellipse((0, 0), long, wide), skin)


def _blur(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    """Out of focus."""
    skin = Skin(some(PASTEL, chance), bulge=0.3, rim=0, soft=8, clear=0.1)
    canvas.paint(pose, circle(0, 0, chance.between(7, 12)), skin)


def _tuft_near(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    low = _place(canvas, pose.x / canvas.pixel, 98)
    tuft(canvas, low.at(0, 0, scale=chance.between(26, 44)), chance)


def _plank(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    own = pose.at(0, 0, turn=chance.whole(-30, 30))
    board = polygon((-4, -60), (4, -60), (4, 70), (-4, 70))
    canvas.shadow(own, board, reach=3, soft=5, deep=0.3)
    canvas.paint(own, board, Skin(some(WOOD, chance), bulge=0.5, texture="wood"))


SETTINGS: dict[str, tuple[Setting, ...]] = {
    "anywhere": (meadow, meadow, room, backdrop),
    "outside": (meadow, meadow, meadow, backdrop),
    "aloft": (meadow, sea, sea, backdrop),
    "inside": (room, room, backdrop, meadow),
    "water": (sea, depth, backdrop, room),
}
"""Where objects of a kind are found; each place is as likely as it is often named."""
