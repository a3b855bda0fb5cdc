"""Which folders and files are clips and volumes: what the network takes decides."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from retroscope.errors import ImageError
from retroscope.scanning.sources import list_images


def write_clip(folder: Path, count: int = 3, *, level: int = 0) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        PIL.Image.new("RGB", (8, 6), (number, level, 0)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_clip(tmp_path / "cat" / "a", level=1)
    write_clip(tmp_path / "cat" / "b", level=2)
    write_clip(tmp_path / "dog" / "a", level=3)
    np.save(tmp_path / "dog" / "volume.npy", np.zeros((4, 5, 6), np.uint8))
    return tmp_path


def test_folders_are_clips_for_a_network_of_clips_and_classes_for_one_of_images(
    folder: Path,
) -> None:
    clips = list_images(folder, takes_volumes=True)
    assert clips.keys == ["cat/a", "cat/b", "dog/a", "dog/volume.npy"]
    assert [clips.class_names[label] for label in clips.labels] == ["cat", "cat", "dog", "dog"]
    assert "3 folders of frames are clips, such as 'cat/a'" in [note.text for note in clips.notes]
    images = list_images(folder)
    assert len(images.keys) == 9
    assert images.class_names == ["cat", "dog"]


def test_a_clip_is_known_by_the_content_of_all_its_frames(folder: Path) -> None:
    clips = list_images(folder, takes_volumes=True)
    assert clips.files is not None
    before, other = clips.files.status(0), clips.files.status(1)
    assert before is not None
    assert other is not None
    frame = folder / "cat" / "a" / "1.png"
    frame.write_bytes(frame.read_bytes() + b"more")
    after = clips.files.status(0)
    assert after is not None
    assert after.size == (before.size or 0) + 4
    assert clips.files.status(1) == other


def test_files_beside_frames_and_photographs_beside_volumes_are_left_out_and_named(
    folder: Path,
) -> None:
    np.save(folder / "cat" / "a" / "features.npy", np.zeros((4, 5, 6)))
    PIL.Image.new("RGB", (8, 6)).save(folder / "dog" / "cover.png")
    (folder / "cat" / "c.mp4").write_bytes(b"video")
    clips = list_images(folder, takes_volumes=True)
    assert clips.keys == ["cat/a", "cat/b", "dog/a", "dog/volume.npy"]
    texts = [note.text for note in clips.notes]
    assert "left out 2 other files, such as 'cat/a/features.npy'" in texts
    assert "left out 1 video, such as 'cat/c.mp4'" in texts


def test_slices_in_files_of_their_own_are_frames_and_stacks_are_volumes(tmp_path: Path) -> None:
    plane = PIL.Image.new("L", (8, 6))
    (tmp_path / "scan").mkdir()
    for number in range(4):
        plane.save(tmp_path / "scan" / f"{number}.tif")
    (tmp_path / "stacks").mkdir()
    for name in ("a", "b"):
        path = tmp_path / "stacks" / f"{name}.tif"
        plane.save(path, save_all=True, append_images=[plane, plane])
    assert list_images(tmp_path, takes_volumes=True).keys == [
        "scan",
        "stacks/a.tif",
        "stacks/b.tif",
    ]


def test_a_single_clip_and_a_folder_without_clips_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip")
    with pytest.raises(ImageError, match="is one clip of 3 frames"):
        list_images(tmp_path / "clip", takes_volumes=True)
    (tmp_path / "none").mkdir()
    with pytest.raises(ImageError, match="no volumes or clips"):
        list_images(tmp_path / "none", takes_volumes=True)
    (tmp_path / "none" / "a.mov").write_bytes(b"video")
    with pytest.raises(ImageError, match=r"has videos, such as 'a\.mov'.*ffmpeg"):
        list_images(tmp_path / "none", takes_volumes=True)


def test_a_list_names_clips_by_their_folders(folder: Path) -> None:
    paths = [folder / "dog" / "a", folder / "dog" / "volume.npy"]
    assert list_images(paths, takes_volumes=True).keys == list(map(str, paths))


def test_a_few_pictures_beside_volumes_are_not_a_clip(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.zeros((4, 5, 6), np.uint8))
        PIL.Image.new("RGB", (8, 6)).save(tmp_path / f"preview{number}.png")
    clips = list_images(tmp_path, takes_volumes=True)
    assert clips.keys == ["0.npy", "1.npy", "2.npy"]
    assert "left out 3 other files, such as 'preview0.png'" in [note.text for note in clips.notes]


def test_frames_beside_the_folders_of_clips_are_left_out_and_named(folder: Path) -> None:
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (8, 6)).save(folder / name)
    clips = list_images(folder, takes_volumes=True)
    assert clips.keys == ["cat/a", "cat/b", "dog/a", "dog/volume.npy"]
    assert "left out 2 other files, such as 'a.png'" in [note.text for note in clips.notes]


def test_single_images_in_folders_are_no_clips(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_clip(tmp_path / name, count=1)
    with pytest.raises(ImageError, match="no volumes or clips"):
        list_images(tmp_path, takes_volumes=True)
