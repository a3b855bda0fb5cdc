"""A synthetic data set with known parts: scenes by seed, with their classes, boxes and masks."""

from retroscope.world.part_map import PARTS
from retroscope.world.scene import (
    CLASSES,
    LABELS,
    SIZE,
    WATERMARKED,
    Scene,
    SceneObject,
    scene,
)
from retroscope.world.world_files import world_scene, write_world

__all__ = [
    "CLASSES",
    "LABELS",
    "PARTS",
    "SIZE",
    "WATERMARKED",
    "Scene",
    "SceneObject",
    "scene",
    "world_scene",
    "write_world",
]
