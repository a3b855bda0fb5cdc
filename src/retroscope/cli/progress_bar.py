"""Progress on stderr: bars on a terminal, elsewhere a line every ten seconds."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import isinf
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from retroscope.progress import Progress

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def show_progress() -> "Iterator[Callable[[Progress], None]]":
    """Yields a listener that shows progress on stderr."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressLines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[remaining]}"),
    )
    with RichProgress(*columns, console=console) as bars:
        yield ProgressBars(bars)


LARGE_SECONDS, LARGE_BYTES = 10.0, 1e9
"""Work that takes more is announced, and gets a bar."""


@contextmanager
def show_large_work(noun: str) -> "Iterator[Callable[[Progress], None]]":
    """Yields a listener that is silent unless the work is large.

    As soon as it turns out to be, a line says what it will take, and its progress is shown. `noun`
    is what its items are.
    """
    with ExitStack() as stack:
        yield LargeWork(noun, lambda: stack.enter_context(show_progress()))


class LargeWork:
    """A listener that passes on the progress of large work alone, to one that it opens for it."""

    def __init__(
        self, noun: str, open_listener: "Callable[[], Callable[[Progress], None]]"
    ) -> None:
        self._noun, self._open_listener = noun, open_listener
        self._listener: Callable[[Progress], None] | None = None

    def __call__(self, progress: "Progress") -> None:
        if self._listener is None and _is_large(progress):
            click.echo(_describe_work(progress, self._noun), err=True)
            self._listener = self._open_listener()
        if self._listener is not None:
            self._listener(progress)


def _is_large(progress: "Progress") -> bool:
    """Whether work takes much memory, or time of which much is still to come.

    The first item alone does not tell, as it includes the warm-up.
    """
    has_begun = progress.completed - progress.skipped > 2 or progress.seconds > LARGE_SECONDS / 2
    if isinf(progress.seconds_left) or not has_begun:
        return False
    total = progress.seconds + progress.seconds_left
    is_long = total > LARGE_SECONDS and progress.seconds_left > total / 4
    return is_long or progress.memory_bytes > LARGE_BYTES


def _describe_work(progress: "Progress", noun: str) -> str:
    """`384 steps: about 8 min 5 s and 9.4 GB of memory`."""
    from rich.filesize import decimal

    from retroscope.render.captions import count_noun

    seconds = progress.seconds + progress.seconds_left
    is_much = progress.memory_bytes > LARGE_BYTES
    memory = f" and {decimal(progress.memory_bytes)} of memory" if is_much else ""
    return f"{count_noun(progress.total, noun)}: about {format_duration(seconds)}{memory}"


@contextmanager
def show_resumable_progress(atlas: Path) -> "Iterator[LastProgress]":
    """Shows progress of work that an atlas saves; Ctrl-C reports where the work will resume."""
    listener = None
    try:
        with show_progress() as show:
            listener = LastProgress(show)
            yield listener
    except KeyboardInterrupt:
        if listener is None or listener.last is None or not _is_resumable(atlas):
            raise
        click.echo(f"retroscope: {_describe_interrupt(atlas, listener.last)}", err=True)
        raise click.exceptions.Exit(130) from None


class LastProgress:
    """A listener that remembers its last call; `last` is None if there was nothing to do."""

    def __init__(self, listener: "Callable[[Progress], None]") -> None:
        self._listener = listener
        self.last: Progress | None = None

    def __call__(self, progress: "Progress") -> None:
        self.last = progress
        self._listener(progress)


def _is_resumable(atlas: Path) -> bool:
    return atlas.is_file() or _plan_beside(atlas).exists()


def _plan_beside(atlas: Path) -> Path:
    """The plan of a scan on workers, which saves what they have done."""
    return atlas.with_name(f"{atlas.name}.plan")


def _describe_interrupt(atlas: Path, last: "Progress") -> str:
    """How far the work is; for a pass the atlas decides, as it may lag behind what was shown."""
    from retroscope.atlas.reader import open_atlas

    done: object = last.completed
    if not _plan_beside(atlas).exists():
        with open_atlas(atlas) as scanned:
            is_scanning = scanned.meta.get("state") in ("scanning", "scoring")
            done = scanned.meta["next"] if is_scanning else done
    stage = "" if last.stage == "scan" else f"{last.stage!r} "
    return f"stopped at {stage}{done} of {last.total}; run the same command to resume"


class ProgressBars:
    """Shows a bar for each stage."""

    def __init__(self, bars: "RichProgress") -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: "Progress") -> None:
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(progress.stage, remaining="")
        self._bars.update(
            self._tasks[progress.stage],
            completed=progress.completed,
            total=progress.total,
            remaining=_rate_and_time_left(progress),
        )


class ProgressLines:
    """Prints a line at the start and end of each stage, and every ten seconds between."""

    def __init__(self) -> None:
        self._printed_at = float("-inf")
        self._stage = ""
        self._has_ended = False

    def __call__(self, progress: "Progress") -> None:
        is_due = monotonic() - self._printed_at > SECONDS_BETWEEN_LINES
        is_last, is_first = progress.completed == progress.total, progress.stage != self._stage
        if not (is_first or (not self._has_ended if is_last else is_due)):
            return
        self._has_ended = is_last
        self._printed_at, self._stage = monotonic(), progress.stage
        words = (
            progress.stage,
            f"{progress.completed}/{progress.total}",
            _rate_and_time_left(progress),
        )
        click.echo(" ".join(filter(None, words)), err=True)


def _rate_and_time_left(progress: "Progress") -> str:
    """`3.2/s, 2 min 3 s left`, and the note of the stage.

    rich's own columns would count what an earlier run finished as work of this one.
    """
    parts = [f"{progress.rate:.1f}/s"] if progress.rate else []
    if progress.rate and progress.completed < progress.total:
        parts.append(f"{format_duration(progress.seconds_left)} left")
    return ", ".join(filter(None, [*parts, progress.note]))


def format_duration(seconds: float) -> str:
    """A duration in words.

    >>> format_duration(0.2), format_duration(75), format_duration(120), format_duration(3 * 3600)
    ('a second', '1 min 15 s', '2 min', '3 h')
    """
    if seconds < 1.5:
        return "a second"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"
