"""Boxes and masks of a world's objects as COCO JSON."""

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from retroscope.world.scene import LABELS, Scene, SceneObject

CATEGORIES = [{"id": number, "name": label} for number, label in enumerate(LABELS, 1)]
"""The classes, numbered from 1 as in COCO."""


def coco_lines(scenes: Iterable[tuple[str, Scene]]) -> Iterator[str]:
    """The lines of a COCO file for these paths and scenes, one for each object."""
    images, count = [], 0
    yield '{"info": {"description": "painted by retroscope"},\n'
    yield f'"categories": {json.dumps(CATEGORIES)},\n"annotations": [\n'
    for image_id, (path, painted) in enumerate(scenes):
        height, width, _ = painted.pixels.shape
        images.append({"id": image_id, "file_name": path, "height": height, "width": width})
        for scene_object in painted.objects:
            separator = ",\n" if count else ""
            count += 1
            annotation = {"id": count, "image_id": image_id, **annotate(scene_object)}
            yield f"{separator}{json.dumps(annotation)}"
    yield f'\n],\n"images": {json.dumps(images)}}}\n'


def annotate(scene_object: SceneObject) -> dict[str, object]:
    """The class, box (left, top, width, height), area and mask of an object."""
    box, mask = scene_object.box, scene_object.mask
    return {
        "category_id": LABELS.index(scene_object.label) + 1,
        "bbox": [box.left, box.top, box.width, box.height],
        "area": int(mask.sum()),
        "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
        "iscrowd": 0,
    }


def run_lengths(mask: npt.NDArray[np.bool_]) -> list[int]:
    """The lengths of the runs of a mask, column by column; the first run is outside of it.

    >>> run_lengths(np.array([[True, False], [True, True]]))
    [0, 2, 1, 1]
    """
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    starts = [0] * (1 + bool(pixels[0]))
    edges = [*starts, *changes.tolist(), pixels.size]
    return [stop - start for start, stop in pairwise(edges)]
