"""One writer at a time, in any thread and process; a killed one does not block the next."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier

import pytest

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.schema import AtlasError
from retroscope.atlas.write_lock import WriteLock, lock_path, refuse_second_writer
from retroscope.atlas.writer import AtlasWriter
from tests.atlas import small_atlas

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")

HOLDER = """
import sys
from retroscope.atlas.writer import AtlasWriter
with AtlasWriter(sys.argv[1]) as writer:
    print("open", flush=True)
    sys.stdin.read()
"""
COUNTERS, ROUNDS = 4, 40
COUNTER = """
import sys
from pathlib import Path
from retroscope.atlas.schema import AtlasError
from retroscope.atlas.write_lock import WriteLock
path, counter, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
while rounds:
    try:
        lock = WriteLock(path)
    except AtlasError:
        continue
    count = int(counter.read_text())
    counter.write_text(str(count + 1))
    lock.release()
    rounds -= 1
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    small_atlas.write(tmp_path / "a.atlas")
    return tmp_path / "a.atlas"


@contextmanager
def writing_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the atlas open for writing until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process


def test_a_second_process_is_refused_with_the_number_of_the_first(path: Path) -> None:
    with writing_process(path) as process:
        words = rf"^another scan is writing '.*a\.atlas' \(process {process.pid}\); wait for it or "
        for _ in range(2):
            with pytest.raises(AtlasError, match=words):
                AtlasWriter(path)
            with pytest.raises(AtlasError, match=words):
                refuse_second_writer(path)
        with open_atlas(path) as atlas:
            assert len(atlas["conv1:0"].patches) == 3
    AtlasWriter(path).close()
    assert [file.name for file in path.parent.iterdir()] == ["a.atlas"]


def test_restart_does_not_empty_an_atlas_that_is_being_written(path: Path) -> None:
    refused = pytest.raises(AtlasError, match="another scan is writing")
    with writing_process(path), refused:
        AtlasWriter(path, restart=True)
    with open_atlas(path) as atlas:
        assert len(atlas["conv1:0"].patches) == 3


def test_a_second_writer_of_the_same_process_is_refused(path: Path) -> None:
    with AtlasWriter(path) as writer:
        with pytest.raises(AtlasError, match=rf"\(process {os.getpid()}\)"):
            AtlasWriter(path)
        with writing_refused_in_another_process(path), writer.transaction():
            writer.put_meta({"model": "first"})
    with open_atlas(path) as atlas:
        assert atlas.meta["model"] == "first"


@contextmanager
def writing_refused_in_another_process(path: Path) -> Iterator[None]:
    """A refusal in this process must not have taken the lock away."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    process = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert "another scan is writing" in process.stderr
    yield


def test_of_many_threads_exactly_one_writes(path: Path) -> None:
    barrier = Barrier(8)

    def open_writer(_: int) -> AtlasWriter | None:
        barrier.wait()
        try:
            return AtlasWriter(path)
        except AtlasError:
            return None

    for _ in range(10):
        with ThreadPoolExecutor(8) as pool:
            writers = list(filter(None, pool.map(open_writer, range(8))))
        assert len(writers) == 1
        writers[0].close()


def test_a_link_to_an_atlas_has_the_lock_of_the_atlas(path: Path) -> None:
    link = path.parent / "elsewhere" / "link.atlas"
    link.parent.mkdir()
    link.symlink_to(path)
    with AtlasWriter(path), pytest.raises(AtlasError, match=r"writing '.*link\.atlas'"):
        AtlasWriter(link)
    with AtlasWriter(link), pytest.raises(AtlasError, match=r"writing '.*a\.atlas'"):
        AtlasWriter(path)


def test_processes_never_hold_the_lock_together_although_its_file_comes_and_goes(
    path: Path,
) -> None:
    """Each reads a number and writes the next one; together they would lose some."""
    counter = path.parent / "counter"
    counter.write_text("0")
    arguments = [sys.executable, "-c", COUNTER, str(path), str(counter), str(ROUNDS)]
    processes = [subprocess.Popen(arguments) for _ in range(COUNTERS)]
    assert [process.wait(120) for process in processes] == [0] * COUNTERS
    assert int(counter.read_text()) == COUNTERS * ROUNDS
    assert not lock_path(path).exists()


@needs_signals
def test_a_killed_writer_leaves_its_lock_file_but_not_its_lock(path: Path) -> None:
    with writing_process(path) as process:
        process.kill()
        process.wait()
    assert lock_path(path).exists()
    refuse_second_writer(path)
    with AtlasWriter(path) as writer:
        assert writer.meta["model"] == "täst"
    assert not lock_path(path).exists()


@needs_signals
def test_a_child_that_outlives_a_killed_writer_does_not_keep_the_lock(path: Path) -> None:
    forking = HOLDER.replace('print("open"', 'os.fork() or time.sleep(30)\n    print("open"')
    process = subprocess.Popen(
        [sys.executable, "-c", "import os, time" + forking, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)
        AtlasWriter(path).close()
        os.killpg(process.pid, signal.SIGKILL)


@needs_signals
def test_a_forked_child_neither_has_nor_ends_the_lock_of_its_parent(path: Path) -> None:
    with AtlasWriter(path) as writer:
        child = os.fork()
        if not child:
            try:
                AtlasWriter(path)
            except AtlasError as error:
                writer._connection._lock.release()
                os._exit(0 if f"(process {os.getppid()})" in str(error) else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert lock_path(path).exists()
        with pytest.raises(AtlasError, match="another scan is writing"):
            AtlasWriter(path)


def test_a_writer_that_nobody_closed_gives_the_lock_back(path: Path) -> None:
    writer = AtlasWriter(path)
    del writer
    AtlasWriter(path).close()


def test_a_lock_file_that_may_not_be_opened_is_named(path: Path) -> None:
    lock_path(path).mkdir()
    words = r"its lock '.*a\.atlas-lock' cannot be opened \(.+\); delete it "
    with pytest.raises(AtlasError, match=words):
        AtlasWriter(path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need privileges")
def test_a_link_in_place_of_the_lock_file_is_not_followed(path: Path) -> None:
    precious = path.parent / "precious"
    precious.write_text("keep this")
    lock_path(path).symlink_to(precious)
    with pytest.raises(AtlasError, match=r"its lock .* cannot be opened"):
        AtlasWriter(path)
    assert precious.read_text() == "keep this"


def test_a_new_atlas_is_locked_before_its_file_exists(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "new.atlas")
    with pytest.raises(AtlasError, match="another scan is writing"):
        AtlasWriter(tmp_path / "new.atlas")
    assert not (tmp_path / "new.atlas").exists()
    lock.release()
