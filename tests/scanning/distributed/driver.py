"""A scan on workers as a process of its own, which tests kill: its shards have five images."""

import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from random import Random
from threading import Timer
from time import sleep
from typing import Any

import torch

from retroscope.errors import RetroscopeError
from retroscope.scanning.distributed.scan_on_workers import DistributedScan
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.illustrate import parse_ranks
from retroscope.scanning.job import scan
from retroscope.scanning.runners.processes import Processes
from retroscope.scanning.runners.work import Limits, Work
from retroscope.scanning.runners.workers import Runner, WorkerPool
from retroscope.scanning.sources import listing
from retroscope.scanning.sources.image_list import LocalFiles, OpenedImage
from retroscope.scanning.sources.scan_source import ScanSource
from tests.scanning.runners.works import record
from tests.scanning.scans import tiny

IMAGES_PER_SHARD, BATCH_SIZE, TOP = 5, 2, 3


def scan_on(options: WorkerOptions, images: Path, to: Path) -> None:
    """Lots of one shard, and all projections."""
    distributed = DistributedScan(
        tiny(torch.float32),
        ScanSource(images),
        to,
        options,
        top=TOP,
        batch_size=BATCH_SIZE,
        lot_images=IMAGES_PER_SHARD,
    )
    ranks = parse_ranks("all")
    distributed.run(ranks=ranks, restart=False, progress=lambda _progress: None).close()


def scan_at_once(images: Path, to: Path, *, projections: str) -> None:
    """The scan of one process."""
    scan(
        tiny(torch.float32),
        images,
        to=to,
        top=TOP,
        batch_size=BATCH_SIZE,
        projections=projections,
    ).close()


def run_scan(
    to: Path,
    photos: Path,
    *,
    lot_images: int,
    deadly: str = "",
    unsweepable: str = "",
) -> None:
    """On one worker, which dies at an image of this name, or raises an error there.

    One death is enough to take an image for deadly.
    """
    facts = {"deadly": deadly, "unsweepable": unsweepable}
    os.environ.update({f"RETROSCOPE_TEST_{name.upper()}": value for name, value in facts.items()})
    distributed = DistributedScan(
        tiny(torch.float32),
        ScanSource(photos),
        to,
        TroubledOptions("processes", 1, threads=1),
        top=TOP,
        batch_size=BATCH_SIZE,
        lot_images=lot_images,
        limits=Limits(deaths=1),
    )
    distributed.run(
        ranks=parse_ranks("none"), restart=False, progress=lambda _progress: None
    ).close()


class TroubledOptions(WorkerOptions):
    """Workers whose images may be deadly."""

    def runner(self, device: torch.device, threads: int) -> Runner:
        del device
        return TroubledProcesses(1, threads=threads)


class TroubledProcesses(Processes):
    """Processes that change how images are opened before they open their work."""

    @contextmanager
    def open_pool(self, work: Work[Any, Any]) -> Iterator[WorkerPool]:
        with super().open_pool(Troubled(work)) as pool:
            yield pool


@dataclass(frozen=True)
class Troubled:
    """Another work, in a process where some images are deadly or cannot be swept."""

    work: Work[Any, Any]

    def open(self) -> Any:
        setattr(LocalFiles, "open", _open)  # noqa: B010 - a method
        return self.work.open()


_open_file = LocalFiles.open


def _open(files: LocalFiles, index: int) -> AbstractContextManager[OpenedImage]:
    path = files.paths[index]
    if (deadly := os.environ["RETROSCOPE_TEST_DEADLY"]) and path.endswith(deadly):
        os.kill(os.getpid(), signal.SIGKILL)
    if (unsweepable := os.environ["RETROSCOPE_TEST_UNSWEEPABLE"]) and path.endswith(unsweepable):
        raise RetroscopeError(f"{path!r} is in a bucket that cannot be reached")
    return _open_file(files, index)


@dataclass(frozen=True)
class KilledWork:
    """Another work, whose workers are killed at random moments: once for each token of a folder.

    No task is killed more than twice, which would be taken for its own fault.
    """

    work: Work[Any, Any]
    tokens: Path

    def open(self) -> Any:
        do = self.work.open()

        def do_or_die(task: object) -> object:
            name = blake2b(pickle.dumps(task), digest_size=8).hexdigest()
            token = next(iter(sorted(self.tokens.glob("token*"))), None)
            attempt = record(self.tokens, name)
            if token is None or attempt >= 2 or Random(f"{name}{attempt}").random() < 0.4:  # noqa: S311
                return do(task)
            with suppress(FileNotFoundError):  # another worker has taken it
                token.unlink()
            Timer(Random(name).random() / 5, os.kill, (os.getpid(), signal.SIGKILL)).start()  # noqa: S311
            do(task)
            sleep(1000)
            raise AssertionError

        return do_or_die


@dataclass(frozen=True)
class KilledOptions(WorkerOptions):
    """Workers that are killed."""

    tokens: Path = Path()

    def runner(self, device: torch.device, threads: int) -> Runner:
        return KillingRunner(super().runner(device, threads), self.tokens)


@dataclass(frozen=True)
class KillingRunner:
    """A runner whose workers are killed."""

    inner: Runner
    tokens: Path

    def open_pool(self, work: Work[Any, Any]) -> AbstractContextManager[WorkerPool]:
        return self.inner.open_pool(KilledWork(work, self.tokens))


def main(*arguments: str) -> None:
    """A scan whose workers are killed, by the words of a command line."""
    on, workers, images, to, tokens = arguments
    setattr(listing, "IMAGES_PER_SHARD", IMAGES_PER_SHARD)  # noqa: B010 - not a name it exports
    torch.set_num_threads(1)
    options = KilledOptions(on, int(workers), threads=1, tokens=Path(tokens))
    scan_on(options, Path(images), Path(to))
