"""Parts that several objects share, such as the eyes of faces, owls and fish."""

from retroscope.world.painting import Material, Pose, SceneCanvas
from retroscope.world.palette import BLACK, WHITE, Colour, mix, rgb, shade
from retroscope.world.shapes import (
    Point,
    box,
    circle,
    ellipse,
    intersection,
    polygon,
    ring,
    stroke,
    union,
    unit_vector,
)

_GLINT = Material(WHITE, bulge=0, rim=0)


def eye(
    canvas: SceneCanvas,
    pose: Pose,
    size: float,
    *,
    iris: Colour,
    white: Colour = WHITE,
    slit: float = 1,
) -> None:
    """An eyeball with iris, glint, and a pupil of width `slit`, at the origin."""
    local = pose.at(0, 0, scale=size)
    canvas.paint(
        local, ellipse((0, 0), 1.12, 1.12), Material(shade(iris, 0.35), bulge=0), part="eye"
    )
    canvas.paint(local, circle(0, 0, 0.96), Material(white, bulge=0.5, rim=0.3), part="eye")
    canvas.paint(local, circle(0, 0, 0.66), Material(iris, bulge=0.3, rim=0.35), part="eye")
    canvas.paint(local, ellipse((0, 0), 0.36 * slit, 0.42), Material(BLACK, rim=0), part="eye")
    canvas.paint(local, circle(-0.26, -0.28, 0.17), _GLINT, part="eye")


def nose(canvas: SceneCanvas, pose: Pose, size: float, *, colour: Colour) -> None:
    """A rounded triangle that points down, with a highlight."""
    local = pose.at(0, 0, scale=size)
    tip = union(circle(-0.5, -0.2, 0.5), circle(0.5, -0.2, 0.5), circle(0, 0.3, 0.5))
    canvas.paint(local, tip, Material(colour, bulge=0.7, gloss=0.3), part="nose")
    canvas.paint(
        local, ellipse((-0.25, -0.4), 0.3, 0.16), Material(WHITE, transparency=0.5), part="nose"
    )


def mouth(canvas: SceneCanvas, pose: Pose, size: float, *, colour: Colour) -> None:
    """A smile with a lower lip."""
    local = pose.at(0, 0, scale=size)
    below = box(-1.3, 0.1, 1.3, 1.4)
    lip = intersection(ellipse((0, -0.1), 1, 0.72), below)
    canvas.paint(local, lip, Material(colour, bulge=0.5, rim=0.35), part="mouth")
    teeth = intersection(ellipse((0, -0.16), 0.8, 0.46), box(-1, 0.06, 1, 0.3))
    canvas.paint(local, teeth, Material(WHITE, bulge=0.3, rim=0.1), part="mouth")


def ear(canvas: SceneCanvas, pose: Pose, size: float, *, colour: Colour) -> None:
    """A pointed ear, pink inside."""
    local = pose.at(0, 0, scale=size)
    outer = polygon((-0.62, 0.6), (0.05, -1), (0.66, 0.6))
    canvas.paint(local, outer, Material(colour, texture="fur", rim=0.2), part="ear")
    inner = polygon((-0.3, 0.5), (0.05, -0.55), (0.38, 0.5))
    canvas.paint(local, inner, Material(rgb("d99a94"), bulge=0.3), part="ear")


def beak(canvas: SceneCanvas, pose: Pose, size: float, *, colour: Colour) -> None:
    """Two halves that point down; turn the pose for a bird seen from the side."""
    local = pose.at(0, 0, scale=size)
    for side, tone in ((-1, 1.05), (1, 0.78)):
        half = polygon((0, -0.6), (side * 0.62, -0.35), (0, 1))
        canvas.paint(local, half, Material(shade(colour, tone), bulge=0.4, gloss=0.2), part="beak")


