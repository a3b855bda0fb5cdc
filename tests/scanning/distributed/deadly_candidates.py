"""Workers that die of an image when it is scored again, and not before. Workers import this."""

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from retroscope.scanning import precision
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.runners.processes import Processes
from retroscope.scanning.runners.work import Work
from retroscope.scanning.runners.workers import Runner, WorkerPool
from retroscope.scanning.sources.image_list import LocalFiles, OpenedImage
from tests.scanning.conftest import is_any_device


@dataclass(frozen=True)
class DeadlyOptions(WorkerOptions):
    """Workers that die of a file of this name once the candidates are known."""

    name: str = ""
    candidates: Path = Path()

    def runner(self, device: torch.device, threads: int) -> Runner:
        del device
        return _Runner(Processes(self.workers or 1, threads=threads), self.name, self.candidates)


@dataclass(frozen=True)
class _Runner:
    inner: Runner
    name: str
    candidates: Path

    @contextmanager
    def open_pool(self, work: Work[Any, Any]) -> Iterator[WorkerPool]:
        with self.inner.open_pool(_Work(work, self.name, self.candidates)) as pool:
            yield pool


@dataclass(frozen=True)
class _Work:
    work: Work[Any, Any]
    name: str
    candidates: Path

    def open(self) -> Any:
        open_file = LocalFiles.open

        def open_or_die(files: LocalFiles, index: int) -> AbstractContextManager[OpenedImage]:
            if files.paths[index].endswith(self.name) and self.candidates.exists():
                os.kill(os.getpid(), signal.SIGKILL)
            return open_file(files, index)

        setattr(LocalFiles, "open", open_or_die)  # noqa: B010 - a method
        setattr(precision, "has_bf16_instructions", is_any_device)  # noqa: B010 - a function
        return self.work.open()
