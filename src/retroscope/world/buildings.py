"""Buildings: a house, a lighthouse, a church."""

from retroscope.world import parts
from retroscope.world.painting import Material, Pose, SceneCanvas
from retroscope.world.palette import (
    GLASS,
    PAINT,
    ROOF,
    WALL,
    WHITE,
    WOOD,
    Colour,
    pick_colour,
    rgb,
    shade,
)
from retroscope.world.seeded_random import SeededRandom
from retroscope.world.shapes import box, circle, ellipse, polygon, stroke

WALL_TEXTURES = ("bricks", "planks", "blotches")


def house(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    wall = Material(
        pick_colour(WALL, random), bulge=0.35, texture=random.choice(WALL_TEXTURES), strength=0.16
    )
    tiles, frame = pick_colour(ROOF, random), random.choice((WHITE, rgb("5a3b28"), rgb("d8d2c4")))
    half, tall = random.uniform(0.68, 0.82), random.uniform(0.62, 0.8)
    canvas.shadow(pose, ellipse((0.05, 0.86), half + 0.3, 0.12), softness=10, darkness=0.45)
    _chimney(canvas, pose.at(random.choice((-1, 1)) * half * 0.5, -tall * 0.72), random)
    canvas.paint(pose, box(-half, -0.1, half, 0.86), wall, part="wall")
    under = box(-half, -0.12, half, 0.06)
    canvas.shadow(pose, under, softness=5, darkness=0.35, part="roof")
    parts.roof(canvas, pose.at(0, -0.08), (half + 0.16, tall), colour=tiles, top=_flat(random))
    side = random.choice((-1, 0, 1))
    size = random.uniform(0.15, 0.19), random.uniform(0.44, 0.54)
    parts.door(canvas, pose.at(side * 0.4, 0.86), size, colour=pick_colour(PAINT, random))
    glass = pick_colour(GLASS, random)
    for x in {-1: (0.08, 0.46), 0: (-0.44, 0.44), 1: (-0.46, -0.08)}[side]:
        parts.window(canvas, pose.at(x, 0.3), (0.16, 0.18), glass=glass, frame=frame)


def _flat(random: SeededRandom) -> float:
    return random.choice((0.0, 0.0, 0.45))


def _chimney(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    bricks = Material(rgb("a8604a"), bulge=0.3, texture="bricks", strength=0.3)
    canvas.paint(pose, box(-0.11, -0.26, 0.11, 0.5), bricks, part="chimney")
    canvas.paint(
        pose, box(-0.14, -0.32, 0.14, -0.22), bricks.with_colour(rgb("8a4f3e")), part="chimney"
    )
    if random.chance(0.5):
        puff = Material(rgb("f0eeea"), transparency=0.4, softness=4, rim=0)
        for x, y, size in ((0.05, -0.45, 0.1), (0.18, -0.62, 0.14)):
            canvas.paint(pose, circle(x, y, size), puff, part="steam")


def lighthouse(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    band, wall = random.choice((rgb("c0392e"), rgb("2f4858"), rgb("3d6ea5"))), rgb("efe9dd")
    low, high = random.uniform(0.36, 0.46), random.uniform(0.22, 0.27)
    canvas.shadow(pose, ellipse((0, 0.95), low + 0.35, 0.1), softness=9, darkness=0.45)
    rock = Material(rgb("85807a"), bulge=0.7, texture="blotches", strength=0.4)
    canvas.paint(pose, ellipse((-0.12, 1.0), low + 0.3, 0.2), rock)
    _tower(canvas, pose, low, high, colours=(wall, band))
    glass = pick_colour(GLASS, random)
    for y in (0.22, -0.22):
        window_pose = pose.at(0, y)
        parts.window(
            canvas, window_pose, (0.09, 0.12), glass=glass, frame=shade(band, 0.7), bars=False
        )
    parts.door(canvas, pose.at(0, 0.9), (0.12, 0.32), colour=shade(pick_colour(PAINT, random), 0.8))
    _lantern(canvas, pose.at(0, -0.55), high, band)


def _tower(
    canvas: SceneCanvas, pose: Pose, low: float, high: float, *, colours: tuple[Colour, Colour]
) -> None:
    """Five rings of stone in alternating colours, narrower towards the top."""
    for number in range(5):
        top, bottom = -0.55 + 0.29 * number, -0.55 + 0.29 * (number + 1)
        a, b = (high + (low - high) * (y + 0.55) / 1.45 for y in (top, bottom))
        ring = polygon((-a, top), (a, top), (b, bottom), (-b, bottom))
        material = Material(
            colours[number % 2], bulge=0.85, texture="blotches", strength=0.1, rim=0
        )
        canvas.paint(pose, ring, material, part="wall")


def _lantern(canvas: SceneCanvas, pose: Pose, half: float, band: Colour) -> None:
    iron = Material(rgb("3f444c"), bulge=0.6, gloss=0.2)
    glass = Material(rgb("f3e3a0"), bulge=0.6, gloss=0.5, rim=0.15)
    canvas.paint(pose, box(-half * 0.7, -0.26, half * 0.7, 0), glass, part="lamp")
    for x in (-0.62, 0, 0.62):
        canvas.paint(pose, stroke((half * x, -0.26), (half * x, 0), 0.035), iron, part="lamp")
    canvas.paint(pose, box(-half * 1.35, -0.07, half * 1.35, 0.03), iron, part="gallery")
    parts.roof(canvas, pose.at(0, -0.25), (half * 0.95, 0.2), colour=shade(band, 0.85))
    canvas.paint(pose, stroke((0, -0.42), (0, -0.54), 0.04), iron, part="roof")


def church(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    wall = Material(
        pick_colour(WALL, random), bulge=0.35, texture=random.choice(WALL_TEXTURES), strength=0.14
    )
    tiles, glass = pick_colour(ROOF, random), pick_colour(GLASS, random)
    canvas.shadow(pose, ellipse((0, 0.9), 1.0, 0.11), softness=10, darkness=0.45)
    canvas.paint(pose, box(-0.3, 0.2, 0.9, 0.9), wall, part="wall")
    slope = polygon((-0.3, 0.22), (-0.3, -0.22), (0.8, -0.22), (1.0, 0.22))
    roof = Material(tiles, bulge=0.45, texture="tiles", strength=0.3)
    canvas.paint(pose, slope, roof, part="roof")
    for x in (0.2, 0.62):
        _arched_window(canvas, pose.at(x, 0.54), glass)
    canvas.shadow(pose, box(-0.82, -0.4, -0.12, 0.9), reach=0.12, darkness=0.35, part="wall")
    canvas.paint(pose, box(-0.8, -0.4, -0.16, 0.9), wall, part="wall")
    spire = random.uniform(0.55, 0.7)
    parts.roof(canvas, pose.at(-0.48, -0.38), (0.42, spire), colour=tiles)
    _cross(canvas, pose.at(-0.48, -0.38 - spire))
    _arched_window(canvas, pose.at(-0.48, -0.06), glass)
    parts.door(canvas, pose.at(-0.48, 0.9), (0.16, 0.46), colour=pick_colour(WOOD, random))


def _arched_window(canvas: SceneCanvas, pose: Pose, glass: Colour) -> None:
    frame = Material(rgb("f2ece0"), bulge=0.2, rim=0.3)
    canvas.paint(pose, box(-0.14, -0.24, 0.14, 0.22, corner=0.13), frame, part="window")
    pane = Material(glass, bulge=0.4, gloss=0.3)
    canvas.paint(pose, box(-0.095, -0.195, 0.095, 0.175, corner=0.09), pane, part="window")
    canvas.paint(pose, box(-0.018, -0.2, 0.018, 0.18), frame, part="window")
    canvas.paint(pose, box(-0.1, -0.03, 0.1, 0.005), frame, part="window")


def _cross(canvas: SceneCanvas, pose: Pose) -> None:
    gold = Material(rgb("d9b85a"), gloss=0.4, rim=0)
    canvas.paint(pose, stroke((0, 0.03), (0, -0.2), 0.045), gold, part="roof")
    canvas.paint(pose, stroke((-0.07, -0.12), (0.07, -0.12), 0.045), gold, part="roof")