def wheel(
    canvas: SceneCanvas,
    pose: Pose,
    size: float,
    *,
    rim: Colour,
    spokes: int = 5,
    thick: float = 0.3,
) -> None:
    """A tyre, a rim, spokes and a hub."""
    local = pose.at(0, 0, scale=size)
    material = Material(rim, bulge=0.4, gloss=0.2)
    canvas.paint(local, circle(0, 0, 1), Material(rgb("2a2a30"), bulge=0.7, rim=0.1), part="wheel")
    canvas.paint(local, circle(0, 0, 1 - thick), material, part="wheel")
    canvas.paint(
        local, circle(0, 0, 0.86 - thick), material.with_colour(shade(rim, 0.45)), part="wheel"
    )
    rays = [unit_vector(18 + number * 360 // spokes) for number in range(spokes)]
    star = union(*(stroke((0, 0), (c * 0.8, s * 0.8), 0.16) for c, s in rays))
    canvas.paint(local, intersection(star, circle(0, 0, 0.9 - thick)), material, part="wheel")
    canvas.paint(local, circle(0, 0, 0.2), material.with_colour(shade(rim, 0.9)), part="wheel")


def open_wheel(canvas: SceneCanvas, pose: Pose, size: float, *, rim: Colour) -> None:
    """A thin spoked wheel with gaps."""
    local = pose.at(0, 0, scale=size)
    for number in range(6):
        c, s = unit_vector(number * 30 + 10)
        spoke = stroke((-c * 0.86, -s * 0.86), (c * 0.86, s * 0.86), 0.05)
        canvas.paint(local, spoke, Material(rim, bulge=0, rim=0, transparency=0.25), part="wheel")
    canvas.paint(local, ring(0, 0, 0.9, width=0.2), Material(rgb("2a2a30"), rim=0.1), part="wheel")
    canvas.paint(local, ring(0, 0, 0.76, width=0.1), Material(rim, gloss=0.3), part="wheel")
    canvas.paint(local, circle(0, 0, 0.16), Material(rim, bulge=0.7), part="wheel")


def window(
    canvas: SceneCanvas, pose: Pose, size: Point, *, glass: Colour, frame: Colour, bars: bool = True
) -> None:
    """A frame with a reflecting pane and a cross of bars."""
    wide, tall = size
    thin = 0.14 * min(wide, tall)
    outer = box(-wide, -tall, wide, tall, corner=thin)
    canvas.paint(pose, outer, Material(frame, bulge=0.2, rim=0.3), part="window")
    pane = box(thin - wide, thin - tall, wide - thin, tall - thin)
    canvas.paint(pose, pane, Material(glass, bulge=0.3, rim=0.15), part="window")
    shine = polygon(
        (thin - wide, thin - tall), (wide * 0.5, thin - tall), (thin - wide, tall * 0.6)
    )
    canvas.paint(
        pose, shine, Material(mix(glass, WHITE, 0.6), transparency=0.35, rim=0), part="window"
    )
    if bars:
        cross = union(box(-thin / 2, -tall, thin / 2, tall), box(-wide, -thin / 2, wide, thin / 2))
        canvas.paint(pose, cross, Material(frame, bulge=0, rim=0), part="window")


def porthole(canvas: SceneCanvas, pose: Pose, size: float, *, frame: Colour) -> None:
    """A round window."""
    local = pose.at(0, 0, scale=size)
    canvas.paint(local, circle(0, 0, 1), Material(frame, gloss=0.3), part="window")
    canvas.paint(
        local, circle(0, 0, 0.72), Material(rgb("5f8aa6"), bulge=0.6, gloss=0.4), part="window"
    )


def door(canvas: SceneCanvas, pose: Pose, size: Point, *, colour: Colour) -> None:
    """A panelled door with a knob; the origin is the middle of its threshold."""
    wide, tall = size
    frame = Material(shade(colour, 0.6), bulge=0.2)
    canvas.paint(pose, box(-wide * 1.15, -tall * 1.06, wide * 1.15, 0), frame, part="door")
    leaf = Material(colour, bulge=0.25, texture="wood", strength=0.18)
    canvas.paint(pose, box(-wide, -tall, wide, 0), leaf, part="door")
    for top, bottom in ((0.9, 0.55), (0.45, 0.1)):
        panel = box(-wide * 0.65, -tall * top, wide * 0.65, -tall * bottom)
        canvas.paint(pose, panel, leaf.with_colour(shade(colour, 0.8)), part="door")
    knob = circle(wide * 0.75, -tall * 0.48, wide * 0.16)
    canvas.paint(pose, knob, Material(rgb("d9b85a"), gloss=0.5), part="door")


def roof(canvas: SceneCanvas, pose: Pose, size: Point, *, colour: Colour, top: float = 0.0) -> None:
    """A tiled gable above the origin; `top` is the share of its width that is flat."""
    wide, tall = size
    edge = wide * top
    gable = polygon((-wide, 0), (-edge - 0.001, -tall), (edge + 0.001, -tall), (wide, 0))
    material = Material(colour, bulge=0.45, texture="tiles", strength=0.3)
    canvas.paint(pose, gable, material, part="roof")
    eaves = box(-wide, -0.05, wide, 0.025)
    canvas.paint(pose, eaves, Material(shade(colour, 0.62), bulge=0.2, rim=0), part="roof")


def lamp(canvas: SceneCanvas, pose: Pose, size: float, *, colour: Colour) -> None:
    """A glowing glass ball."""
    local = pose.at(0, 0, scale=size)
    canvas.paint(local, circle(0, 0, 1.15), Material(rgb("8f979f"), gloss=0.3), part="lamp")
    canvas.paint(
        local, circle(0, 0, 0.85), Material(colour, bulge=0.6, gloss=0.6, rim=0.1), part="lamp"
    )


def leaf(canvas: SceneCanvas, pose: Pose, size: float, *, colour: Colour) -> None:
    """A pointed leaf with a vein, from the origin along x."""
    local = pose.at(0, 0, scale=size)
    blade = intersection(circle(0.5, 0.42, 0.66), circle(0.5, -0.42, 0.66))
    canvas.paint(local, blade, Material(colour, bulge=0.5, texture="blotches"), part="leaf")
    vein = stroke((0.02, 0), (0.92, 0), 0.07, tip=0.02)
    canvas.paint(local, vein, Material(mix(colour, WHITE, 0.35), rim=0), part="leaf")
