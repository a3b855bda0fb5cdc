"""A world on disk: pictures in folders by class, their labels, and where their parts are."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from retroscope.atlas.sources import pictures
from retroscope.errors import RetroscopeError
from retroscope.world import LABELS, MARKED, PARTS, scene_of, write_world


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
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_labels_are_written_when_all_is_there(tmp_path: Path) -> None:
    def break_off(done: int, _count: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_world(tmp_path / "world", count=3, progress=break_off)
    assert len(list((tmp_path / "world").rglob("*.png"))) == 2
    assert not (tmp_path / "world" / "labels.csv").exists()


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
    with pytest.raises(RetroscopeError, match=r"cannot write '.*file/world/bicycle/000000\.png'"):
        write_world(tmp_path / "file" / "world", count=1)
