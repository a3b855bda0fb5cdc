"""Images of the second pass come in order, whoever is slow, and are read once while they last."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest

from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import ImageError, RetroscopeError
from retroscope.network import AnyImage
from retroscope.scanning import images_ahead
from retroscope.scanning.image_files import read_input, refuse_changed_contents
from retroscope.scanning.images_ahead import ImagesAhead
from retroscope.scanning.sources import ImageList, list_images
from tests.scanning.scans import smooth_image, tiny, write_images


def image_list_of(count: int, asked: list[int]) -> ImageList:
    """Every fifth is late, and image 7 is broken."""

    def load(number: int) -> AnyImage:
        asked.append(number)
        if number % 5 == 0:
            sleep(0.005)
        if number == 7:
            raise ImageError("image 7 is broken")
        return smooth_image(number)

    return ImageList([str(number) for number in range(count)], [-1] * count, [], load)


@contextmanager
def reading(
    path: Path, image_list: ImageList, sequence: list[int], *, workers: int = 2, size: int = 99
) -> Iterator[ImagesAhead]:
    with (
        AtlasWriter(path) as writer,
        open_images(writer, image_list, sequence, workers=workers, size=size) as images,
    ):
        yield images


def open_images(
    writer: AtlasWriter, image_list: ImageList, sequence: list[int], *, workers: int, size: int
) -> ImagesAhead:
    def check_file(file: ImageFileRow) -> None:
        refuse_changed_contents(writer, image_list, [file])

    return ImagesAhead(
        tiny(), image_list, sequence, check_file=check_file, workers=workers, size=size
    )


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("size", [3, 99])
def test_images_come_in_the_order_of_the_sequence(tmp_path: Path, workers: int, size: int) -> None:
    sequence, asked = [0, 1, 0, 2, 2, 5, 6, 0, 1, 8, 9, 0], list[int]()
    net, image_list = tiny(), image_list_of(10, asked)
    with reading(tmp_path / "a", image_list, sequence, workers=workers, size=size) as images:
        for index in sequence:
            expected = net.prepare(smooth_image(index))
            assert images.read(index).tensor.equal(expected.tensor)
    if size == 99:
        assert max(Counter(asked).values()) == 1


def test_an_image_that_is_used_twice_in_a_row_is_the_same_object(tmp_path: Path) -> None:
    """Only so does one forward pass serve all of its hits."""
    with reading(tmp_path / "a", image_list_of(3, []), [1, 1, 2, 1]) as images:
        first, again = images.read(1), images.read(1)
        assert first is again
        images.read(2)
        assert images.read(1) is first


def test_only_some_images_are_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_ahead, "IMAGES_AHEAD", 4)
    asked: list[int] = []
    sequence = [number for number in range(100) if number != 7]
    with reading(tmp_path / "a", image_list_of(100, asked), sequence) as images:
        images.read(0)
        sleep(0.1)
        assert sorted(asked) == [0, 1, 2, 3]
        images.read(1)
        sleep(0.1)
        assert sorted(asked) == [0, 1, 2, 3, 4]


def test_a_broken_image_is_named_when_its_turn_comes(tmp_path: Path) -> None:
    with reading(tmp_path / "a", image_list_of(10, []), [6, 7, 8]) as images:
        images.read(6)
        with pytest.raises(ImageError, match="image 7 is broken"):
            images.read(7)


def test_an_image_that_has_changed_since_the_scan_is_refused(tmp_path: Path) -> None:
    net, image_list = tiny(), list_images(write_images(tmp_path / "photos", 3))
    with AtlasWriter(tmp_path / "a") as writer:
        files = [read_input(net, image_list, index)[1] for index in range(3)]
        with writer.transaction():
            writer.put_images(image_list.keys)
            writer.put_image_files(file for file in files if file is not None)
        smooth_image(9).save(tmp_path / "photos" / "01.png")
        with open_images(writer, image_list, [0, 1], workers=2, size=9) as images:
            images.read(0)
            with pytest.raises(RetroscopeError, match=r"'01\.png' has changed since the scan"):
                images.read(1)


def test_stopping_early_leaves_no_thread_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with reading(tmp_path / "a", image_list_of(99, []), [*range(99)], workers=5) as images:
        images.read(0)
    assert set(threading.enumerate()) <= before
