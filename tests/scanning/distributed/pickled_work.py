"""What workers are sent, done in this process: one more takes seconds to start."""

import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.runners.in_process import InProcess
from retroscope.scanning.runners.work import Work
from retroscope.scanning.runners.workers import Runner, WorkerPool


class PickledWorkHere(WorkerOptions):
    """Work and tasks go through bytes, as on the way to a worker, and are done here."""

    def runner(self, device: torch.device, threads: int) -> Runner:
        del device, threads
        return _PicklingRunner()


PICKLED_WORK_HERE = PickledWorkHere("processes", 1, threads=1)


class _PicklingRunner:
    def open_pool(self, work: Work[Any, Any]) -> AbstractContextManager[WorkerPool]:
        return InProcess().open_pool(_PickledWork(pickle.dumps(work)))


@dataclass(frozen=True)
class _PickledWork:
    data: bytes

    def open(self) -> Callable[[Any], Any]:
        do = pickle.loads(self.data).open()  # noqa: S301
        return lambda task: do(pickle.loads(pickle.dumps(task)))  # noqa: S301
