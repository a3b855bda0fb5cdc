"""Progress on a terminal as a bar, elsewhere as a plain line now and then."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from retroscope.progress import Progress

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def shown_progress() -> "Iterator[Callable[[Progress], None]]":
    """A listener that shows on stderr how far the work is."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
    )
    with Bars(*columns, console=console) as bars:
        yield _Bars(bars)


@contextmanager
def resumable(atlas: Path) -> "Iterator[_Told]":
    """Shows how far work is that an atlas keeps; stopped, it says where that goes on, and ends."""
    told = None
    try:
        with shown_progress() as progress:
            told = _Told(progress)
            yield told
    except KeyboardInterrupt:
        if told is None or told.last is None or not atlas.is_file():
            raise
        click.echo(f"retroscope: {_where_stopped(atlas, told.last)}", err=True)
        sys.exit(130)


class _Told:
    """A listener that remembers what it was told last; None where there was nothing to do."""

    def __init__(self, listener: "Callable[[Progress], None]") -> None:
        self._listener = listener
        self.last: Progress | None = None

    def __call__(self, progress: "Progress") -> None:
        self.last = progress
        self._listener(progress)


def _where_stopped(atlas: Path, last: "Progress") -> str:
    """How far the atlas is. It knows best: what was told of a pass may not have been kept."""
    from retroscope.atlas.reader import open_atlas

    with open_atlas(atlas) as kept:
        scanning = kept.meta.get("state") in ("scanning", "scoring")
        done = kept.meta["next"] if scanning else last.done
    stage = "" if last.stage == "scan" else f"{last.stage!r} "
    return f"stopped at {stage}{done} of {last.total}; the same command goes on"


class _Bars:
    def __init__(self, bars: "Bars") -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: "Progress") -> None:
        if progress.stage not in self._tasks:
            self._tasks[progress.stage] = self._bars.add_task(progress.stage, facts="")
        self._bars.update(
            self._tasks[progress.stage],
            completed=progress.done,
            total=progress.total,
            facts=_facts(progress),
        )


class _Lines:
    def __init__(self) -> None:
        self._said_at = float("-inf")
        self._stage = ""

    def __call__(self, progress: "Progress") -> None:
        is_due = monotonic() - self._said_at > SECONDS_BETWEEN_LINES
        if progress.done < progress.total and progress.stage == self._stage and not is_due:
            return
        self._said_at, self._stage = monotonic(), progress.stage
        parts = (progress.stage, f"{progress.done}/{progress.total}", _facts(progress))
        click.echo(" ".join(filter(None, parts)), err=True)


def _facts(progress: "Progress") -> str:
    """The rate and, where there is more to do, the time left."""
    if progress.rate == 0:
        return ""
    rate = f"{progress.rate:.1f}/s"
    if progress.done >= progress.total:
        return rate
    return f"{rate}, {in_time(progress.seconds_left)} left"


def in_time(seconds: float) -> str:
    """A length of time for people.

    >>> in_time(0.2), in_time(75), in_time(3 * 3600 + 120)
    ('a second', '1 min 15 s', '3 h 2 min')
    """
    if seconds < 1.5:
        return "a second"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
