"""Plants: a tree, a flower, and grass."""

from retroscope.world import parts
from retroscope.world.painting import Material, Pose, SceneCanvas
from retroscope.world.palette import AUTUMN, LEAF, PETAL, WOOD, Colour, mix, pick_colour, rgb, shade
from retroscope.world.seeded_random import SeededRandom
from retroscope.world.shapes import circle, ellipse, polygon, stroke, union, unit_vector


def tree(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    bark = Material(pick_colour(WOOD, random), bulge=0.7, texture="fur", strength=0.4)
    canvas.shadow(pose, ellipse((0, 0.94), 0.8, 0.13), softness=10, darkness=0.45)
    wide = random.uniform(0.2, 0.3)
    trunk = union(
        stroke((0, 0.88), (0, -0.1), wide * 1.2, tip=wide * 0.6),
        stroke((0, 0.3), (-0.4, -0.2), wide * 0.5, tip=0.08),
        stroke((0, 0.35), (0.42, -0.15), wide * 0.5, tip=0.08),
    )
    canvas.paint(pose, trunk, bark, part="trunk")
    table = AUTUMN if random.chance(0.25) else LEAF
    _crown(canvas, pose, pick_colour(table, random), random)


def _crown(canvas: SceneCanvas, pose: Pose, green: Colour, random: SeededRandom) -> None:
    """Balls of foliage, the distant ones darker, some with fruit."""
    places = [(-0.5, -0.1, 0.36), (0.5, -0.12, 0.36), (0, -0.08, 0.4), (-0.32, -0.5, 0.38),
              (0.34, -0.5, 0.38), (0, -0.66, 0.34), (0, -0.34, 0.42)]  # fmt: skip
    for number, (x, y, size) in enumerate(places):
        tone = shade(green, 0.74 + 0.06 * number)
        ball = circle(x + random.uniform(-0.07, 0.07), y, size * random.uniform(0.88, 1.12))
        material = Material(
            tone, bulge=0.8, texture="foliage", strength=0.75, rim=0.1, softness=2.2
        )
        canvas.paint(pose, ball, material, part="crown")
    if random.chance(0.4):
        for _ in range(6):
            fruit = circle(random.uniform(-0.55, 0.55), random.uniform(-0.7, 0.05), 0.07)
            canvas.paint(pose, fruit, Material(rgb("c43a32"), bulge=0.8, gloss=0.4), part="crown")


def flower(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    stem = pick_colour(LEAF, random)
    bend = random.uniform(-0.15, 0.15)
    head = pose.at(bend, -0.28)
    canvas.paint(pose, stroke((bend, -0.2), (0, 1.15), 0.1), Material(stem, bulge=0.6), part="stem")
    for side in (-1, 1):
        leaf_pose = pose.at(0, random.uniform(0.6, 0.85), turn=-90 + side * random.integer(40, 65))
        parts.leaf(canvas, leaf_pose, random.uniform(0.55, 0.7), colour=stem)
    count, colour = random.choice((5, 6, 8, 10)), pick_colour(PETAL, random)
    long, wide = random.uniform(0.3, 0.36), random.uniform(0.9, 1.1) * 1.15 / count
    canvas.shadow(head, circle(0, 0, 0.6), reach=0.1, softness=8, darkness=0.3, part="petal")
    first = random.integer(0, 40)
    for number in range(count):
        _petal(canvas, head.at(0, 0, turn=first + number * 360 // count), (long, wide), colour)
    _heart(canvas, head, random.choice((rgb("e8b84a"), rgb("6b4526"), rgb("c9a23e"))))


def _petal(canvas: SceneCanvas, pose: Pose, size: tuple[float, float], colour: Colour) -> None:
    long, wide = size
    blade = ellipse((0.2 + long, 0), long, min(wide, 0.24))
    material = Material(colour, bulge=0.55, rim=0.3, texture="blotches", strength=0.1)
    canvas.paint(pose, blade, material, part="petal")
    vein = stroke((0.25, 0), (0.2 + long * 1.5, 0), 0.05, tip=0.02)
    canvas.paint(
        pose, vein, Material(shade(colour, 0.75), rim=0, transparency=0.4, softness=2), part="petal"
    )


def _heart(canvas: SceneCanvas, pose: Pose, colour: Colour) -> None:
    material = Material(colour, bulge=0.75, texture="spots", strength=0.45)
    canvas.paint(pose, circle(0, 0, 0.27), material, part="heart")
    dots = [unit_vector(angle) for angle in range(0, 360, 45)]
    ring = union(*(circle(0.19 * c, 0.19 * s, 0.035) for c, s in dots))
    canvas.paint(pose, ring, Material(mix(colour, rgb("3a2a1e"), 0.5), rim=0), part="heart")


def tuft(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    """A tuft of grass, which is no part of an object."""
    green = pick_colour(LEAF, random)
    for lean in (-0.5, -0.15, 0.2, 0.55):
        tip = lean + random.uniform(-0.1, 0.1), -random.uniform(0.7, 1.1)
        blade = polygon((lean * 0.3 - 0.09, 0.1), (lean * 0.3 + 0.09, 0.1), tip)
        canvas.paint(pose, blade, Material(shade(green, random.uniform(0.8, 1.1)), rim=0.1))
