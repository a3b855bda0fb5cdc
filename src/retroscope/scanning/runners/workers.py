"""Workers as the loop sees them: it sends tasks, and reads what they report."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter
from traceback import format_exc
from typing import Any, Protocol

from retroscope.errors import RetroscopeError, describe_error
from retroscope.scanning.runners.work import Work


@dataclass(frozen=True)
class Opened:
    """A worker is ready for its first task."""


@dataclass(frozen=True)
class TaskResult:
    """A worker has done its task."""

    result: object
    seconds: float


@dataclass(frozen=True)
class WorkError:
    """Opening the work or doing the task raised an error."""

    message: str
    trace: str


@dataclass(frozen=True)
class Died:
    """A worker has ended, whatever it was doing."""

    reason: str


Report = Opened | TaskResult | WorkError | Died


class WorkerPool(Protocol):
    """Workers of one kind of work, by numbers that are not used again."""

    capacity: int
    """How many are to be at work."""

    def start_worker(self) -> int:
        """Starts a worker, which opens the work; returns its number."""
        ...  # pragma: no cover

    def send(self, worker: int, task: object) -> None:
        """Gives a worker its next task."""
        ...  # pragma: no cover

    def wait(self, seconds: float) -> Sequence[tuple[int, Report]]:
        """What workers have reported, at the latest after so many seconds."""
        ...  # pragma: no cover

    def kill(self, worker: int) -> None:
        """Ends a worker at once; nothing is heard of it any more."""
        ...  # pragma: no cover


class Runner(Protocol):
    """A place where workers run: `open_pool` starts none yet, and its end leaves none."""

    def open_pool(self, work: Work[Any, Any]) -> AbstractContextManager[WorkerPool]:
        """Workers for this work."""
        ...  # pragma: no cover


def do_task(function: Callable[[object], object], task: object) -> TaskResult | WorkError:
    """Does a task in a worker."""
    start = perf_counter()
    try:
        return TaskResult(function(task), perf_counter() - start)
    except Exception as error:  # noqa: BLE001 - the driver reports it
        return work_error(error)


def work_error(error: Exception) -> WorkError:
    """An error that was just raised in a worker, as text: not all errors can be pickled."""
    if isinstance(error, RetroscopeError):
        return WorkError(str(error), "")
    return WorkError(describe_error(error), format_exc())
