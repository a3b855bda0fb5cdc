"""Vehicles: a car, a bicycle, a train."""

from retroscope.world import parts
from retroscope.world.painting import Material, Pose, SceneCanvas
from retroscope.world.palette import (
    BLACK,
    GLASS,
    METAL,
    PAINT,
    WHITE,
    Colour,
    pick_colour,
    rgb,
    shade,
)
from retroscope.world.seeded_random import SeededRandom
from retroscope.world.shapes import box, circle, ellipse, polygon, stroke, union


def car(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    paint = Material(pick_colour(PAINT, random), bulge=0.5, gloss=0.35, rim=0.2)
    tall, back = random.uniform(0.42, 0.56), random.uniform(0.42, 0.85)
    floor = 0.42
    canvas.shadow(pose, ellipse((0, 0.66), 1.08, 0.12), softness=9, darkness=0.55)
    cabin = polygon((-back, 0.0), (-back + 0.18, -tall), (0.22, -tall), (0.55, 0.0))
    canvas.paint(pose, cabin, paint, part="body")
    _car_windows(canvas, pose, tall=tall, back=back, glass=pick_colour(GLASS, random))
    hull = union(
        box(-1, -0.06, 1, floor, corner=0.14), box(-0.98, 0.05, 1.04, floor + 0.04, corner=0.1)
    )
    canvas.paint(pose, hull, paint, part="body")
    canvas.paint(
        pose, box(-1, 0.3, 1.04, 0.38), Material(shade(paint.colour, 0.6), rim=0), part="body"
    )
    seam = stroke((-0.12, -0.02), (-0.12, 0.3), 0.025)
    canvas.paint(pose, seam, Material(shade(paint.colour, 0.55), rim=0, bulge=0), part="body")
    canvas.paint(pose, box(-0.04, 0.06, 0.1, 0.1), Material(rgb("d8dbde")), part="body")
    parts.lamp(canvas, pose.at(0.93, 0.13), 0.1, colour=rgb("f6e6a8"))
    canvas.paint(pose, box(-1.0, 0.06, -0.92, 0.2), Material(rgb("c43a32"), gloss=0.3), part="lamp")
    rim, size = pick_colour(METAL, random), random.uniform(0.26, 0.31)
    for x in (-0.58, 0.6):
        canvas.paint(pose, circle(x, 0.4, size * 1.2), Material(BLACK, rim=0), part="body")
        parts.wheel(canvas, pose.at(x, 0.42, turn=random.integer(0, 71)), size, rim=rim)


def _car_windows(
    canvas: SceneCanvas, pose: Pose, *, tall: float, back: float, glass: Colour
) -> None:
    top = 0.08 - tall
    rear = polygon((-back + 0.1, -0.04), (-back + 0.23, top), (-0.2, top), (-0.2, -0.04))
    front = polygon((-0.08, -0.04), (-0.08, top), (0.18, top), (0.43, -0.04))
    for pane in (rear, front):
        canvas.paint(pose, pane, Material(glass, bulge=0.3, rim=0.25, gloss=0.3), part="window")
    shine = Material(WHITE, transparency=0.6, rim=0)
    canvas.paint(pose, stroke((0.0, -0.1), (0.14, top + 0.06), 0.06), shine, part="window")


def bicycle(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    tube, rim = Material(pick_colour(PAINT, random), gloss=0.5, rim=0.1), pick_colour(METAL, random)
    size, wide = random.uniform(0.4, 0.48), random.uniform(0.085, 0.12)
    canvas.shadow(pose, ellipse((0, 0.74), 1.0, 0.07), softness=7, darkness=0.4)
    for x in (-0.56, 0.56):
        turned = pose.at(x, 0.3, turn=random.integer(0, 29))
        parts.open_wheel(canvas, turned, size, rim=rim)
    hub, crank, seat, head = (-0.56, 0.3), (-0.06, 0.32), (-0.24, -0.3), (0.36, -0.3)
    bars = ((hub, crank), (hub, seat), (crank, seat), (crank, head), (seat, head))
    frame = union(*(stroke(start, end, wide) for start, end in bars))
    canvas.shadow(pose, frame, reach=0.06, softness=3, darkness=0.25, part="frame")
    fork = union(stroke((0.56, 0.3), (0.33, -0.44), wide), stroke(seat, (-0.29, -0.44), wide * 0.8))
    canvas.paint(pose, union(frame, fork), tube, part="frame")
    canvas.paint(pose, circle(*crank, 0.13), Material(rgb("6f7880"), gloss=0.3), part="frame")
    canvas.paint(pose, circle(*crank, 0.06), Material(rgb("2a2a30")), part="frame")
    _saddle_and_bar(canvas, pose, random)


def _saddle_and_bar(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    leather = Material(random.choice((rgb("4a2f22"), rgb("2a2a30"), rgb("8a5a34"))), gloss=0.3)
    saddle = union(
        stroke((-0.44, -0.48), (-0.14, -0.46), 0.15, tip=0.07), circle(-0.42, -0.48, 0.1)
    )
    canvas.paint(pose, saddle, leather, part="seat")
    bar = union(
        stroke((0.31, -0.5), (0.52, -0.56), 0.07), stroke((0.52, -0.56), (0.56, -0.4), 0.07)
    )
    canvas.paint(pose, bar, Material(rgb("8f979f"), gloss=0.4), part="handle")
    canvas.paint(pose, stroke((0.53, -0.5), (0.56, -0.4), 0.1), leather, part="handle")
    parts.lamp(canvas, pose.at(0.46, -0.32), 0.08, colour=rgb("f6e6a8"))


def train(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    paint, trim = (
        pick_colour(PAINT, random),
        random.choice((rgb("c43a32"), rgb("d9b85a"), rgb("2f4858"))),
    )
    canvas.shadow(pose, ellipse((0, 0.76), 1.15, 0.1), softness=9, darkness=0.5)
    track = box(-1.6, 0.69, 1.6, 0.75)
    canvas.paint(pose, track, Material(rgb("6f6058"), texture="wood"), part="rail")
    _smoke(canvas, pose, random)
    boiler = Material(paint, bulge=0.75, gloss=0.35)
    canvas.paint(
        pose, box(0.42, -0.66, 0.62, -0.2), Material(rgb("33343a"), gloss=0.3), part="chimney"
    )
    mouth = box(0.36, -0.76, 0.68, -0.62, corner=0.03)
    canvas.paint(pose, mouth, Material(trim, gloss=0.3), part="chimney")
    canvas.paint(
        pose, circle(0.05, -0.27, 0.15), Material(rgb("d9b85a"), bulge=0.8, gloss=0.5), part="body"
    )
    canvas.paint(pose, box(-0.4, -0.3, 0.86, 0.28, corner=0.1), boiler, part="body")
    for x in (-0.02, 0.34, 0.68):
        canvas.paint(
            pose, box(x - 0.025, -0.3, x + 0.025, 0.28), Material(trim, bulge=0), part="body"
        )
    _cab(canvas, pose, paint=shade(paint, 0.9), trim=trim, glass=pick_colour(GLASS, random))
    canvas.paint(pose, box(-0.98, 0.26, 0.92, 0.4), Material(rgb("3a3a40"), gloss=0.2), part="body")
    guard = polygon((0.86, 0.34), (1.08, 0.66), (0.72, 0.66), (0.72, 0.34))
    canvas.paint(pose, guard, Material(trim, bulge=0.5), part="body")
    parts.lamp(canvas, pose.at(0.86, -0.08), 0.11, colour=rgb("f6e6a8"))
    turn = random.integer(0, 59)
    for x, size in ((-0.66, 0.25), (-0.1, 0.25), (0.34, 0.19), (0.66, 0.19)):
        wheel_pose = pose.at(x, 0.68 - size, turn=turn)
        parts.wheel(canvas, wheel_pose, size, rim=trim, spokes=6, thick=0.24)


def _smoke(canvas: SceneCanvas, pose: Pose, random: SeededRandom) -> None:
    puff = Material(rgb("eceae6"), bulge=0.7, transparency=0.15, softness=3, texture="clouds")
    drift = random.uniform(0.12, 0.3)
    for number, size in ((3, 0.24), (2, 0.2), (1, 0.15)):
        place = circle(0.52 - drift * number, -0.72 - 0.13 * number, size)
        canvas.paint(pose, place, puff, part="steam")


def _cab(canvas: SceneCanvas, pose: Pose, *, paint: Colour, trim: Colour, glass: Colour) -> None:
    canvas.paint(pose, box(-0.96, -0.64, -0.34, 0.32), Material(paint, bulge=0.3), part="body")
    canvas.paint(
        pose, box(-1.06, -0.74, -0.24, -0.6, corner=0.05), Material(shade(trim, 0.8)), part="roof"
    )
    parts.window(canvas, pose.at(-0.65, -0.28), (0.19, 0.2), glass=glass, frame=trim, bars=False)
    canvas.paint(pose, box(-0.92, 0.1, -0.38, 0.15), Material(trim, bulge=0), part="body")
