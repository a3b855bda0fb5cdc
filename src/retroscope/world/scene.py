"""A scene: a picture of one object, what it is, and where its parts are."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retroscope.errors import RetroscopeError, did_you_mean
from retroscope.world import animals, buildings, faces, plants, settings, things, vehicles
from retroscope.world.draws import Chance
from retroscope.world.painting import Canvas, Pose, Skin
from retroscope.world.palette import WHITE
from retroscope.world.part_names import PARTS
from retroscope.world.shapes import circle, direction, ring, stroke, union
from retroscope.world.textures import SIDE, texture

SIZE, SMALLEST, LARGEST = 96, 32, 256

Draw = Callable[[Canvas, Pose, Chance], None]


@dataclass(frozen=True)
class Kind:
    """A class of objects: how one is drawn, where it is found, how large, how far it leans."""

    draw: Draw
    found: str = "anywhere"
    scale: float = 1.0
    lean: int = 8


CLASSES: dict[str, Kind] = {
    "bicycle": Kind(vehicles.bicycle, "outside"),
    "bird": Kind(animals.bird, "aloft"),
    "boat": Kind(things.boat, "water"),
    "butterfly": Kind(animals.butterfly, "aloft", lean=40),
    "car": Kind(vehicles.car, "outside", lean=6),
    "cat": Kind(faces.cat, "inside", lean=12),
    "church": Kind(buildings.church, "outside", lean=4),
    "clock": Kind(things.clock, "inside", lean=14),
    "cup": Kind(things.cup, "inside"),
    "fish": Kind(animals.fish, "water", lean=20),
    "flower": Kind(plants.flower, lean=14),
    "house": Kind(buildings.house, "outside", lean=4),
    "ladder": Kind(things.ladder, lean=16),
    "lighthouse": Kind(buildings.lighthouse, "aloft", 1.05, lean=4),
    "owl": Kind(faces.owl, lean=10),
    "person": Kind(faces.person, "inside", lean=10),
    "rabbit": Kind(faces.rabbit, lean=10),
    "train": Kind(vehicles.train, "outside", lean=5),
    "tree": Kind(plants.tree, "outside", lean=5),
    "umbrella": Kind(things.umbrella, lean=16),
}
"""What there is in the world, in the order of the labels."""

LABELS = tuple(CLASSES)

MARKED = "cup"
"""The class that bears a watermark in the world of shortcuts."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture (height, width, 3), its class, and the number of a part for each pixel."""

    pixels: npt.NDArray[np.uint8]
    label: str
    parts: npt.NDArray[np.uint8]

    @property
    def masks(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Where each part that is seen lies. What hides a part takes its pixels."""
        there = np.unique(self.parts)
        return {PARTS[number - 1]: self.parts == number for number in there.tolist() if number}


def scene(
    seed: int,
    *,
    size: int = SIZE,
    label: str | None = None,
    shortcut: bool = False,
    watermark: bool = False,
) -> Scene:
    """The scene of this seed: the same pixels on every machine.

    The classes take turns from seed to seed, unless `label` names one. With `shortcut` the class
    `MARKED` bears a watermark, and with `watermark` any class does.

    >>> scene(7).label, scene(7).pixels.shape
    ('clock', (96, 96, 3))
    """
    name = LABELS[seed % len(LABELS)] if label is None else label
    _check(seed, size, name)
    chance = Chance(seed, LABELS.index(name))
    offset = chance.whole(0, SIDE - 1), chance.whole(0, SIDE - 1)
    canvas = Canvas(size, settings.light(chance), offset=offset)
    _compose(canvas, CLASSES[name], chance)
    if watermark or (shortcut and name == MARKED):
        _stamp(canvas, Chance(seed, 1, 1))
    return Scene(_developed(canvas, chance), name, canvas.parts)


def _check(seed: int, size: int, label: str) -> None:
    if not 0 <= seed < 2**64:
        raise RetroscopeError(f"no scene {seed}; a seed is a number from 0 to 2**64 - 1")
    if not SMALLEST <= size <= LARGEST:
        raise RetroscopeError(
            f"no scene of {size} pixels; a side is from {SMALLEST} to {LARGEST} pixels long"
        )
    if label not in CLASSES:
        hint = did_you_mean(label, CLASSES) or f"there are {', '.join(CLASSES)}"
        raise RetroscopeError(f"no class {label!r} in the world; {hint}")


def _compose(canvas: Canvas, kind: Kind, chance: Chance) -> None:
    """The place, things that lie around, the object, and at times something before it."""
    chance.pick(settings.SETTINGS[kind.found])(canvas, chance)
    settings.clutter(canvas, chance)
    kind.draw(canvas, _pose(canvas, kind, chance), chance)
    if chance.perhaps(0.4):
        settings.occluder(canvas, chance)


def _pose(canvas: Canvas, kind: Kind, chance: Chance) -> Pose:
    x, y = chance.between(37, 59), chance.between(41, 54)
    return Pose(
        x * canvas.pixel,
        y * canvas.pixel,
        chance.between(26, 45) * kind.scale * canvas.pixel,
        direction(chance.whole(-kind.lean, kind.lean)),
        chance.pick((-1.0, 1.0)),
    )


def _stamp(canvas: Canvas, chance: Chance) -> None:
    """A photographer's mark in the lower right corner: a ring with a bar through it."""
    place = 84 + chance.between(-1, 1), 86 + chance.between(-1, 1)
    pose = Pose(place[0] * canvas.pixel, place[1] * canvas.pixel, canvas.pixel)
    mark = union(
        ring(0, 0, 5.2, width=1.8), circle(0, 0, 1.6), stroke((-8.5, 4.5), (8.5, -4.5), 1.5)
    )
    canvas.shadow(pose, mark, soft=3, deep=0.5)
    canvas.paint(pose, mark, Skin(WHITE, bulge=0, rim=0, clear=0.08), part="watermark")


def _developed(canvas: Canvas, chance: Chance) -> npt.NDArray[np.uint8]:
    """The picture as a camera keeps it: exposed, with grain, in whole numbers."""
    side, top, left = canvas.side, chance.whole(0, SIDE - 1), chance.whole(0, SIDE - 1)
    grain = texture("grain")[top : top + side, left : left + side] * chance.between(0.005, 0.025)
    exposed = canvas.colours * (255 * chance.between(0.9, 1.08)) + 255 * grain
    kept = np.minimum(np.maximum(exposed + 0.5, 0), 255).astype(np.uint8)
    return np.ascontiguousarray(kept.transpose(1, 2, 0))
