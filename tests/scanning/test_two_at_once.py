"""Of two that write one atlas at once, the second is refused and the first loses nothing."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.schema import AtlasError
from retroscope.progress import Progress
from retroscope.scanning.illustrate import illustrate
from retroscope.scanning.job import scan
from retroscope.scanning.pattern_pass import synthesize_into
from tests.scanning.scans import delete_stored_images, table_rows, tiny, write_images

COUNT = 12
SCANNER = """
import sys
import torch
torch.set_num_threads(1)
from retroscope.scanning import checkpoints, illustrate, job
from tests.scanning.scans import tiny
checkpoints.CHECKPOINT_SECONDS, checkpoints.CHECKPOINT_SHARE = 0, float("inf")
illustrate.IMAGES_PER_TRANSACTION = 4
images, to, stage = sys.argv[1:]

def wait_once(progress):
    global stage
    if progress.stage == stage and progress.completed:
        stage = ""
        print("waiting", flush=True)
        sys.stdin.readline()

job.scan(tiny(), images, to=to, batch_size=4, progress=wait_once).close()
"""
"""Waits in the given stage for a line of input."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos"), COUNT)


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one scan alone writes."""
    path = tmp_path_factory.mktemp("whole") / "whole.atlas"
    scan(tiny(), folder, to=path, batch_size=4).close()
    return path


@contextmanager
def waiting_scan(folder: Path, path: Path, stage: str) -> Iterator[subprocess.Popen[str]]:
    """The process of a scan that waits in this stage, and goes on at the end of the block."""
    if stage == "store images":
        same_scan(folder, path)
        delete_stored_images(path)
    with subprocess.Popen(
        [sys.executable, "-c", SCANNER, str(folder), str(path), stage],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        yield process


def same_scan(folder: Path, path: Path) -> None:
    scan(tiny(), folder, to=path, batch_size=4).close()


def restarted_scan(folder: Path, path: Path) -> None:
    scan(tiny(), folder, to=path, batch_size=4, restart=True).close()


def projections(folder: Path, path: Path) -> None:
    illustrate(path, tiny(), folder)


def patterns(_folder: Path, path: Path) -> None:
    synthesize_into(path, tiny(), steps=1)


WRITERS = [same_scan, restarted_scan, projections, patterns]


@pytest.mark.parametrize("stage", ["scan", "store images", "illustrate"])
def test_while_a_scan_writes_every_other_writer_is_refused_and_readers_read(
    folder: Path, whole: Path, tmp_path: Path, stage: str
) -> None:
    path = tmp_path / "a.atlas"
    with waiting_scan(folder, path, stage) as process:
        for write in WRITERS:
            with pytest.raises(
                AtlasError, match=rf"^another scan is writing .* \(process {process.pid}\)"
            ):
                write(folder, path)
        with open_atlas(path) as atlas:
            assert len(atlas.images) == COUNT
            assert (atlas.meta["state"] == "scanning") == (stage == "scan")
        process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert table_rows(path) == table_rows(whole)
    assert [file.name for file in tmp_path.iterdir()] == ["a.atlas"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
@pytest.mark.parametrize("stage", ["scan", "store images", "illustrate"])
def test_a_killed_scan_does_not_block_the_next(
    folder: Path, whole: Path, tmp_path: Path, stage: str
) -> None:
    path = tmp_path / "a.atlas"
    with waiting_scan(folder, path, stage) as process:
        process.kill()
    with open_atlas(path) as atlas:
        assert len(atlas.images) == COUNT
    same_scan(folder, path)
    assert table_rows(path) == table_rows(whole)
    assert [file.name for file in tmp_path.iterdir()] == ["a.atlas"]


@pytest.mark.parametrize("write", WRITERS)
def test_a_second_writer_in_another_thread_is_refused(
    folder: Path, whole: Path, tmp_path: Path, write: Callable[[Path, Path], None]
) -> None:
    path, waiting, resumed = tmp_path / "a.atlas", Event(), Event()

    def wait_in_projections(progress: Progress) -> None:
        if progress.stage == "illustrate" and not waiting.is_set():
            waiting.set()
            assert resumed.wait(60)

    def run_scan() -> None:
        scan(tiny(), folder, to=path, batch_size=4, progress=wait_in_projections).close()

    thread = Thread(target=run_scan)
    thread.start()
    try:
        assert waiting.wait(60)
        with pytest.raises(AtlasError, match="another scan is writing"):
            write(folder, path)
    finally:
        resumed.set()
        thread.join()
    assert table_rows(path) == table_rows(whole)
