"""A picture world whose truth is known: scenes by seed, their classes and where their parts are."""

from retroscope.world.files import scene_of, write_world
from retroscope.world.naming import PARTS
from retroscope.world.scene import CLASSES, LABELS, MARKED, SIZE, Scene, scene

__all__ = [
    "CLASSES",
    "LABELS",
    "MARKED",
    "PARTS",
    "SIZE",
    "Scene",
    "scene",
    "scene_of",
    "write_world",
]
