"""How far a long operation has come. Whoever starts it decides how that is displayed."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import perf_counter


@dataclass(frozen=True)
class Progress:
    """`completed` of `total` items of a stage, of which an earlier run did `skipped`.

    The stage ends after `max_seconds`, also if items are left.

    >>> Progress("illustrate", 10, 1000, skipped=0, seconds=1.0, max_seconds=20.0).seconds_left
    19.0
    """

    stage: str
    completed: int
    total: int
    skipped: int
    seconds: float
    max_seconds: float = inf

    @property
    def rate(self) -> float:
        """Items per second in this run."""
        return (self.completed - self.skipped) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """The time left at this rate, or until the stage ends."""
        for_all = (self.total - self.completed) / self.rate if self.rate > 0 else inf
        return min(for_all, max(self.max_seconds - self.seconds, 0.0))


ProgressListener = Callable[[Progress], None]


def ignore_progress(_progress: Progress) -> None:
    """A listener that displays nothing."""


class ProgressReporter:
    """Reports the progress of one stage to a listener."""

    def __init__(
        self,
        stage: str,
        total: int,
        listener: ProgressListener,
        *,
        completed: int = 0,
        max_seconds: float = inf,
    ) -> None:
        self._stage, self._total, self._listener, self._skipped = stage, total, listener, completed
        self._max_seconds = max_seconds
        self._start = perf_counter()
        self.update(completed)
        self._start = perf_counter()  # leaves out the time of the listener's first call

    def update(self, completed: int) -> None:
        """Reports how many items are completed; a stage without items is not reported."""
        if self._total == 0:
            return
        seconds = perf_counter() - self._start
        state = Progress(
            self._stage, completed, self._total, self._skipped, seconds, self._max_seconds
        )
        self._listener(state)


def progress_callback(stage: str, listener: ProgressListener) -> Callable[[int, int], None]:
    """A function of (completed, total) that reports to a listener; the first call starts it."""
    reporters: list[ProgressReporter] = []

    def report(completed: int, total: int) -> None:
        if reporters:
            reporters[0].update(completed)
        else:
            reporters.append(ProgressReporter(stage, total, listener, completed=completed))

    return report
