"""The COCO file of a world, read back by the definition of the format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from retroscope.errors import RetroscopeError
from retroscope.world import LABELS, world_scene, write_world
from retroscope.world.coco import run_lengths
from retroscope.world.world_files import read_world_metadata

COUNT, SEED, OBJECTS = 6, 3, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("coco")
    return write_world(home / "world", count=COUNT, seed=SEED, objects=OBJECTS, boxes=True)


@pytest.fixture(scope="module")
def coco(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "annotations.json").read_text("utf-8"))
    return content


def decode(segmentation: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """A mask from runs that alternate between outside and inside, down one column after another."""
    height, width = segmentation["size"]
    mask, position, inside = np.zeros((height, width), bool), 0, False
    for length in segmentation["counts"]:
        for index in range(position, position + length):
            mask[index % height, index // height] = inside
        position, inside = position + length, not inside
    assert position == height * width
    return mask


def test_the_file_lists_every_image_and_class(coco: dict[str, Any], folder: Path) -> None:
    assert [(item["id"], item["name"]) for item in coco["categories"]] == [
        (number + 1, label) for number, label in enumerate(LABELS)
    ]
    assert len(coco["images"]) == COUNT
    for image in coco["images"]:
        assert (folder / image["file_name"]).is_file()
        assert (image["height"], image["width"]) == (96, 96)


def test_annotations_are_the_objects_of_the_scenes(coco: dict[str, Any]) -> None:
    names = {item["id"]: item["name"] for item in coco["categories"]}
    files = {item["id"]: item["file_name"] for item in coco["images"]}
    by_image: dict[int, list[dict[str, Any]]] = {number: [] for number in files}
    for annotation in coco["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    for number, annotations in by_image.items():
        painted = world_scene(SEED, int(Path(files[number]).stem), objects=OBJECTS)
        assert len(annotations) == len(painted.objects)
        for annotation, item in zip(annotations, painted.objects, strict=True):
            assert names[annotation["category_id"]] == item.label
            assert np.array_equal(decode(annotation["segmentation"]), item.mask)
            rows, columns = np.nonzero(item.mask)
            left, top, width, height = annotation["bbox"]
            assert (left, left + width) == (columns.min(), columns.max() + 1)
            assert (top, top + height) == (rows.min(), rows.max() + 1)
            assert annotation["area"] == item.mask.sum()
            assert annotation["iscrowd"] == 0


def test_annotations_have_numbers_of_their_own_from_one(coco: dict[str, Any]) -> None:
    numbers = [annotation["id"] for annotation in coco["annotations"]]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    "mask", [np.zeros((2, 3), bool), np.ones((2, 3), bool), np.eye(3, dtype=bool)]
)
def test_runs_of_plain_masks(mask: npt.NDArray[np.bool_]) -> None:
    segmentation = {"size": list(mask.shape), "counts": run_lengths(mask)}
    assert np.array_equal(decode(segmentation), mask)


def test_boxes_are_written_only_if_asked_for(tmp_path: Path) -> None:
    folder = write_world(tmp_path / "world", count=2)
    assert not (folder / "annotations.json").exists()


def test_the_number_of_objects_is_in_the_metadata(folder: Path) -> None:
    metadata = read_world_metadata(folder)
    assert metadata is not None
    assert metadata.objects == OBJECTS


def test_too_many_objects_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match="no scene of 9 objects; a scene has from 1 to 6"):
        write_world(tmp_path / "world", count=2, objects=9)
    assert not list(tmp_path.iterdir())
