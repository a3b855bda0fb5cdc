"""How far a long piece of work is; whoever started it decides how that looks."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter


@dataclass(frozen=True)
class Progress:
    """`done` of `total` items of a stage, the first `skipped` done in an earlier run."""

    stage: str
    done: int
    total: int
    skipped: int
    seconds: float

    @property
    def rate(self) -> float:
        """Items a second in this run."""
        return (self.done - self.skipped) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """At the present rate."""
        return (self.total - self.done) / self.rate if self.rate > 0 else float("inf")


Listener = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """Tells nobody."""


def watched(stage: str, listener: Listener) -> Callable[[int, int], None]:
    """Tells a listener of work that says how many of how many are done; its first word begins."""
    watches: list[Watch] = []

    def tell(done: int, total: int) -> None:
        if not watches:
            watches.append(Watch(stage, total, listener, done=done))
        else:
            watches[0].at(done)

    return tell


class Watch:
    """Tells a listener how far one stage is."""

    def __init__(self, stage: str, total: int, listener: Listener, *, done: int = 0) -> None:
        self._stage, self._total, self._listener, self._skipped = stage, total, listener, done
        self._start = perf_counter()
        self.at(done)
        self._start = perf_counter()  # what the listener did first is not of this work

    def at(self, done: int) -> None:
        """So many items are done; where there is none to do, nobody is told."""
        if self._total == 0:
            return
        seconds = perf_counter() - self._start
        self._listener(Progress(self._stage, done, self._total, self._skipped, seconds))
