"""Sweeps of parts are killed at any moment; the same commands end with the same atlas."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from time import perf_counter, sleep

import pytest

from retroscope.scanning.lots.merge_segments import merge_lots
from tests.scanning.lots.conftest import IMAGES_PER_SHARD
from tests.scanning.lots.planning import plan, scanned
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.scans import write_images

KILLS = int(os.environ.get("RETROSCOPE_KILLS", "2"))
WORKERS, LONGEST_WAIT = 2, 120.0
SWEEPER = f"""
import os, sys
from importlib.util import find_spec
import torch
torch.set_num_threads(1)
from retroscope.scanning import precision
from retroscope.scanning.lots import whole_files
from retroscope.scanning.lots.sweep_part import sweep
from retroscope.scanning.sources import listing
from tests.scanning import scans  # the class of the pickled network
if find_spec("numba"):
    import numba  # slow to import
precision.has_bf16_instructions = lambda _device: True
listing.IMAGES_PER_SHARD = {IMAGES_PER_SHARD}
for line in sys.stdin:
    child = os.fork()
    if not child:
        folder, number, parts, how = line.rstrip("\\n").split("\\t")
        if how == "die while writing":
            whole_files.os.fsync = lambda _file: os.kill(os.getpid(), 9)
        summary = sweep(folder, part=(int(number), int(parts)), workers=2)
        os._exit(1 if summary.missing else 0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Torch is imported once; each sweep is a process of its own, made before any network runs."""


needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork and no kill -9")


class Sweeper:
    """A process that sweeps one part of a plan after the other, in children that can be killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SWEEPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )

    def start(self, folder: Path, part: tuple[int, int], how: str = "") -> int:
        """Starts to sweep a part; returns the process."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder}\t{part[0]}\t{part[1]}\t{how}\n")
        self._process.stdin.flush()
        return self._read()

    def wait(self) -> int:
        """The exit status of the process."""
        return self._read()

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def sweepers() -> Iterator[list[Sweeper]]:
    processes = [Sweeper() for _ in range(WORKERS)]
    yield processes
    for process in processes:
        process.close()


@needs_fork
@pytest.mark.parametrize("precision", ["full", "bf16"])
@pytest.mark.usefixtures("bf16_on_any_device")
def test_killed_at_any_moment_the_same_commands_make_the_same_atlas(
    sweepers: list[Sweeper], tmp_path: Path, precision: str
) -> None:
    photos = write_images(tmp_path / "photos", 30)
    options = {"precision": precision, "top": 3}
    expected = scanned(photos, tmp_path / "scan.atlas", **options)
    plans = [
        plan(photos, tmp_path / f"{number}.plan", lot_images=5, **options).path
        for number in range(KILLS + 2)
    ]
    run_to_the_end(sweepers, plans[-1])  # the first is slow
    seconds = run_to_the_end(sweepers, plans[-2])
    random, killed = Random(KILLS), 0  # noqa: S311
    for number, folder in enumerate(plans[:KILLS]):
        delays = [0.8 * seconds * (number + random.random()) / KILLS for _ in sweepers]
        killed += start_and_kill(sweepers, folder, delays)
        run_to_the_end(sweepers, folder)
        merge_lots(folder, to=tmp_path / f"{number}.atlas").close()
        assert_same_atlas(expected, tmp_path / f"{number}.atlas")
    assert killed  # the others ended before


@needs_fork
def test_killed_while_it_writes_a_segment_a_sweep_leaves_no_half_of_it(
    sweepers: list[Sweeper], tmp_path: Path
) -> None:
    photos = write_images(tmp_path / "photos", 20)
    expected = scanned(photos, tmp_path / "scan.atlas")
    folder = plan(photos, tmp_path / "p.plan", lot_images=5)
    sweepers[0].start(folder.path, (1, 1), "die while writing")
    assert sweepers[0].wait() == signal.SIGKILL
    assert [path.suffix for path in folder.lots.iterdir() if "seg" in path.name] == [".part"]
    run_to_the_end(sweepers, folder.path)
    merge_lots(folder.path, to=tmp_path / "lots.atlas").close()
    assert_same_atlas(expected, tmp_path / "lots.atlas")
    assert not list(folder.path.rglob(".*"))


def start_and_kill(sweepers: list[Sweeper], folder: Path, delays: list[float]) -> int:
    """Sweeps the parts at once, each killed after a delay; returns how many were not done then."""
    children = [
        sweeper.start(folder, (number, WORKERS)) for number, sweeper in enumerate(sweepers, start=1)
    ]
    start = perf_counter()
    for delay, child in sorted(zip(delays, children, strict=True)):
        sleep(max(start + delay - perf_counter(), 0))
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return sum(sweeper.wait() == signal.SIGKILL for sweeper in sweepers)


def run_to_the_end(sweepers: list[Sweeper], folder: Path) -> float:
    """Runs the parts at once until no lot is missing; returns how long they took."""
    start = perf_counter()
    statuses = [1]
    while any(statuses):
        assert perf_counter() - start < LONGEST_WAIT
        for number, sweeper in enumerate(sweepers, start=1):
            sweeper.start(folder, (number, WORKERS))
        statuses = [sweeper.wait() for sweeper in sweepers]
    return perf_counter() - start
