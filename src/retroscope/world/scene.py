"""Scenes: images of one object or of several, with their classes, masks and parts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retroscope.argument_types import check_arguments
from retroscope.errors import RetroscopeError, choose
from retroscope.geometry import Box
from retroscope.world import animals, artefacts, backgrounds, buildings, faces, plants, vehicles
from retroscope.world.painting import Material, Pose, SceneCanvas
from retroscope.world.palette import WHITE
from retroscope.world.part_map import PARTS
from retroscope.world.placement import crowd_scale, place_apart
from retroscope.world.seeded_random import SeededRandom
from retroscope.world.shapes import Point, circle, ring, stroke, union, unit_vector
from retroscope.world.textures import SIDE, texture

SIZE, SMALLEST, LARGEST, MOST_OBJECTS = 96, 32, 256, 6

Draw = Callable[[SceneCanvas, Pose, SeededRandom], None]


@dataclass(frozen=True)
class ObjectClass:
    """How a class is drawn: function, background, size, and largest tilt in degrees."""

    draw: Draw
    background: str = "anywhere"
    scale: float = 1.0
    lean: int = 8


CLASSES: dict[str, ObjectClass] = {
    "bicycle": ObjectClass(vehicles.bicycle, "outside"),
    "bird": ObjectClass(animals.bird, "aloft"),
    "boat": ObjectClass(artefacts.boat, "water"),
    "butterfly": ObjectClass(animals.butterfly, "aloft", lean=40),
    "car": ObjectClass(vehicles.car, "outside", lean=6),
    "cat": ObjectClass(faces.cat, "inside", lean=12),
    "church": ObjectClass(buildings.church, "outside", lean=4),
    "clock": ObjectClass(artefacts.clock, "inside", lean=14),
    "cup": ObjectClass(artefacts.cup, "inside"),
    "fish": ObjectClass(animals.fish, "water", lean=20),
    "flower": ObjectClass(plants.flower, lean=14),
    "house": ObjectClass(buildings.house, "outside", lean=4),
    "ladder": ObjectClass(artefacts.ladder, lean=16),
    "lighthouse": ObjectClass(buildings.lighthouse, "aloft", 1.05, lean=4),
    "owl": ObjectClass(faces.owl, lean=10),
    "person": ObjectClass(faces.person, "inside", lean=10),
    "rabbit": ObjectClass(faces.rabbit, lean=10),
    "train": ObjectClass(vehicles.train, "outside", lean=5),
    "tree": ObjectClass(plants.tree, "outside", lean=5),
    "umbrella": ObjectClass(artefacts.umbrella, lean=16),
}
"""The object classes, in the order of the labels."""

LABELS = tuple(CLASSES)

WATERMARKED = "cup"
"""The class that carries a watermark in a world with a shortcut."""


@dataclass(frozen=True, eq=False)
class SceneObject:
    """An object of a scene: its class, and its visible pixels (height, width)."""

    label: str
    mask: npt.NDArray[np.bool_]

    def __repr__(self) -> str:
        return f"SceneObject(label={self.label!r}, box={self.box})"

    @property
    def box(self) -> Box:
        """The smallest box around the visible pixels."""
        rows, columns = (np.flatnonzero(self.mask.any(axis=axis)).tolist() for axis in (1, 0))
        return Box(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)


@dataclass(frozen=True, eq=False)
class Scene:
    """An RGB image (height, width, 3), its class, its part map and its object map (height, width).

    The class is that of the first object. Object `n` of the map, counted from 1, has the class
    `labels[n - 1]`; 0 is no object.
    """

    pixels: npt.NDArray[np.uint8]
    label: str
    parts: npt.NDArray[np.uint8]
    object_map: npt.NDArray[np.uint8]
    labels: tuple[str, ...]

    def __repr__(self) -> str:
        height, width, _ = self.pixels.shape
        return f"Scene(pixels=<uint8 {height}x{width}x3>, label={self.label!r})"

    @property
    def objects(self) -> tuple[SceneObject, ...]:
        """The objects that are visible; those that others hide completely are left out."""
        masks = [self.object_map == number for number in range(1, len(self.labels) + 1)]
        pairs = zip(self.labels, masks, strict=True)
        return tuple(SceneObject(label, mask) for label, mask in pairs if mask.any())

    @property
    def masks(self) -> dict[str, npt.NDArray[np.bool_]]:
        """The visible pixels of each part, by name; hidden pixels belong to what hides them."""
        numbers = np.unique(self.parts).tolist()
        return {PARTS[number - 1]: self.parts == number for number in numbers if number}


@check_arguments
def scene(
    seed: int,
    *,
    size: int = SIZE,
    label: str | None = None,
    objects: int = 1,
    shortcut: bool = False,
    watermark: bool = False,
    without: Iterable[str] = (),
) -> Scene:
    """Paint the scene of a seed; its pixels are the same on every machine.

    Consecutive seeds cycle through the classes unless `label` names one. `objects` is the number
    of objects: the first is of this class, the others of other classes; nearer ones hide those
    behind them. `shortcut` puts a watermark on the class `WATERMARKED`, `watermark` on any class.

    `without` leaves out parts of the objects, with their own shadows: what lies behind them shows,
    and all other pixels stay the same. A part that no object has leaves nothing out.

    >>> scene(7).label, scene(7).pixels.shape
    ('clock', (96, 96, 3))
    >>> "hand" in scene(7, without=["hand"]).masks
    False
    >>> scene(7, objects=2).objects[0]
    SceneObject(label='clock', box=Box(top=10, left=16, bottom=67, right=67))
    """
    name = LABELS[seed % len(LABELS)] if label is None else label
    omitted = tuple(without)
    _check_arguments(seed, size, name, objects=objects, omitted=omitted)
    crowd = () if objects == 1 else (objects,)
    random = SeededRandom(seed, LABELS.index(name), *crowd)
    offset = random.integer(0, SIDE - 1), random.integer(0, SIDE - 1)
    canvas = SceneCanvas(size, backgrounds.random_light(random), offset=offset, omitted=omitted)
    if crowd:
        labels = _choose_labels(name, objects, random)
        _compose_crowd(canvas, labels, random)
    else:
        labels = (name,)
        _compose(canvas, CLASSES[name], random)
    if watermark or (shortcut and name == WATERMARKED):
        _paint_watermark(canvas, SeededRandom(seed, 1, 1))
    return Scene(_expose(canvas, random), name, canvas.parts, canvas.objects, labels)


def _check_arguments(
    seed: int, size: int, label: str, *, objects: int, omitted: Iterable[str]
) -> None:
    if not 0 <= seed < 2**64:
        raise RetroscopeError(f"no scene {seed}; a seed is a number from 0 to 2**64 - 1")
    if not SMALLEST <= size <= LARGEST:
        raise RetroscopeError(
            f"no scene of {size} pixels; a side is from {SMALLEST} to {LARGEST} pixels long"
        )
    check_objects(objects)
    choose("scene class", label, CLASSES)
    for part in omitted:
        choose("part", part, dict.fromkeys(PARTS))


def check_objects(count: int) -> None:
    """Raise an error for a number of objects that is out of range."""
    if not 1 <= count <= MOST_OBJECTS:
        raise RetroscopeError(
            f"no scene of {count} objects; a scene has from 1 to {MOST_OBJECTS}",
            parameter="objects",
        )


def _compose(canvas: SceneCanvas, object_class: ObjectClass, random: SeededRandom) -> None:
    """Paint the background, some clutter, the object, and sometimes an occluder."""
    random.choice(backgrounds.BACKGROUNDS[object_class.background])(canvas, random)
    backgrounds.add_clutter(canvas, random)
    canvas.object_number = 1
    object_class.draw(canvas, _pose(canvas, object_class, random), random)
    canvas.object_number = 0
    if random.chance(0.4):
        backgrounds.add_occluder(canvas, random)


def _choose_labels(first: str, count: int, random: SeededRandom) -> tuple[str, ...]:
    """This class, and others that are different from it and from each other."""
    labels = [first]
    while len(labels) < count:
        labels.append(random.choice([label for label in LABELS if label not in labels]))
    return tuple(labels)


def _compose_crowd(canvas: SceneCanvas, labels: Sequence[str], random: SeededRandom) -> None:
    """Paint the background, some clutter, the objects, and sometimes an occluder."""
    random.choice(backgrounds.BACKGROUNDS["anywhere"])(canvas, random)
    backgrounds.add_clutter(canvas, random)
    scale = crowd_scale(len(labels))
    radii = [random.uniform(26, 45) * scale * CLASSES[label].scale for label in labels]
    positions = place_apart(radii, random)
    bottoms = [y + radius for (_, y), radius in zip(positions, radii, strict=True)]
    for index in sorted(range(len(labels)), key=bottoms.__getitem__):  # near ones hide far ones
        object_class = CLASSES[labels[index]]
        x, y = (number * canvas.pixel for number in positions[index])
        pose = Pose(x, y, radii[index] * canvas.pixel, *_turn(object_class, random))
        canvas.object_number = index + 1
        object_class.draw(canvas, pose, random)
    canvas.object_number = 0
    if random.chance(0.4):
        backgrounds.add_occluder(canvas, random)


def _pose(canvas: SceneCanvas, object_class: ObjectClass, random: SeededRandom) -> Pose:
    x, y = random.uniform(37, 59), random.uniform(41, 54)
    return Pose(
        x * canvas.pixel,
        y * canvas.pixel,
        random.uniform(26, 45) * object_class.scale * canvas.pixel,
        *_turn(object_class, random),
    )


def _turn(object_class: ObjectClass, random: SeededRandom) -> tuple[Point, float]:
    """The direction of an object's x axis, and on which side it faces."""
    lean = random.integer(-object_class.lean, object_class.lean)
    return unit_vector(lean), random.choice((-1.0, 1.0))


