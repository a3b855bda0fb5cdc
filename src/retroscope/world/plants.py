"""What grows: a tree and a flower."""

from retroscope.world import parts
from retroscope.world.draws import Chance
from retroscope.world.painting import Canvas, Pose, Skin
from retroscope.world.palette import AUTUMN, LEAF, PETAL, WOOD, Colour, mixed, rgb, shade, some
from retroscope.world.shapes import circle, direction, ellipse, polygon, stroke, union


def tree(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    bark = Skin(some(WOOD, chance), bulge=0.7, texture="fur", strength=0.4)
    canvas.shadow(pose, ellipse((0, 0.94), 0.8, 0.13), soft=10, deep=0.45)
    wide = chance.between(0.2, 0.3)
    trunk = union(
        stroke((0, 0.88), (0, -0.1), wide * 1.2, tip=wide * 0.6),
        stroke((0, 0.3), (-0.4, -0.2), wide * 0.5, tip=0.08),
        stroke((0, 0.35), (0.42, -0.15), wide * 0.5, tip=0.08),
    )
    canvas.paint(pose, trunk, bark, part="trunk")
    table = AUTUMN if chance.perhaps(0.25) else LEAF
    _crown(canvas, pose, some(table, chance), chance)


def _crown(canvas: Canvas, pose: Pose, green: Colour, chance: Chance) -> None:
    """Balls of foliage, the far ones darker; some carry fruit."""
    places = [(-0.5, -0.1, 0.36), (0.5, -0.12, 0.36), (0, -0.08, 0.4), (-0.32, -0.5, 0.38),
              (0.34, -0.5, 0.38), (0, -0.66, 0.34), (0, -0.34, 0.42)]  # fmt: skip
    for number, (x, y, size) in enumerate(places):
        tone = shade(green, 0.74 + 0.06 * number)
        ball = circle(x + chance.between(-0.07, 0.07), y, size * chance.between(0.88, 1.12))
        skin = Skin(tone, bulge=0.8, texture="foliage", strength=0.75, rim=0.1, soft=2.2)
        canvas.paint(pose, ball, skin, part="crown")
    if chance.perhaps(0.4):
        for _ in range(6):
            fruit = circle(chance.between(-0.55, 0.55), chance.between(-0.7, 0.05), 0.07)
            canvas.paint(pose, fruit, Skin(rgb("c43a32"), bulge=0.8, gloss=0.4), part="crown")


def flower(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    stem = some(LEAF, chance)
    bend = chance.between(-0.15, 0.15)
    head = pose.at(bend, -0.28)
    canvas.paint(pose, stroke((bend, -0.2), (0, 1.15), 0.1), Skin(stem, bulge=0.6), part="stem")
    for side in (-1, 1):
        own = pose.at(0, chance.between(0.6, 0.85), turn=-90 + side * chance.whole(40, 65))
        parts.leaf(canvas, own, chance.between(0.55, 0.7), colour=stem)
    count, colour = chance.pick((5, 6, 8, 10)), some(PETAL, chance)
    long, wide = chance.between(0.3, 0.36), chance.between(0.9, 1.1) * 1.15 / count
    canvas.shadow(head, circle(0, 0, 0.6), reach=0.1, soft=8, deep=0.3)
    first = chance.whole(0, 40)
    for number in range(count):
        _petal(canvas, head.at(0, 0, turn=first + number * 360 // count), (long, wide), colour)
    _heart(canvas, head, chance.pick((rgb("e8b84a"), rgb("6b4526"), rgb("c9a23e"))))


def _petal(canvas: Canvas, pose: Pose, size: tuple[float, float], colour: Colour) -> None:
    long, wide = size
    blade = ellipse((0.2 + long, 0), long, min(wide, 0.24))
    skin = Skin(colour, bulge=0.55, rim=0.3, texture="blotches", strength=0.1)
    canvas.paint(pose, blade, skin, part="petal")
    vein = stroke((0.25, 0), (0.2 + long * 1.5, 0), 0.05, tip=0.02)
    canvas.paint(pose, vein, Skin(shade(colour, 0.75), rim=0, clear=0.4, soft=2), part="petal")


def _heart(canvas: Canvas, pose: Pose, colour: Colour) -> None:
    skin = Skin(colour, bulge=0.75, texture="spots", strength=0.45)
    canvas.paint(pose, circle(0, 0, 0.27), skin, part="heart")
    dots = [direction(angle) for angle in range(0, 360, 45)]
    ring = union(*(circle(0.19 * c, 0.19 * s, 0.035) for c, s in dots))
    canvas.paint(pose, ring, Skin(mixed(colour, rgb("3a2a1e"), 0.5), rim=0), part="heart")


def tuft(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    """A little grass, which belongs to no object."""
    green = some(LEAF, chance)
    for lean in (-0.5, -0.15, 0.2, 0.55):
        tip = lean + chance.between(-0.1, 0.1), -chance.between(0.7, 1.1)
        blade = polygon((lean * 0.3 - 0.09, 0.1), (lean * 0.3 + 0.09, 0.1), tip)
        canvas.paint(pose, blade, Skin(shade(green, chance.between(0.8, 1.1)), rim=0.1))
