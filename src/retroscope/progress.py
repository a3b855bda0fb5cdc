"""How far a long operation has come. Whoever starts it decides how that is displayed."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from time import perf_counter


@dataclass(frozen=True)
class Progress:
    """`completed` of `total` items of a stage, of which an earlier run did `skipped`.

    The stage ends after `max_seconds`, also if items are left. `forecast` is the time of the items
    that are left, where they take longer or shorter than those before. `memory_bytes` is about what
    the stage needs, 0 if that is little. `note` says what else there is to say, such as how many
    workers there are.

    >>> Progress("illustrate", 10, 1000, skipped=0, seconds=1.0, max_seconds=20.0).seconds_left
    19.0
    """

    stage: str
    completed: int
    total: int
    skipped: int
    seconds: float
    max_seconds: float = inf
    forecast: float | None = None
    memory_bytes: int = 0
    note: str = ""

    @property
    def rate(self) -> float:
        """Items per second in this run."""
        return (self.completed - self.skipped) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """The time of the items that are left, or until the stage ends; infinite if unknown."""
        for_all = (self.total - self.completed) / self.rate if self.rate > 0 else inf
        if self.forecast is not None:
            for_all = self.forecast
        return min(for_all, max(self.max_seconds - self.seconds, 0.0))


ProgressListener = Callable[[Progress], None]


def ignore_progress(_progress: Progress) -> None:
    """A listener that displays nothing."""


@dataclass(frozen=True)
class StagePart:
    """Items of one kind that follow each other in a stage.

    `cost` compares an item with those of other kinds, in any unit.
    """

    kind: str
    items: int
    cost: float = 1.0


class ProgressReporter:
    """Reports the progress of one stage to a listener.

    `parts` are the kinds of items in the order of the work, if they take different times.
    """

    def __init__(
        self,
        stage: str,
        total: int,
        listener: ProgressListener,
        *,
        completed: int = 0,
        max_seconds: float = inf,
        parts: Sequence[StagePart] = (),
        memory_bytes: int = 0,
    ) -> None:
        self._stage, self._total, self._listener = stage, total, listener
        self._skipped = self._completed = completed
        self._max_seconds, self._memory_bytes = max_seconds, memory_bytes
        self._forecast = _Forecast(parts or [StagePart(stage, total)])
        self._forecast.take(completed)
        self._start = self._reported_at = perf_counter()
        self.update(completed)
        self._start = self._reported_at = perf_counter()  # without the listener's first call

    def update(self, completed: int, *, note: str = "") -> None:
        """Reports how many items are completed; a stage without items is not reported."""
        if self._total == 0:
            return
        now = perf_counter()
        seconds = now - self._start
        if completed > self._completed:
            memory = max(_SHORTEST_MEMORY, seconds * _MEMORY_SHARE)
            items = completed - self._completed
            self._forecast.learn(items, now - self._reported_at, half_life=memory)
            self._completed, self._reported_at = completed, now
        state = Progress(
            self._stage,
            completed,
            self._total,
            self._skipped,
            seconds,
            self._max_seconds,
            self._forecast.seconds_left,
            self._memory_bytes,
            note,
        )
        self._listener(state)


_SHORTEST_MEMORY, _MEMORY_SHARE = 10.0, 0.25
"""After so many seconds, or this share of the time so far, an item counts half of a new one."""


class _Forecast:
    """The time of the items that are left: of each kind, it learns what an item takes.

    The later an item, the more it counts, since the first are slow, and machines get busy. A kind
    that has not come yet is expected to take what its cost says: by the line through the kinds
    that have, which the costly ones decide, as cheap ones are mostly overhead.
    """

    def __init__(self, parts: Sequence[StagePart]) -> None:
        self._queue = deque((part.kind, part.items) for part in parts)
        self._costs = {part.kind: part.cost for part in parts}
        self._left: Counter[str] = Counter()
        for part in parts:
            self._left[part.kind] += part.items
        self._times: dict[str, _RecentMean] = {}

    def take(self, count: int) -> Counter[str]:
        """The next items by their kinds; they are no longer left."""
        taken: Counter[str] = Counter()
        while count > 0 and self._queue:
            kind, items = self._queue.popleft()
            taken[kind] += min(items, count)
            if items > count:
                self._queue.appendleft((kind, items - count))
            count -= items
        self._left -= taken
        return taken

    def learn(self, count: int, seconds: float, *, half_life: float) -> None:
        """The next items took so long; it is divided among their kinds as expected."""
        taken = self.take(count)
        scale = self._seconds_per_cost or 1.0
        expected = {kind: items * self._item_seconds(kind, scale) for kind, items in taken.items()}
        total = sum(expected.values())
        for kind, items in taken.items():
            share = expected[kind] / total if total else 1 / len(taken)
            mean = self._times.setdefault(kind, _RecentMean())
            mean.add(items, seconds * share, half_life=half_life)

    @property
    def seconds_left(self) -> float | None:
        """None before the first item."""
        scale = self._seconds_per_cost
        if scale is None:
            return None
        return sum(items * self._item_seconds(kind, scale) for kind, items in self._left.items())

    def _item_seconds(self, kind: str, scale: float) -> float:
        return self._times[kind].value if kind in self._times else scale * self._costs[kind]

    @property
    def _seconds_per_cost(self) -> float | None:
        """The slope of the line through the origin that fits the kinds so far best."""
        if not self._times:
            return None
        squares = sum(self._costs[kind] ** 2 for kind in self._times)
        products = sum(self._costs[kind] * time.value for kind, time in self._times.items())
        return products / squares if squares else 0.0


@dataclass
class _RecentMean:
    """Seconds per item, where the weight of what was added halves with the time since.

    What was added first counts only until there is more: it includes the warm-up.
    """

    items: float = 0.0
    seconds: float = 0.0
    additions: int = 0

    @property
    def value(self) -> float:
        return self.seconds / self.items

    def add(self, items: int, seconds: float, *, half_life: float) -> None:
        weight = 0.0 if self.additions == 1 else 0.5 ** (seconds / half_life)
        self.additions += 1
        self.items = self.items * weight + items
        self.seconds = self.seconds * weight + seconds


def progress_callback(stage: str, listener: ProgressListener) -> Callable[[int, int], None]:
    """A function of (completed, total) that reports to a listener; the first call starts it."""
    reporters: list[ProgressReporter] = []

    def report(completed: int, total: int) -> None:
        if reporters:
            reporters[0].update(completed)
        else:
            reporters.append(ProgressReporter(stage, total, listener, completed=completed))

    return report
