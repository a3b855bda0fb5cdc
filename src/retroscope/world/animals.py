"""Animals: a fish, a bird, a butterfly."""

from retroscope.world import parts
from retroscope.world.painting import Material, Pose, SceneCanvas
from retroscope.world.palette import PAINT, WHITE, Colour, mix, pick_colour, rgb, shade
from retroscope.world.seeded_random import SeededRandom
from retroscope.world.shapes import circle, ellipse, intersection, polygon, ring, stroke, union

BEAK = tuple(map(rgb, ("e0973a", "d9b23e", "5a4a42")))


def fish(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    colour, band_colour = pick_colour(PAINT, random), pick_colour(PAINT, random)
    fin = Material(mix(colour, band_colour, 0.5), bulge=0.4, texture="fur", strength=0.3)
    tall = random.uniform(0.42, 0.56)
    tail = union(
        polygon((-0.55, 0), (-1.05, -0.46), (-0.86, 0.02)),
        polygon((-0.55, 0), (-1.05, 0.46), (-0.86, -0.02)),
    )
    canvas.paint(pose, tail, fin, part="tail")
    above = polygon((-0.35, -tall * 0.7), (-0.28, -tall - 0.28), (0.3, -tall * 0.75))
    below = polygon((-0.2, tall * 0.8), (-0.3, tall + 0.22), (0.12, tall * 0.85))
    for shape in (above, below):
        canvas.paint(pose, shape, fin, part="fin")
    body = ellipse((0.08, 0), 0.78, tall)
    canvas.shadow(pose, body, reach=0.1, softness=8, darkness=0.25, part="body")
    scales = Material(colour, bulge=0.8, texture="scales", strength=0.3, gloss=0.25, rim=0.1)
    canvas.paint(pose, body, scales, part="body")
    _bands(canvas, pose, tall, colour=band_colour, random=random)
    cheek = intersection(body, circle(0.85, 0, 0.48))
    canvas.paint(pose, cheek, Material(shade(colour, 1.1), bulge=0.4, rim=0.15), part="head")
    side = polygon((0.12, 0.02), (-0.28, 0.3), (-0.18, -0.02))
    canvas.paint(pose, side, fin.with_colour(shade(fin.colour, 0.8)), part="fin")
    parts.eye(canvas, pose.at(0.54, -0.1), 0.13, iris=random.choice(BEAK))
    lips = union(circle(0.84, 0.07, 0.06), circle(0.82, 0.14, 0.05))
    canvas.paint(pose, lips, Material(rgb("c4605a")), part="mouth")


def _bands(
    canvas: SceneCanvas, pose: Pose, tall: float, *, colour: Colour, random: SeededRandom
) -> None:
    body = ellipse((0.08, 0), 0.78, tall)
    for x in (-0.3, 0.02)[: random.integer(0, 2)]:
        band = intersection(body, polygon((x, -1), (x + 0.14, -1), (x + 0.1, 1), (x - 0.04, 1)))
        canvas.paint(
            pose,
            band,
            Material(colour, bulge=0.5, transparency=0.15, texture="scales"),
            part="body",
        )


def bird(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    colour, breast = (
        pick_colour(PAINT, random),
        random.choice((rgb("e8dcc4"), rgb("e0a06a"), rgb("d9c46a"))),
    )
    feather = Material(colour, bulge=0.65, texture="fur", strength=0.25)
    canvas.shadow(pose, ellipse((0, 0.92), 0.6, 0.08), softness=8, darkness=0.4)
    for x in (-0.06, 0.14):
        leg = union(
            stroke((x, 0.5), (x, 0.88), 0.06), stroke((x - 0.04, 0.9), (x + 0.16, 0.9), 0.06)
        )
        canvas.paint(pose, leg, Material(rgb("b5793c"), rim=0), part="leg")
    drop = random.uniform(0.25, 0.5)
    tail = stroke((-0.4, 0.2), (-1.0, drop), 0.3, tip=0.14)
    canvas.paint(pose, tail, feather.with_colour(shade(colour, 0.7)), part="tail")
    trunk = union(ellipse((0, 0.16), 0.62, 0.46), stroke((0.1, 0.1), (0.38, -0.3), 0.6))
    canvas.paint(pose, trunk, feather, part="body")
    front = intersection(trunk, ellipse((0.36, 0.24), 0.44, 0.42))
    canvas.paint(pose, front, Material(breast, bulge=0.6, texture="fur", rim=0.15), part="body")
    canvas.paint(
        pose, circle(0.42, -0.4, 0.34), feather.with_colour(shade(colour, 1.06)), part="head"
    )
    parts.beak(canvas, pose.at(0.8, -0.36, turn=-88), 0.26, colour=random.choice(BEAK))
    parts.eye(canvas, pose.at(0.5, -0.47), 0.11, iris=rgb("4a3527"))
    _folded_wing(canvas, pose.at(0, 0, turn=random.integer(-6, 14)), feather)


def _folded_wing(canvas: SceneCanvas, pose: Pose, feather: Material) -> None:
    for number, tone in enumerate((0.62, 0.74, 0.88)):
        blade = ellipse((-0.2 + 0.06 * number, 0.22 - 0.08 * number), 0.5 - 0.08 * number, 0.2)
        canvas.paint(pose, blade, feather.with_colour(shade(feather.colour, tone)), part="wing")


def butterfly(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    colour, spot = pick_colour(PAINT, random), random.choice((WHITE, rgb("f0c24a"), rgb("9fd0d8")))
    spread, drop = random.integer(-12, 8), random.uniform(0.85, 1.1)
    for side in (1, -1):
        low = pose.at(side * 0.06, 0.1, turn=side * (38 + spread))
        _wing(canvas, low, (side * 0.4, 0.36 * drop), shade(colour, 0.85), spot=spot)
    for side in (1, -1):
        high = pose.at(side * 0.06, -0.08, turn=side * (-32 + spread))
        _wing(canvas, high, (side * 0.54, 0.42 * drop), colour, spot=spot)
    dark = Material(rgb("33292a"), bulge=0.7, texture="fur")
    for side in (-1, 1):
        feeler = stroke((side * 0.03, -0.4), (side * 0.26, -0.86), 0.035)
        canvas.paint(pose, union(feeler, circle(side * 0.26, -0.86, 0.045)), dark)
    canvas.paint(pose, stroke((0, -0.3), (0, 0.5), 0.2, tip=0.1), dark, part="body")
    canvas.paint(pose, circle(0, -0.36, 0.13), dark, part="head")


def _wing(
    canvas: SceneCanvas, pose: Pose, size: tuple[float, float], colour: Colour, *, spot: Colour
) -> None:
    long, tall = size
    blade = ellipse((long, 0), abs(long), tall)
    canvas.shadow(pose, blade, reach=0.08, softness=6, darkness=0.25, part="wing")
    canvas.paint(pose, blade, Material(shade(colour, 0.35), bulge=0.3), part="wing")
    inner = ellipse((long * 0.94, 0), abs(long) * 0.84, tall * 0.8)
    canvas.paint(pose, inner, Material(colour, bulge=0.35, texture="blotches"), part="wing")
    eye = circle(long * 1.3, 0, tall * 0.3)
    canvas.paint(pose, eye, Material(spot, bulge=0.2, rim=0.3), part="wing")
    rings = ring(long * 1.3, 0, tall * 0.16, width=tall * 0.12)
    canvas.paint(pose, rings, Material(shade(colour, 0.4), rim=0), part="wing")
