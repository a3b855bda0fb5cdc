"""The runner without workers: tasks are done here, one after the other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from retroscope.scanning.runners.work import Work
from retroscope.scanning.runners.workers import Opened, Report, WorkerPool, do_task


class InProcess:
    """Does tasks in this process. What kills a worker elsewhere kills this process."""

    @contextmanager
    def open_pool(self, work: Work[Any, Any]) -> Iterator[WorkerPool]:
        """One worker, this process. An error while the work is opened is raised as it is."""
        yield _ThisProcess(work)


class _ThisProcess:
    capacity = 1

    def __init__(self, work: Work[Any, Any]) -> None:
        self._work = work
        self._tasks: list[object] = []

    def start_worker(self) -> int:
        self._do = self._work.open()
        self._reports: list[Report] = [Opened()]
        return 0

    def send(self, worker: int, task: object) -> None:
        del worker
        self._tasks.append(task)

    def wait(self, seconds: float) -> Sequence[tuple[int, Report]]:
        del seconds
        reports, self._reports = self._reports, []
        reports += [do_task(self._do, task) for task in self._tasks]
        self._tasks.clear()
        return [(0, report) for report in reports]

    def kill(self, worker: int) -> None:
        """A task here always has ended before anybody can ask."""
        del worker
