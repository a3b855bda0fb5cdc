"""Folders painted aside: whole in their place at the end, or nowhere."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from retroscope.errors import RetroscopeError

_LOCK = "painter.lock"


@contextmanager
def painted_aside(place: Path) -> Iterator[Path]:
    """A new folder to paint in, which becomes `place` at the end, and is gone where that fails.

    It lies beside the place, or in it where that is an empty folder: a rename never goes to
    another disk.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as home:
    ...     with painted_aside(Path(home, "world")) as aside:
    ...         _ = (aside / "cat.png").write_text("a cat")
    ...     [path.name for path in Path(home).rglob("*")]
    ['world', 'cat.png']
    """
    home = place if place.is_dir() else place.parent
    with _made(home):
        clear_left(place)
        around = Path(mkdtemp(prefix=_prefix(place), dir=home))
        try:
            with _held(around):
                aside = around / place.name
                aside.mkdir()
                yield aside
                _put(aside, place)
        finally:
            rmtree(around, ignore_errors=True)


def clear_left(place: Path) -> None:
    """Deletes what a painter of this place left that was killed; one at work keeps its own."""
    for home in filter(Path.is_dir, (place.parent, place)):
        for around in [path for path in home.iterdir() if path.name.startswith(_prefix(place))]:
            if not _is_held(around):
                rmtree(around, ignore_errors=True)


def is_free(place: Path) -> bool:
    """Whether there is nothing, or an empty folder: what painters leave does not count."""
    return not place.exists() or not any(
        not path.name.startswith(_prefix(place)) for path in place.iterdir()
    )


def _prefix(place: Path) -> str:
    return f".painting-{place.name}-"


@contextmanager
def _made(home: Path) -> Iterator[None]:
    """The folder and those above it; where the work fails, those that were made are gone again."""
    missing = [folder for folder in (home, *home.parents) if not folder.exists()]
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if home.is_file() else error.strerror
        raise RetroscopeError(f"cannot make the folder {str(home)!r}: {reason}") from error
    try:
        yield
    except BaseException:
        for folder in missing:
            if not any(folder.iterdir()):
                folder.rmdir()
        raise


@contextmanager
def _held(around: Path) -> Iterator[None]:
    """Nobody clears the folder meanwhile. SQLite's lock is on every system, and ends by a kill."""
    with _lock(around) as take:
        take()
        yield


def _is_held(around: Path) -> bool:
    try:
        with _lock(around) as take:
            take()
    except sqlite3.OperationalError:
        return True
    return False


@contextmanager
def _lock(around: Path) -> Iterator[Callable[[], object]]:
    with closing(sqlite3.connect(around / _LOCK, timeout=0, isolation_level=None)) as file:
        yield lambda: file.execute("BEGIN EXCLUSIVE")


def _put(aside: Path, place: Path) -> None:
    try:
        if not place.is_dir():
            aside.replace(place)
            return
        for path in sorted(aside.iterdir(), key=Path.is_file):  # the tables last
            path.replace(place / path.name)
    except OSError as error:
        raise RetroscopeError(f"cannot write {str(place)!r} ({error.strerror})") from error
