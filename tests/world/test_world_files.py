"""Worlds on disk: images in folders by class, labels, part maps, and atomic writing."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from retroscope.errors import RetroscopeError
from retroscope.scanning.sources import list_images
from retroscope.world import LABELS, PARTS, WATERMARKED, world_scene, write_world
from retroscope.world.atomic_folder import remove_abandoned
from retroscope.world.world_files import WorldMetadata, read_world_metadata


def read_table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_written_images_are_the_scenes_of_the_world(tmp_path: Path) -> None:
    folder = write_world(tmp_path / "new" / "world", count=23, seed=4)
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.name)
    assert len(paths) == 23
    for number, path in enumerate(paths):
        painted = world_scene(4, number)
        assert path == folder / painted.label / f"{number:06}.png"
        assert np.array_equal(np.asarray(PIL.Image.open(path)), painted.pixels)


def test_the_labels_file_agrees_with_the_folders(tmp_path: Path) -> None:
    folder = write_world(tmp_path / "world", count=45, masks=True)
    by_folder, by_table = list_images(folder), list_images(folder, labels=folder / "labels.csv")
    assert by_folder.fingerprint == by_table.fingerprint
    assert tuple(by_table.class_names) == LABELS
    assert Counter(by_table.labels) == Counter(n % len(LABELS) for n in range(45))


def test_part_maps_are_written_beside_the_images(tmp_path: Path) -> None:
    folder = write_world(tmp_path / "world", count=12, masks=True, shortcut=True)
    parts_folder = tmp_path / "world-parts"
    part_names = {int(number): part for number, part in read_table(parts_folder / "parts.csv")[1:]}
    for number, (name, label) in enumerate(read_table(folder / "labels.csv")[1:]):
        image = PIL.Image.open(parts_folder / name)
        part_map = np.asarray(image)
        masks = world_scene(0, number, shortcut=True).masks
        assert image.mode == "P"
        assert {part_names[number] for number in np.unique(part_map).tolist()} == {"none", *masks}
        assert all((part_map == PARTS.index(part) + 1)[mask].all() for part, mask in masks.items())
        assert ("watermark" in masks) == (label == WATERMARKED)
    assert len(list_images(folder).keys) == 12


def test_every_part_has_its_own_palette_colour(tmp_path: Path) -> None:
    write_world(tmp_path / "world", count=1, masks=True)
    image = PIL.Image.open(next((tmp_path / "world-parts").rglob("*.png")))
    palette = image.getpalette()
    assert palette is not None
    colours = [tuple(palette[3 * n : 3 * n + 3]) for n in range(len(PARTS) + 1)]
    assert len(set(colours)) == len(PARTS) + 1


def test_progress_counts_every_image(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_world(tmp_path / "world", count=3, progress=lambda *counts: calls.append(counts))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_an_interrupted_call_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(done: int, _count: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    for exists in (False, True):
        target = tmp_path / "new" / "world"
        if exists:
            target.mkdir(parents=True)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(KeyboardInterrupt):
            write_world(target, count=3, masks=True, progress=interrupt)
        assert sorted(tmp_path.rglob("*")) == before


def test_the_folder_appears_only_when_complete(tmp_path: Path) -> None:
    def check_absent(*_: int) -> None:
        assert not (tmp_path / "world").exists()
        assert not (tmp_path / "world-parts").exists()

    write_world(tmp_path / "world", count=3, masks=True, progress=check_absent)
    assert {path.name for path in tmp_path.iterdir()} == {"world", "world-parts"}


def test_an_empty_folder_is_filled_like_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        write_world(tmp_path / name, count=3)
    contents = [
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in (tmp_path / "empty", tmp_path / "new")
    ]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 3 + 2


KILLED_WRITER = """
import os, sys
from retroscope.world import write_world
write_world(sys.argv[1], count=3, progress=lambda done, _: done == 2 and os._exit(9))
"""


@pytest.mark.parametrize("exists", [False, True])
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "world"
    if exists:
        target.mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert (
        subprocess.run([sys.executable, "-c", KILLED_WRITER, target], check=False).returncode == 9
    )
    assert sorted(tmp_path.rglob("*")) != before
    write_world(target, count=3)
    assert {path.name for path in tmp_path.iterdir()} == {"world"}
    assert not list(target.glob(".*"))


def test_a_writer_at_work_keeps_its_temporary_folder(tmp_path: Path) -> None:
    def remove_while_writing(done: int, _count: int) -> None:
        if done == 1:
            remove_abandoned(tmp_path / "world")

    write_world(tmp_path / "world", count=3, progress=remove_while_writing)
    assert len(list((tmp_path / "world").rglob("*.png"))) == 3


def test_the_metadata_of_a_world_is_read_back(tmp_path: Path) -> None:
    folder = write_world(tmp_path / "world", count=3, seed=7, shortcut=True)
    assert read_world_metadata(folder) == WorldMetadata(3, 7, shortcut=True)
    (folder / "world.json").unlink()
    assert read_world_metadata(folder) == WorldMetadata(3, None), (
        "worlds written before this file existed"
    )
    (folder / "labels.csv").unlink()
    assert read_world_metadata(folder) is None


# Errors


@pytest.mark.parametrize("count", [-1, 0, 1_000_001])
def test_the_count_must_be_in_range(count: int, tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match=f"no world of {count} images; a count is from 1"):
        write_world(tmp_path / "world", count=count)
    assert not (tmp_path / "world").exists()


@pytest.mark.parametrize("seed", [-1, 2**20])
def test_the_seed_must_be_in_range(seed: int, tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match=f"no world {seed}; a seed is a number from 0"):
        write_world(tmp_path / "world", count=1, seed=seed)


def test_a_folder_with_content_is_not_overwritten(tmp_path: Path) -> None:
    user_file = tmp_path / "world" / "user_file.txt"
    user_file.parent.mkdir()
    user_file.write_text("mine")
    with pytest.raises(RetroscopeError, match=r"world' is not empty; name a new folder"):
        write_world(user_file.parent, count=1)
    assert list(user_file.parent.iterdir()) == [user_file]


def test_a_parts_folder_with_content_is_not_overwritten(tmp_path: Path) -> None:
    user_file = tmp_path / "world-parts" / "user_file.txt"
    user_file.parent.mkdir()
    user_file.write_text("mine")
    with pytest.raises(RetroscopeError, match=r"world-parts' is not empty"):
        write_world(tmp_path / "world", count=1, masks=True)
    assert not (tmp_path / "world").exists()
    assert write_world(tmp_path / "world", count=1).is_dir()


def test_a_file_cannot_be_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RetroscopeError, match="is a file; name a new folder"):
        write_world(tmp_path / "file", count=1)
    with pytest.raises(RetroscopeError, match=r"cannot create the folder '.*file': it is a file"):
        write_world(tmp_path / "file" / "world", count=1)
