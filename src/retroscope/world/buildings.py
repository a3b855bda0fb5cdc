"""What stands: a house, a lighthouse, a church."""

from retroscope.world import parts
from retroscope.world.draws import Chance
from retroscope.world.painting import Canvas, Pose, Skin
from retroscope.world.palette import GLASS, PAINT, ROOF, WALL, WHITE, WOOD, Colour, rgb, shade, some
from retroscope.world.shapes import box, circle, ellipse, polygon, stroke

STUFF = ("bricks", "planks", "blotches")


def house(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    wall = Skin(some(WALL, chance), bulge=0.35, texture=chance.pick(STUFF), strength=0.16)
    tiles, frame = some(ROOF, chance), chance.pick((WHITE, rgb("5a3b28"), rgb("d8d2c4")))
    half, tall = chance.between(0.68, 0.82), chance.between(0.62, 0.8)
    canvas.shadow(pose, ellipse((0.05, 0.86), half + 0.3, 0.12), soft=10, deep=0.45)
    _chimney(canvas, pose.at(chance.pick((-1, 1)) * half * 0.5, -tall * 0.72), chance)
    canvas.paint(pose, box(-half, -0.1, half, 0.86), wall, part="wall")
    under = box(-half, -0.12, half, 0.06)
    canvas.shadow(pose, under, soft=5, deep=0.35)
    parts.roof(canvas, pose.at(0, -0.08), (half + 0.16, tall), colour=tiles, top=_flat(chance))
    side = chance.pick((-1, 0, 1))
    size = chance.between(0.15, 0.19), chance.between(0.44, 0.54)
    parts.door(canvas, pose.at(side * 0.4, 0.86), size, colour=some(PAINT, chance))
    glass = some(GLASS, chance)
    for x in {-1: (0.08, 0.46), 0: (-0.44, 0.44), 1: (-0.46, -0.08)}[side]:
        parts.window(canvas, pose.at(x, 0.3), (0.16, 0.18), glass=glass, frame=frame)


def _flat(chance: Chance) -> float:
    return chance.pick((0.0, 0.0, 0.45))


def _chimney(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    bricks = Skin(rgb("a8604a"), bulge=0.3, texture="bricks", strength=0.3)
    canvas.paint(pose, box(-0.11, -0.26, 0.11, 0.5), bricks, part="chimney")
    canvas.paint(pose, box(-0.14, -0.32, 0.14, -0.22), bricks.of(rgb("8a4f3e")), part="chimney")
    if chance.perhaps(0.5):
        puff = Skin(rgb("f0eeea"), clear=0.4, soft=4, rim=0)
        for x, y, size in ((0.05, -0.45, 0.1), (0.18, -0.62, 0.14)):
            canvas.paint(pose, circle(x, y, size), puff, part="steam")


def lighthouse(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    band, wall = chance.pick((rgb("c0392e"), rgb("2f4858"), rgb("3d6ea5"))), rgb("efe9dd")
    low, high = chance.between(0.36, 0.46), chance.between(0.22, 0.27)
    canvas.shadow(pose, ellipse((0, 0.95), low + 0.35, 0.1), soft=9, deep=0.45)
    rock = Skin(rgb("85807a"), bulge=0.7, texture="blotches", strength=0.4)
    canvas.paint(pose, ellipse((-0.12, 1.0), low + 0.3, 0.2), rock)
    _tower(canvas, pose, low, high, colours=(wall, band))
    glass = some(GLASS, chance)
    for y in (0.22, -0.22):
        own = pose.at(0, y)
        parts.window(canvas, own, (0.09, 0.12), glass=glass, frame=shade(band, 0.7), bars=False)
    parts.door(canvas, pose.at(0, 0.9), (0.12, 0.32), colour=shade(some(PAINT, chance), 0.8))
    _lantern(canvas, pose.at(0, -0.55), high, band)


def _tower(
    canvas: Canvas, pose: Pose, low: float, high: float, *, colours: tuple[Colour, Colour]
) -> None:
    """Five rings of stone by turns of either colour, narrower towards the top."""
    for number in range(5):
        top, bottom = -0.55 + 0.29 * number, -0.55 + 0.29 * (number + 1)
        a, b = (high + (low - high) * (y + 0.55) / 1.45 for y in (top, bottom))
        ring = polygon((-a, top), (a, top), (b, bottom), (-b, bottom))
        skin = Skin(colours[number % 2], bulge=0.85, texture="blotches", strength=0.1, rim=0)
        canvas.paint(pose, ring, skin, part="wall")


def _lantern(canvas: Canvas, pose: Pose, half: float, band: Colour) -> None:
    iron = Skin(rgb("3f444c"), bulge=0.6, gloss=0.2)
    glass = Skin(rgb("f3e3a0"), bulge=0.6, gloss=0.5, rim=0.15)
    canvas.paint(pose, box(-half * 0.7, -0.26, half * 0.7, 0), glass, part="lamp")
    for x in (-0.62, 0, 0.62):
        canvas.paint(pose, stroke((half * x, -0.26), (half * x, 0), 0.035), iron, part="lamp")
    canvas.paint(pose, box(-half * 1.35, -0.07, half * 1.35, 0.03), iron, part="gallery")
    parts.roof(canvas, pose.at(0, -0.25), (half * 0.95, 0.2), colour=shade(band, 0.85))
    canvas.paint(pose, stroke((0, -0.42), (0, -0.54), 0.04), iron, part="roof")


def church(canvas: Canvas, pose: Pose, chance: Chance) -> None:
    wall = Skin(some(WALL, chance), bulge=0.35, texture=chance.pick(STUFF), strength=0.14)
    tiles, glass = some(ROOF, chance), some(GLASS, chance)
    canvas.shadow(pose, ellipse((0, 0.9), 1.0, 0.11), soft=10, deep=0.45)
    canvas.paint(pose, box(-0.3, 0.2, 0.9, 0.9), wall, part="wall")
    slope = polygon((-0.3, 0.22), (-0.3, -0.22), (0.8, -0.22), (1.0, 0.22))
    roof = Skin(tiles, bulge=0.45, texture="tiles", strength=0.3)
    canvas.paint(pose, slope, roof, part="roof")
    for x in (0.2, 0.62):
        _arched(canvas, pose.at(x, 0.54), glass)
    canvas.shadow(pose, box(-0.82, -0.4, -0.12, 0.9), reach=0.12, deep=0.35)
    canvas.paint(pose, box(-0.8, -0.4, -0.16, 0.9), wall, part="wall")
    spire = chance.between(0.55, 0.7)
    parts.roof(canvas, pose.at(-0.48, -0.38), (0.42, spire), colour=tiles)
    _cross(canvas, pose.at(-0.48, -0.38 - spire))
    _arched(canvas, pose.at(-0.48, -0.06), glass)
    parts.door(canvas, pose.at(-0.48, 0.9), (0.16, 0.46), colour=some(WOOD, chance))


def _arched(canvas: Canvas, pose: Pose, glass: Colour) -> None:
    frame = Skin(rgb("f2ece0"), bulge=0.2, rim=0.3)
    canvas.paint(pose, box(-0.14, -0.24, 0.14, 0.22, corner=0.13), frame, part="window")
    pane = Skin(glass, bulge=0.4, gloss=0.3)
    canvas.paint(pose, box(-0.095, -0.195, 0.095, 0.175, corner=0.09), pane, part="window")
    canvas.paint(pose, box(-0.018, -0.2, 0.018, 0.18), frame, part="window")
    canvas.paint(pose, box(-0.1, -0.03, 0.1, 0.005), frame, part="window")


def _cross(canvas: Canvas, pose: Pose) -> None:
    gold = Skin(rgb("d9b85a"), gloss=0.4, rim=0)
    canvas.paint(pose, stroke((0, 0.03), (0, -0.2), 0.045), gold, part="roof")
    canvas.paint(pose, stroke((-0.07, -0.12), (0.07, -0.12), 0.045), gold, part="roof")
