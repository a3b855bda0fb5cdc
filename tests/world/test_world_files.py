"""A world on disk: pictures in folders by class, their labels, and where their parts are."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from retroscope.errors import RetroscopeError
from retroscope.scanning.sources import pictures
from retroscope.world import LABELS, MARKED, PARTS, scene_of, write_world
from retroscope.world.atomic_folder import clear_left
from retroscope.world.world_files import Made, world_in


def read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_written_pictures_are_the_scenes_of_the_world(tmp_path: Path) -> None:
    folder = write_world(tmp_path / "new" / "world", count=23, seed=4)
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.name)
    assert len(paths) == 23
    for number, path in enumerate(paths):
        made = scene_of(4, number)
        assert path == folder / made.label / f"{number:06}.png"
        assert np.array_equal(np.asarray(PIL.Image.open(path)), made.pixels)


def test_the_labels_are_those_of_the_folders_and_a_scan_reads_them(tmp_path: Path) -> None:
    folder = write_world(tmp_path / "world", count=45, masks=True)
    by_folder, by_table = pictures(folder), pictures(folder, labels=folder / "labels.csv")
    assert by_folder.fingerprint == by_table.fingerprint
    assert tuple(by_table.names) == LABELS
    assert Counter(by_table.labels) == Counter(n % len(LABELS) for n in range(45))


def test_the_masks_are_those_of_the_scenes_and_lie_beside_the_pictures(tmp_path: Path) -> None:
    folder = write_world(tmp_path / "world", count=12, masks=True, shortcut=True)
    beside = tmp_path / "world-parts"
    names = {int(number): part for number, part in read(beside / "parts.csv")[1:]}
    for number, (name, label) in enumerate(read(folder / "labels.csv")[1:]):
        picture = PIL.Image.open(beside / name)
        found = np.asarray(picture)
        masks = scene_of(0, number, shortcut=True).masks
        assert picture.mode == "P"
        assert {names[one] for one in np.unique(found).tolist()} == {"none", *masks}
        assert all((found == PARTS.index(part) + 1)[mask].all() for part, mask in masks.items())
        assert ("watermark" in masks) == (label == MARKED)
    assert len(pictures(folder).keys) == 12


def test_parts_are_told_apart_by_their_colours(tmp_path: Path) -> None:
    write_world(tmp_path / "world", count=1, masks=True)
    picture = PIL.Image.open(next((tmp_path / "world-parts").rglob("*.png")))
    palette = picture.getpalette()
    assert palette is not None
    colours = [tuple(palette[3 * n : 3 * n + 3]) for n in range(len(PARTS) + 1)]
    assert len(set(colours)) == len(PARTS) + 1


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_world(tmp_path / "world", count=3, progress=lambda *done: told.append(done))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_world_that_was_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    def break_off(done: int, _count: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    for there in (False, True):
        place = tmp_path / "new" / "world"
        if there:
            place.mkdir(parents=True)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(KeyboardInterrupt):
            write_world(place, count=3, masks=True, progress=break_off)
        assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_in_its_place_before_all_is_painted(tmp_path: Path) -> None:
    def look(*_: int) -> None:
        assert not (tmp_path / "world").exists()
        assert not (tmp_path / "world-parts").exists()

    write_world(tmp_path / "world", count=3, masks=True, progress=look)
    assert {path.name for path in tmp_path.iterdir()} == {"world", "world-parts"}


def test_an_empty_folder_gets_the_same_world_as_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        write_world(tmp_path / name, count=3)
    found = [
        {path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.is_file()}
        for home in (tmp_path / "empty", tmp_path / "new")
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 3 + 2


KILLED = """
import os, sys
from retroscope.world import write_world
write_world(sys.argv[1], count=3, progress=lambda done, _: done == 2 and os._exit(9))
"""


@pytest.mark.parametrize("there", [False, True])
def test_what_a_killed_painter_left_is_cleared_by_the_next(tmp_path: Path, there: bool) -> None:
    place = tmp_path / "world"
    if there:
        place.mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert subprocess.run([sys.executable, "-c", KILLED, place], check=False).returncode == 9
    assert sorted(tmp_path.rglob("*")) != before
    write_world(place, count=3)
    assert {path.name for path in tmp_path.iterdir()} == {"world"}
    assert not list(place.glob(".*"))


def test_a_painter_at_work_is_not_cleared_by_another_of_the_same_place(tmp_path: Path) -> None:
    def also(done: int, _count: int) -> None:
        if done == 1:
            clear_left(tmp_path / "world")

    write_world(tmp_path / "world", count=3, progress=also)
    assert len(list((tmp_path / "world").rglob("*.png"))) == 3


def test_a_world_tells_what_it_is_of(tmp_path: Path) -> None:
    folder = write_world(tmp_path / "world", count=3, seed=7, shortcut=True)
    assert world_in(folder) == Made(3, 7, shortcut=True)
    (folder / "world.json").unlink()
    assert world_in(folder) == Made(3, None), "as those were written that had no such file"
    (folder / "labels.csv").unlink()
    assert world_in(folder) is None


# What is refused


@pytest.mark.parametrize("count", [-1, 0, 1_000_001])
def test_a_world_has_a_count_of_pictures(count: int, tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match=f"no world of {count} pictures; a count is from 1"):
        write_world(tmp_path / "world", count=count)
    assert not (tmp_path / "world").exists()


@pytest.mark.parametrize("seed", [-1, 2**20])
def test_a_world_has_a_seed(seed: int, tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match=f"no world {seed}; a seed is a number from 0"):
        write_world(tmp_path / "world", count=1, seed=seed)


def test_a_folder_with_other_content_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "world" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(RetroscopeError, match=r"world' is not empty; name a new one"):
        write_world(mine.parent, count=1)
    assert list(mine.parent.iterdir()) == [mine]


def test_a_folder_of_masks_with_other_content_is_left_alone_too(tmp_path: Path) -> None:
    mine = tmp_path / "world-parts" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(RetroscopeError, match=r"world-parts' is not empty"):
        write_world(tmp_path / "world", count=1, masks=True)
    assert not (tmp_path / "world").exists()
    assert write_world(tmp_path / "world", count=1).is_dir()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RetroscopeError, match="is a file; name a new folder"):
        write_world(tmp_path / "file", count=1)
    with pytest.raises(RetroscopeError, match=r"cannot make the folder '.*file': it is a file"):
        write_world(tmp_path / "file" / "world", count=1)
