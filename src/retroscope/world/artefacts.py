"""Artefacts: a clock, a ladder, an umbrella, a boat, a cup."""

from retroscope.world import parts
from retroscope.world.painting import Material, Pose, SceneCanvas
from retroscope.world.palette import (
    METAL,
    PAINT,
    PASTEL,
    WHITE,
    WOOD,
    Colour,
    mix,
    pick_colour,
    rgb,
    shade,
)
from retroscope.world.seeded_random import SeededRandom
from retroscope.world.shapes import (
    box,
    circle,
    difference,
    ellipse,
    intersection,
    polygon,
    ring,
    stroke,
    union,
    unit_vector,
)


def clock(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    case = Material(pick_colour(random.choice((WOOD, METAL, PAINT)), random), bulge=0.6, gloss=0.35)
    canvas.shadow(pose, circle(0, 0, 0.86), reach=0.16, softness=9, darkness=0.4, part="dial")
    if random.chance(0.4):
        for side in (-1, 1):
            bell = circle(side * 0.48, -0.76, 0.27)
            canvas.paint(pose, bell, Material(pick_colour(METAL, random), bulge=0.8, gloss=0.5))
    canvas.paint(pose, circle(0, 0, 0.86), case, part="dial")
    face = Material(mix(random.choice(PASTEL), WHITE, 0.4), bulge=0.2, rim=0.35)
    canvas.paint(pose, circle(0, 0, 0.7), face, part="dial")
    marks = [unit_vector(angle) for angle in range(0, 360, 30)]
    ticks = [
        stroke((0.52 * c, 0.52 * s), (0.62 * c, 0.62 * s), 0.09 if number % 3 == 0 else 0.05)
        for number, (c, s) in enumerate(marks)
    ]
    canvas.paint(pose, union(*ticks), Material(rgb("3a3438"), rim=0, bulge=0), part="dial")
    _hands(canvas, pose, random)


def _hands(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    for long, width in ((0.34, 0.11), (0.5, 0.07)):
        c, s = unit_vector(random.integer(0, 359))
        hand = stroke((-0.08 * c, -0.08 * s), (long * c, long * s), width, tip=width * 0.5)
        canvas.shadow(pose, hand, reach=0.05, softness=3, darkness=0.3, part="hand")
        canvas.paint(pose, hand, Material(rgb("2b2a33"), rim=0), part="hand")
    canvas.paint(pose, circle(0, 0, 0.08), Material(rgb("b03a30"), gloss=0.4), part="hand")


def ladder(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    wood = Material(
        pick_colour(random.choice((WOOD, METAL)), random), bulge=0.4, texture="wood", gloss=0.15
    )
    low, high = random.uniform(0.38, 0.46), random.uniform(0.28, 0.36)
    sides = [stroke((side * high, -1.1), (side * low, 1.05), 0.13) for side in (-1, 1)]
    count = random.integer(5, 7)
    rungs = []
    for number in range(count):
        y = -0.9 + 1.75 * number / (count - 1)
        half = high + (low - high) * (y + 1.1) / 2.15
        rungs.append(stroke((-half, y), (half, y), 0.1))
    canvas.shadow(pose, union(*sides, *rungs), reach=0.18, softness=5, darkness=0.35)
    for rung in rungs:
        canvas.paint(pose, rung, wood.with_colour(shade(wood.colour, 0.85)), part="rung")
    for rail in sides:
        canvas.paint(pose, rail, wood, part="rail")


def umbrella(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    colours = (
        pick_colour(PAINT, random),
        pick_colour(PASTEL if random.chance(0.7) else PAINT, random),
    )
    _stick(canvas, pose, pick_colour(WOOD, random))
    dome = difference(ellipse((0, 0.05), 0.98, 0.9), box(-1, 0.05, 1, 1))
    canvas.shadow(pose, dome, reach=0.1, softness=8, darkness=0.3, part="canopy")
    scallops = union(
        *(ellipse((x, 0.06), 0.17, 0.09) for x in (-0.8, -0.48, -0.16, 0.16, 0.48, 0.8))
    )
    cloth = difference(dome, scallops)
    widths = (0.98, 0.62, 0.22)
    for number, half in enumerate(widths):
        gore = intersection(cloth, ellipse((0, 0.05), half, 0.9))
        colour = colours[number % 2]
        material = Material(colour, bulge=0.75, rim=0.12, texture="weave", strength=0.08)
        canvas.paint(pose, gore, material, part="canopy")
    canvas.paint(
        pose, stroke((0, -0.82), (0, -1.0), 0.06), Material(rgb("8f979f"), gloss=0.4), part="canopy"
    )


def _stick(canvas: SceneCanvas, pose: Pose, wood: Colour) -> None:
    canvas.paint(
        pose, stroke((0, 0), (0, 0.85), 0.06), Material(rgb("9aa0a6"), gloss=0.3), part="handle"
    )
    hook = difference(ring(0.14, 0.84, 0.14, width=0.1), box(-0.2, 0.5, 0.5, 0.84))
    grip = union(hook, stroke((0, 0.6), (0, 0.84), 0.1), circle(0.28, 0.84, 0.05))
    canvas.paint(pose, grip, Material(wood, bulge=0.5, gloss=0.3), part="handle")


def boat(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    paint, cloth = pick_colour(PAINT, random), mix(pick_colour(PASTEL, random), WHITE, 0.4)
    canvas.shadow(pose, ellipse((0, 0.86), 0.95, 0.1), softness=9, darkness=0.4)
    mast = Material(pick_colour(WOOD, random), bulge=0.6)
    canvas.paint(pose, stroke((-0.02, 0.4), (-0.02, -1.02), 0.07), mast, part="mast")
    sheet = Material(
        cloth, bulge=0.55, texture="stripes" if random.chance(0.3) else "blotches", strength=0.1
    )
    low = random.uniform(0.2, 0.32)
    main = polygon((0.05, -0.94), (0.05, low), (0.82, low - 0.02))
    jib = polygon((-0.1, -0.8), (-0.1, low), (-0.66, low - 0.04))
    for sail in (main, jib):
        canvas.paint(pose, sail, sheet, part="sail")
    flag = polygon((0.0, -1.02), (0.0, -0.86), (0.26, -0.94))
    canvas.paint(pose, flag, Material(shade(paint, 1.1), rim=0), part="sail")
    body = polygon((-0.95, 0.4), (0.98, 0.4), (0.66, 0.86), (-0.7, 0.86))
    canvas.paint(
        pose, body, Material(paint, bulge=0.5, texture="planks", strength=0.2), part="hull"
    )
    rail = box(-1.0, 0.36, 1.03, 0.45, corner=0.04)
    canvas.paint(pose, rail, Material(shade(paint, 0.6), bulge=0.4), part="hull")
    for x in (-0.42, 0.0, 0.42):
        parts.porthole(canvas, pose.at(x, 0.62), 0.11, frame=rgb("d8cba8"))


def cup(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    glaze = pick_colour(random.choice((PAINT, PASTEL)), random)
    high, low = random.uniform(0.5, 0.6), random.uniform(0.36, 0.52)
    canvas.shadow(pose, ellipse((0.1, 0.78), 0.85, 0.14), softness=9, darkness=0.45)
    saucer = Material(shade(glaze, 0.92), bulge=0.5, gloss=0.3)
    if random.chance(0.6):
        canvas.paint(pose, ellipse((0, 0.76), 0.92, 0.16), saucer, part="cup")
    canvas.paint(pose, ring(high + 0.06, 0.12, 0.25, width=0.14), saucer, part="handle")
    wall = union(
        polygon((-high, -0.3), (high, -0.3), (low, 0.6), (-low, 0.6)), ellipse((0, 0.6), low, 0.14)
    )
    canvas.paint(pose, wall, Material(glaze, bulge=0.8, gloss=0.4, rim=0.08), part="cup")
    _pattern(canvas, pose, wall_of=(high, low), random=random)
    canvas.paint(
        pose, ellipse((0, -0.3), high, 0.15), Material(shade(glaze, 1.1), bulge=0), part="cup"
    )
    tea = Material(rgb("6b4026"), bulge=0.2, rim=0.35)
    canvas.paint(pose, ellipse((0, -0.28), high * 0.86, 0.1), tea, part="cup")
    _steam(canvas, pose, random)


def _pattern(
    canvas: SceneCanvas, pose: Pose, *, wall_of: tuple[float, float], random: SeededRandom
) -> None:
    if random.chance(0.4):
        return
    high, low = wall_of
    middle = (high + low) / 2
    band = polygon(
        (-middle * 1.04, 0.08), (middle * 1.04, 0.08), (middle * 0.98, 0.26), (-middle * 0.98, 0.26)
    )
    material = Material(pick_colour(PAINT, random), bulge=0.8, rim=0)
    canvas.paint(pose, band, material, part="cup")


def _steam(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    haze = Material(WHITE, bulge=0, rim=0, transparency=0.55, softness=4)
    for x in (-0.2, 0.15):
        lean = random.uniform(-0.12, 0.12)
        wisp = union(
            stroke((x, -0.42), (x + lean, -0.65), 0.09),
            stroke((x + lean, -0.65), (x, -0.92), 0.08, tip=0.03),
        )
        canvas.paint(pose, wisp, haze, part="steam")
