"""A scan killed at any moment goes on, and ends with the same atlas."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from sqlite3 import connect
from time import perf_counter, sleep

import pytest

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.schema import AtlasError
from tests.scanning.scans import table_rows, write_images

KILLS = int(os.environ.get("RETROSCOPE_KILLS", "3"))
SCANNER = """
import os, sys
import torch
torch.set_num_threads(1)
from retroscope.scanning import checkpoints, hit_order, job, precision, winners
from tests.scanning.conftest import is_any_device
from tests.scanning.scans import tiny
precision.has_bf16_instructions = is_any_device
checkpoints.CHECKPOINT_SECONDS, checkpoints.CHECKPOINT_SHARE = 0, float("inf")
hit_order.MAX_HITS_PER_PORTION, winners.IMAGES_PER_TRANSACTION = 8, 4
for line in sys.stdin:
    child = os.fork()
    if not child:
        images, to, numbers = line.rstrip("\\n").split("\\t")
        net = tiny(torch.float32)
        job.scan(net, images, to=to, batch_size=2, top=3, precision=numbers)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Torch is imported once; each scan is a process of its own, made before any network runs."""

Scanner = subprocess.Popen[str]


@dataclass(frozen=True)
class Job:
    """Scans that are all the same but for the file they go to."""

    scanning: Scanner
    images: Path
    precision: str


@contextmanager
def scanner() -> Iterator[Scanner]:
    with subprocess.Popen(
        [sys.executable, "-c", SCANNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        yield process


def start(job: Job, to: Path) -> int:
    """The process of a scan that has begun."""
    assert job.scanning.stdin is not None
    job.scanning.stdin.write(f"{job.images}\t{to}\t{job.precision}\n")
    job.scanning.stdin.flush()
    return reported_progress(job.scanning)


def reported_progress(scanning: Scanner) -> int:
    assert scanning.stdout is not None
    return int(scanning.stdout.readline())


def run_to_its_end(job: Job, to: Path) -> float:
    """How long it takes."""
    begun = perf_counter()
    start(job, to)
    assert reported_progress(job.scanning) == 0
    return perf_counter() - begun


def kill_after(seconds: float, job: Job, to: Path) -> bool:
    """Whether it was killed before its end."""
    child = start(job, to)
    sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    return reported_progress(job.scanning) == signal.SIGKILL


def states(to: Path) -> str:
    """What the atlas says of itself; it is there and whole, or not begun."""
    if not to.exists() or not to.stat().st_size:
        with pytest.raises(AtlasError):
            open_atlas(to)
        return "no atlas"
    with closing(connect(to)) as file:
        if not file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            with pytest.raises(AtlasError, match=r"holds nothing yet|is an empty file"):
                open_atlas(to)
            return "no atlas"
    with open_atlas(to) as atlas:
        assert atlas.sql("PRAGMA integrity_check") == [("ok",)]
        assert all(row.status in ("pending", "ok") for row in atlas.images)
        return f"{atlas.meta.get('state', 'new')} {atlas.meta.get('next', 0)}"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork and no kill -9")
@pytest.mark.parametrize("precision", ["full", "bf16"])
def test_killed_at_any_moment_the_same_call_ends_with_the_same_atlas(
    tmp_path: Path, precision: str
) -> None:
    random = Random(KILLS)  # noqa: S311
    with scanner() as scanning:
        job = Job(scanning, write_images(tmp_path / "photos", 40), precision)
        run_to_its_end(job, tmp_path / "whole")
        whole = table_rows(tmp_path / "whole")
        longest = run_to_its_end(job, tmp_path / "again")
        assert table_rows(tmp_path / "again") == whole
        seen = []
        for kill in range(KILLS):
            to = tmp_path / f"{kill}.atlas"
            early = longest * (kill + random.random()) / KILLS
            killed = kill_after(early, job, to)
            seen.append((killed, states(to)))
            if kill % 2:
                kill_after(longest * random.random(), job, to)
                states(to)
            run_to_its_end(job, to)
            assert table_rows(to) == whole, seen
            assert not list(tmp_path.glob("*-*"))
        print(seen)  # noqa: T201 - a failing run, and one with -s, shows when it was killed
        assert sum(killed for killed, _ in seen) >= KILLS // 2