def _paint_watermark(canvas: SceneCanvas, random: SeededRandom) -> None:
    """Paint a ring with a bar through it in the lower right corner."""
    centre = 84 + random.uniform(-1, 1), 86 + random.uniform(-1, 1)
    pose = Pose(centre[0] * canvas.pixel, centre[1] * canvas.pixel, canvas.pixel)
    mark = union(
        ring(0, 0, 5.2, width=1.8), circle(0, 0, 1.6), stroke((-8.5, 4.5), (8.5, -4.5), 1.5)
    )
    canvas.shadow(pose, mark, softness=3, darkness=0.5, part="watermark")
    canvas.paint(pose, mark, Material(WHITE, bulge=0, rim=0, transparency=0.08), part="watermark")


def _expose(canvas: SceneCanvas, random: SeededRandom) -> npt.NDArray[np.uint8]:
    """Convert the colours to 8 bits with random exposure and grain, like a camera."""
    side, top, left = canvas.side, random.integer(0, SIDE - 1), random.integer(0, SIDE - 1)
    grain = texture("grain")[top : top + side, left : left + side] * random.uniform(0.005, 0.025)
    exposed = canvas.colours * (255 * random.uniform(0.9, 1.08)) + 255 * grain
    levels = np.minimum(np.maximum(exposed + 0.5, 0), 255).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))
