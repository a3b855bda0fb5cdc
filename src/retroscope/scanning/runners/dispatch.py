"""The loop that keeps workers busy: each has one task, lost ones are replaced.

```
            pull             send             report
    tasks -------> pending -------> running -------> outcome
                      ^                |
                      +--- retried ----+  its worker died or hung
```
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from time import monotonic
from typing import Generic, cast

from retroscope.scanning.runners.work import (
    Deadly,
    Failed,
    Finished,
    Limits,
    Outcome,
    Result,
    RunListener,
    RunnerError,
    RunStatus,
    Task,
    Work,
    ignore_status,
)
from retroscope.scanning.runners.workers import (
    Died,
    Opened,
    Report,
    Runner,
    TaskResult,
    WorkerPool,
    WorkError,
)

_POLL_SECONDS = 0.5
_DEATHS_WHILE_OPENING, _DEATHS_WITHOUT_PAUSE = 6, 3


def run(
    work: Work[Task, Result],
    tasks: Iterable[Task],
    *,
    runner: Runner,
    limits: Limits | None = None,
    listener: RunListener = ignore_status,
) -> Generator[Outcome[Task, Result], None, None]:
    """Does each task once, and yields its outcome as soon as it is known.

    Tasks are pulled when a worker is free. Wrap it in `contextlib.closing` where the iteration may
    end early: closing ends all workers.
    """
    with runner.open_pool(work) as pool:
        count = len(tasks) if isinstance(tasks, Sized) else pool.capacity
        loop = _Loop[Task, Result](
            pool,
            iter(tasks),
            capacity=min(pool.capacity, count),
            limits=limits or Limits(),
            listener=listener,
        )
        yield from loop.outcomes()


@dataclass(eq=False)
class _TaskRun(Generic[Task]):
    """A task that has been pulled, the workers that have it, and why earlier ones died."""

    task: Task
    workers: set[int] = field(default_factory=set)
    deaths: list[str] = field(default_factory=list)


@dataclass(eq=False)
class _Assignment(Generic[Task]):
    """What a worker does, since when; without a task, it opens the work."""

    task_run: _TaskRun[Task] | None
    since: float = field(default_factory=monotonic)


class _Loop(Generic[Task, Result]):
    def __init__(
        self,
        pool: WorkerPool,
        tasks: Iterator[Task],
        *,
        capacity: int,
        limits: Limits,
        listener: RunListener,
    ) -> None:
        self._pool, self._tasks, self._capacity = pool, tasks, capacity
        self._limits, self._listener = limits, listener
        self._pending: deque[_TaskRun[Task]] = deque()
        self._running: dict[_TaskRun[Task], None] = {}  # in the order of their start
        self._busy: dict[int, _Assignment[Task]] = {}
        self._idle: list[int] = []
        self._durations: list[float] = []
        self._outcomes, self._lost = 0, 0
        self._deaths_while_opening, self._start_after = 0, 0.0

    def outcomes(self) -> Iterator[Outcome[Task, Result]]:
        """Runs until each task has its outcome."""
        while self._pull() or self._running:
            self._assign()
            self._start_workers()
            self._report_status()
            for worker, report in self._pool.wait(_POLL_SECONDS):
                yield from self._count(self._handle(worker, report))
            for worker in self._hanging():
                self._pool.kill(worker)
                yield from self._count(self._lose(worker, "it did not answer"))
        self._report_status()

    def _count(self, outcome: Outcome[Task, Result] | None) -> Iterator[Outcome[Task, Result]]:
        if outcome is not None:
            self._outcomes += 1
            yield outcome

    def _report_status(self) -> None:
        at_work = [work for work in self._busy.values() if work.task_run is not None]
        self._listener(RunStatus(self._outcomes, len(self._idle) + len(at_work), self._lost))

    def _pull(self) -> bool:
        """Whether a task is pending, if need be the next of all."""
        if not self._pending:
            self._pending.extend(map(_TaskRun, islice(self._tasks, 1)))
        return bool(self._pending)

    def _assign(self) -> None:
        while self._idle and self._pull():
            self._send(self._pending.popleft())
        while self._idle and (straggler := self._straggler()) is not None:
            self._send(straggler)

    def _send(self, task_run: _TaskRun[Task]) -> None:
        worker = self._idle.pop()
        self._pool.send(worker, task_run.task)
        task_run.workers.add(worker)
        self._running[task_run] = None
        self._busy[worker] = _Assignment(task_run)

    def _straggler(self) -> _TaskRun[Task] | None:
        """The oldest task that takes much longer than the others and has only one worker."""
        if not self._durations:
            return None
        limit = self._limits.straggler_share * median(self._durations)
        for task_run in self._running:
            if len(task_run.workers) == 1:
                (worker,) = task_run.workers
                if monotonic() - self._busy[worker].since > limit:
                    return task_run
        return None

    def _start_workers(self) -> None:
        """Replaces lost workers; with pauses, if they die while they open the work."""
        is_early = monotonic() < self._start_after
        missing = self._capacity - len(self._busy) - len(self._idle)
        for _ in range(0 if is_early else missing):
            self._busy[self._pool.start_worker()] = _Assignment(None)

    def _handle(self, worker: int, report: Report) -> Outcome[Task, Result] | None:
        if isinstance(report, Died):
            return self._lose(worker, report.reason)
        task_run = self._busy.pop(worker).task_run
        if isinstance(report, WorkError) and task_run is None:
            error = RunnerError(f"a worker cannot start: {report.message}")
            error.add_note(report.trace)
            raise error
        self._idle.append(worker)
        if isinstance(report, Opened):
            self._deaths_while_opening = 0
            return None
        assert task_run is not None
        assert isinstance(report, TaskResult | WorkError)
        task_run.workers.remove(worker)
        if task_run not in self._running:
            return None  # another worker was faster
        del self._running[task_run]
        if isinstance(report, WorkError):
            return Failed(task_run.task, report.message, report.trace)
        self._durations.append(report.seconds)
        return Finished(task_run.task, cast("Result", report.result), report.seconds)

    def _lose(self, worker: int, reason: str) -> Outcome[Task, Result] | None:
        """A worker has died: its task is pending again, unless it has died too often."""
        self._lost += 1
        if worker in self._idle:
            self._idle.remove(worker)
            return None
        task_run = self._busy.pop(worker).task_run
        if task_run is None:
            self._pause_starts(reason)
            return None
        task_run.workers.remove(worker)
        task_run.deaths.append(reason)
        if task_run.workers or task_run not in self._running:
            return None
        del self._running[task_run]
        if len(task_run.deaths) >= self._limits.deaths:
            return Deadly(task_run.task, tuple(task_run.deaths))
        self._pending.append(task_run)
        return None

    def _pause_starts(self, reason: str) -> None:
        self._deaths_while_opening += 1
        count = self._deaths_while_opening
        if count >= _DEATHS_WHILE_OPENING and not self._idle and not self._running:
            raise RunnerError(
                f"workers cannot start: {count} ended before they were ready ({reason}); is there "
                "enough memory for each? start fewer",
                parameter="workers",
            )
        if count > _DEATHS_WITHOUT_PAUSE:
            self._start_after = monotonic() + 2.0 ** (count - _DEATHS_WITHOUT_PAUSE)

    def _hanging(self) -> list[int]:
        """Workers whose task takes far longer than others."""
        limits = self._limits
        limit = limits.first_hang
        if self._durations:
            limit = max(limits.shortest_hang, limits.hang_share * median(self._durations))
        now = monotonic()
        return [
            worker
            for worker, assignment in self._busy.items()
            if now - assignment.since > (limit if assignment.task_run else limits.first_hang)
        ]
