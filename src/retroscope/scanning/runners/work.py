"""What a runner does, and what becomes of each task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from retroscope.errors import RetroscopeError

Task = TypeVar("Task")
Result = TypeVar("Result")
Task_contra = TypeVar("Task_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class RunnerError(RetroscopeError):
    """Workers that cannot be started, or that cannot do anything."""


class Work(Protocol[Task_contra, Result_co]):
    """How tasks are done. It is pickled, and opened once in each worker.

    A task may be done twice, also at the same time: after its worker has died, and by an idle
    worker at the end. So doing it again must change nothing.
    """

    def open(self) -> Callable[[Task_contra], Result_co]:
        """Prepares a worker; returns the function that does a task."""
        ...  # pragma: no cover


@dataclass(frozen=True)
class Finished(Generic[Task, Result]):
    """A task with its result, and how long its worker took."""

    task: Task
    result: Result
    seconds: float


@dataclass(frozen=True)
class Failed(Generic[Task]):
    """A task that raised an error, which would be raised again: it is not retried.

    `trace` is the traceback, unless the error is one that a user's input causes.
    """

    task: Task
    message: str
    trace: str = ""


@dataclass(frozen=True)
class Deadly(Generic[Task]):
    """A task whose workers died, each time that it was tried."""

    task: Task
    deaths: tuple[str, ...]


Outcome = Finished[Task, Result] | Failed[Task] | Deadly[Task]


@dataclass(frozen=True)
class RunStatus:
    """How a run stands: tasks that have an outcome, and workers."""

    tasks: int
    """Tasks that have an outcome."""
    workers: int
    """Workers that are ready or at work."""
    lost_workers: int
    """Workers that have died or were killed since they did not answer."""


RunListener = Callable[[RunStatus], None]


def ignore_status(_status: RunStatus) -> None:
    """A listener that does nothing."""


@dataclass(frozen=True)
class Limits:
    """When a worker is given up, and when a task.

    A worker hangs if its task takes longer than `shortest_hang` seconds and longer than
    `hang_share` times the median task. Before a task has finished, only `first_hang` counts.
    """

    deaths: int = 3
    first_hang: float = 3600.0
    shortest_hang: float = 600.0
    hang_share: float = 20.0
    straggler_share: float = 1.5
    """Of the median task; a task that takes longer gets a second worker once one is idle."""
