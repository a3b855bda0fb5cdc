"""Faces seen from the front: a person, a cat, an owl, a rabbit."""

from retroscope.world import parts
from retroscope.world.painting import Material, Pose, SceneCanvas
from retroscope.world.palette import (
    BLACK,
    FUR,
    HAIR,
    PAINT,
    SKIN,
    WHITE,
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
    stroke,
    union,
)

IRIS = tuple(map(rgb, ("5a7fa0", "6b4a2f", "5d7a4a", "4a3a30")))
CAT_IRIS = tuple(map(rgb, ("b9b84a", "7fae5a", "d9a23e", "6fa8b8")))
OWL_IRIS = tuple(map(rgb, ("f0b52e", "e8922e", "e8c84a")))
LIPS = tuple(map(rgb, ("b0484a", "a85450", "c4606a")))


def person(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    skin, hair = pick_colour(SKIN, random), pick_colour(HAIR, random)
    _shoulders(canvas, pose, pick_colour(PAINT, random), skin)
    long = random.uniform(0.1, 0.75)
    back = union(ellipse((0, -0.25), 0.74, 0.72), box(-0.72, -0.3, 0.72, long, corner=0.3))
    cover = Material(hair, bulge=0.7, texture="fur", strength=0.25)
    canvas.paint(pose, back, cover, part="hair")
    canvas.shadow(pose, ellipse((0, -0.04), 0.58, 0.7), reach=0.06, darkness=0.3, part="head")
    for side in (-1, 1):
        lobe = ellipse((side * 0.6, 0), 0.12, 0.18)
        canvas.paint(pose, lobe, Material(shade(skin, 0.9), bulge=0.7), part="ear")
    canvas.paint(
        pose, ellipse((0, -0.02), 0.58, 0.72), Material(skin, bulge=0.72, rim=0.12), part="head"
    )
    _features(canvas, pose, random, skin=skin, hair=hair)
    fringe = difference(
        ellipse((0, -0.3), 0.68, 0.58),
        ellipse((random.uniform(-0.25, 0.25), 0.2), 0.66, random.uniform(0.55, 0.68)),
    )
    canvas.paint(pose, fringe, cover, part="hair")


def _shoulders(canvas: SceneCanvas, pose: Pose, shirt: Colour, skin: Colour) -> None:
    bust = union(ellipse((0, 1.35), 0.95, 0.6), box(-0.95, 1.35, 0.95, 2.2))
    canvas.paint(
        pose, bust, Material(shirt, bulge=0.6, texture="weave", strength=0.15), part="body"
    )
    canvas.paint(
        pose, box(-0.26, 0.4, 0.26, 1.0, corner=0.2), Material(shade(skin, 0.8)), part="head"
    )


def _features(
    canvas: SceneCanvas, pose: Pose, random: SeededRandom, *, skin: Colour, hair: Colour
) -> None:
    iris, gap, y = random.choice(IRIS), random.uniform(0.24, 0.28), random.uniform(-0.16, -0.06)
    for side in (-1, 1):
        brow = stroke((side * (gap - 0.13), y - 0.24), (side * (gap + 0.14), y - 0.22), 0.07)
        canvas.paint(pose, brow, Material(shade(hair, 0.8), rim=0), part="head")
        parts.eye(canvas, pose.at(side * gap, y), 0.145, iris=iris)
    for side in (-1, 1):
        cheek = circle(side * 0.34, 0.2, 0.13)
        canvas.paint(
            pose, cheek, Material(rgb("d9736a"), transparency=0.7, softness=6, rim=0), part="head"
        )
    shape = union(stroke((0, y + 0.05), (0, 0.14), 0.08), ellipse((0, 0.15), 0.12, 0.085))
    canvas.paint(pose, shape, Material(shade(skin, 0.88), bulge=0.6, rim=0.3), part="nose")
    lips = random.choice(LIPS)
    parts.mouth(canvas, pose.at(0, 0.36), random.uniform(0.2, 0.27), colour=lips)


def cat(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    coat = pick_colour(FUR, random)
    material = Material(coat, bulge=0.65, texture="fur", strength=0.35, rim=0.15)
    canvas.paint(pose, ellipse((0, 1.3), 0.75, 0.75), material, part="body")
    for side in (-1, 1):
        tip = pose.at(side * 0.5, -0.62, turn=side * random.integer(14, 22))
        parts.ear(canvas, tip, 0.5, colour=shade(coat, 0.92))
    canvas.shadow(pose, ellipse((0, 0.05), 0.8, 0.68), reach=0.08, darkness=0.3, part="head")
    canvas.paint(pose, ellipse((0, 0.05), 0.8, 0.68), material, part="head")
    _tabby(canvas, pose, shade(coat, 0.62), random)
    pale = Material(mix(coat, WHITE, 0.65), bulge=0.6, texture="fur", rim=0.1)
    for side in (-1, 1):
        canvas.paint(pose, ellipse((side * 0.19, 0.36), 0.25, 0.2), pale, part="head")
    iris, slit = random.choice(CAT_IRIS), random.uniform(0.35, 0.8)
    for side in (-1, 1):
        parts.eye(canvas, pose.at(side * 0.35, -0.06), 0.2, iris=iris, white=iris, slit=slit)
    parts.nose(canvas, pose.at(0, 0.2), 0.125, colour=rgb("c9787a"))
    _whiskers(canvas, pose)
    parts.mouth(canvas, pose.at(0, 0.4), 0.14, colour=rgb("a8545a"))


def _tabby(canvas: SceneCanvas, pose: Pose, dark: Colour, random: SeededRandom) -> None:
    if random.chance(0.35):
        return
    for x, lean in ((-0.2, -0.05), (0, 0), (0.2, 0.05)):
        line = stroke((x, -0.36), (x + lean, -0.58), 0.1, tip=0.03)
        canvas.paint(pose, line, Material(dark, rim=0, transparency=0.2, softness=2), part="head")


def _whiskers(canvas: SceneCanvas, pose: Pose) -> None:
    hairs = [
        stroke((side * 0.3, 0.34 + lift), (side * 0.95, 0.32 + 2.6 * lift), 0.03, tip=0.012)
        for side in (-1, 1)
        for lift in (-0.05, 0.01, 0.07)
    ]
    canvas.paint(pose, union(*hairs), Material(WHITE, bulge=0, rim=0, transparency=0.3), part="")


def owl(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    coat = pick_colour(FUR, random)
    material = Material(shade(coat, 0.85), bulge=0.65, texture="spots", strength=0.35)
    canvas.paint(pose, ellipse((0, 0.75), 0.8, 0.95), material, part="body")
    for side in (-1, 1):
        folded = ellipse((side * 0.66, 0.8), 0.26, 0.72)
        canvas.paint(pose, folded, material.with_colour(shade(coat, 0.6)), part="wing")
        tuft = polygon((side * 0.3, -0.62), (side * 0.78, -1.0), (side * 0.74, -0.3))
        canvas.paint(pose, tuft, Material(shade(coat, 0.7), texture="fur"), part="ear")
    canvas.shadow(pose, ellipse((0, -0.12), 0.82, 0.64), reach=0.06, darkness=0.35, part="head")
    fur = Material(coat, bulge=0.6, texture="fur", strength=0.3, rim=0.15)
    canvas.paint(pose, ellipse((0, -0.15), 0.84, 0.64), fur, part="head")
    pale = Material(mix(coat, WHITE, 0.6), bulge=0.4, texture="fur", strength=0.25, rim=0.2)
    for side in (-1, 1):
        canvas.paint(pose, circle(side * 0.37, -0.12, 0.42), pale, part="head")
    iris = random.choice(OWL_IRIS)
    for side in (-1, 1):
        parts.eye(canvas, pose.at(side * 0.36, -0.14), 0.23, iris=iris, white=iris, slit=1.3)
    parts.beak(canvas, pose.at(0, 0.14), 0.25, colour=rgb("d9973f"))
    _feathers(canvas, pose, mix(coat, WHITE, 0.45))


def _feathers(canvas: SceneCanvas, pose: Pose, pale: Colour) -> None:
    places = [(-0.3, 0.72), (0, 0.72), (0.3, 0.72), (-0.15, 0.95), (0.15, 0.95)]
    vees = [polygon((x - 0.11, y), (x + 0.11, y), (x, y + 0.17)) for x, y in places]
    canvas.paint(pose, union(*vees), Material(pale, bulge=0, rim=0.2), part="body")


def rabbit(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    coat = mix(pick_colour(FUR, random), WHITE, random.uniform(0.1, 0.7))
    material = Material(coat, bulge=0.65, texture="fur", strength=0.25, rim=0.15)
    canvas.paint(pose, ellipse((0, 1.3), 0.7, 0.7), material, part="body")
    for side in (-1, 1):
        _long_ear(canvas, pose.at(side * 0.26, -0.3, turn=side * random.integer(4, 24)), material)
    low = pose.at(0, 0.2)
    canvas.shadow(low, ellipse((0, 0), 0.62, 0.62), reach=0.08, darkness=0.3, part="head")
    canvas.paint(
        low, union(circle(0, -0.08, 0.54), ellipse((0, 0.16), 0.64, 0.46)), material, part="head"
    )
    iris = mix(random.choice(IRIS), BLACK, 0.4)
    for side in (-1, 1):
        parts.eye(canvas, low.at(side * 0.32, -0.12), 0.155, iris=iris, white=iris, slit=1.4)
        muzzle = Material(mix(coat, WHITE, 0.7), bulge=0.6, texture="fur", rim=0.1)
        canvas.paint(low, circle(side * 0.15, 0.25, 0.2), muzzle, part="head")
    teeth = box(-0.09, 0.3, 0.09, 0.5, corner=0.03)
    canvas.paint(low, teeth, Material(WHITE, bulge=0.3), part="mouth")
    line = intersection(teeth, box(-0.012, 0.26, 0.012, 0.6))
    canvas.paint(low, line, Material(rgb("9a8f88"), rim=0), part="mouth")
    parts.nose(canvas, low.at(0, 0.14), 0.11, colour=rgb("d98a94"))
    _whiskers(canvas, low.at(0, -0.08))


def _long_ear(canvas: SceneCanvas, pose: Pose, material: Material) -> None:
    canvas.paint(pose, ellipse((0, -0.42), 0.2, 0.56), material, part="ear")
    inner = Material(rgb("dba39c"), bulge=0.4, softness=2)
    canvas.paint(pose, ellipse((0, -0.4), 0.1, 0.42), inner, part="ear")
