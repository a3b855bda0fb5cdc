"""Rows are encoded and written beside who adds them: in order, all or none, and never too many."""

import threading
from collections.abc import Sequence
from pathlib import Path
from time import sleep

import pytest

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.schema import AtlasError, Json
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import ImageError
from retroscope.scanning.background_writer import GROUPS_WAITING, BackgroundWriter


def slow_square(number: int) -> int:
    """The first of ten is the slowest."""
    sleep(0.002 * (9 - number % 10))
    return number * number


class Facts:
    """Writes rows as one fact, and remembers them."""

    def __init__(self, writer: AtlasWriter) -> None:
        self.writer, self.groups = writer, list[list[int]]()

    def put(self, rows: Sequence[int]) -> None:
        self.groups.append(list(rows))
        squares: list[Json] = [square for group in self.groups for square in group]
        self.writer.put_meta({"squares": squares})


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_groups_are_written_in_the_order_in_which_they_come(tmp_path: Path, workers: int) -> None:
    with AtlasWriter(tmp_path / "a") as writer:
        facts = Facts(writer)
        with BackgroundWriter(writer, slow_square, facts.put, workers=workers) as background:
            for start in range(0, 30, 10):
                background.add(range(start, start + 10))
            background.add([])
            assert background.wait() == 30
    assert facts.groups == [
        [number * number for number in range(start, start + 10)] for start in (0, 10, 20)
    ]
    with open_atlas(tmp_path / "a") as atlas:
        assert atlas.meta["squares"] == [number * number for number in range(30)]


def test_only_what_is_in_the_file_counts_as_stored(tmp_path: Path) -> None:
    entered, resumed = threading.Event(), threading.Event()
    with AtlasWriter(tmp_path / "a") as writer:

        def put(_: Sequence[int]) -> None:
            entered.set()
            assert resumed.wait(60)

        with BackgroundWriter(writer, slow_square, put, workers=2) as background:
            background.add([1, 2, 3])
            assert entered.wait(60)
            assert background.stored == 0
            resumed.set()
            assert background.wait() == background.stored == 3


def test_who_adds_more_than_can_be_written_waits(tmp_path: Path) -> None:
    resumed, added = threading.Event(), list[int]()
    with AtlasWriter(tmp_path / "a") as writer:

        def put(_: Sequence[int]) -> None:
            assert resumed.wait(60)

        with BackgroundWriter(writer, slow_square, put, workers=2) as background:

            def add_groups() -> None:
                for number in range(GROUPS_WAITING + 3):
                    background.add([number])
                    added.append(number)

            thread = threading.Thread(target=add_groups)
            thread.start()
            sleep(0.2)
            assert len(added) == GROUPS_WAITING
            resumed.set()
            thread.join()
            assert background.wait() == GROUPS_WAITING + 3


@pytest.mark.parametrize("part", ["encode", "put"])
def test_an_error_of_a_thread_stops_with_its_own_message(tmp_path: Path, part: str) -> None:
    written: list[int] = []
    with AtlasWriter(tmp_path / "a") as writer:

        def encode(number: int) -> int:
            if part == "encode" and number == 3:
                raise ImageError("image 3 is broken")
            return number

        def put(rows: Sequence[int]) -> None:
            if part == "put" and 3 in rows:
                raise ImageError("image 3 is broken")
            written.extend(rows)

        def add_groups() -> None:
            with BackgroundWriter(writer, encode, put, workers=2) as background:
                for start in range(0, 100, 2):
                    background.add([start, start + 1])

        with pytest.raises(ImageError, match=r"^image 3 is broken$"):
            add_groups()
    assert written == [0, 1]


def test_the_error_of_the_last_group_is_raised_at_the_end(tmp_path: Path) -> None:
    def fail(_: int) -> int:
        raise AtlasError("the disk is full")

    with (
        AtlasWriter(tmp_path / "a") as writer,
        pytest.raises(AtlasError, match="the disk is full"),
        BackgroundWriter(writer, fail, Facts(writer).put, workers=2) as background,
    ):
        background.add([1])


def test_what_was_added_before_a_ctrl_c_is_written_and_no_thread_goes_on(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with AtlasWriter(tmp_path / "a") as writer:
        facts = Facts(writer)

        def interrupt() -> None:
            with BackgroundWriter(writer, slow_square, facts.put, workers=3) as background:
                background.add(range(10))
                background.add(range(10, 20))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert set(threading.enumerate()) <= before
    assert sum(map(len, facts.groups)) == 20
