"""A picture world whose truth is known: scenes by seed, their classes and where their parts are."""

from retroscope.world.part_names import PARTS
from retroscope.world.scene import CLASSES, LABELS, MARKED, SIZE, Scene, scene
from retroscope.world.world_files import scene_of, write_world

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
