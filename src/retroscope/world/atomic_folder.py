"""Folders that appear complete or not at all: written to a temporary folder, then renamed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from filelock import FileLock, Timeout

from retroscope.errors import RetroscopeError

_LOCK_NAME = "writer.lock"


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder to write to; rename it to `target` at the end, or delete it on an error.

    The temporary folder lies beside the target, or inside it if that is an empty folder, so the
    rename never crosses file systems.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as home:
    ...     with atomic_folder(Path(home, "world")) as folder:
    ...         _ = (folder / "cat.png").write_text("a cat")
    ...     [path.name for path in Path(home).rglob("*")]
    ['world', 'cat.png']
    """
    parent = target if target.is_dir() else target.parent
    with _create_parents(parent):
        remove_abandoned(target)
        temporary = Path(mkdtemp(prefix=_prefix(target), dir=parent))
        try:
            with _lock(temporary):
                folder = temporary / target.name
                folder.mkdir()
                yield folder
                _move(folder, target)
        finally:
            rmtree(temporary, ignore_errors=True)


def remove_abandoned(target: Path) -> None:
    """Delete the temporary folders of writers that were killed; those in use stay."""
    for parent in filter(Path.is_dir, (target.parent, target)):
        for temporary in [path for path in parent.iterdir() if _is_temporary(path, target)]:
            if not _is_locked(temporary):
                rmtree(temporary, ignore_errors=True)


def is_free(target: Path) -> bool:
    """Whether the path does not exist or is an empty folder; temporary folders do not count."""
    return not target.exists() or all(_is_temporary(path, target) for path in target.iterdir())


def _is_temporary(path: Path, target: Path) -> bool:
    return path.name.startswith(_prefix(target))


def _prefix(target: Path) -> str:
    return f".painting-{target.name}-"


@contextmanager
def _create_parents(parent: Path) -> Iterator[None]:
    """Create the folder and those above it; on an error, delete those that were created."""
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if parent.is_file() else error.strerror
        raise RetroscopeError(f"cannot create the folder {str(parent)!r}: {reason}") from error
    try:
        yield
    except BaseException:
        for folder in missing:
            if not any(folder.iterdir()):
                folder.rmdir()
        raise


def _lock(temporary: Path) -> FileLock:
    """A lock that the system releases when the process ends, also when it is killed."""
    return FileLock(temporary / _LOCK_NAME, timeout=0)


def _is_locked(temporary: Path) -> bool:
    try:
        with _lock(temporary):
            return False
    except (Timeout, OSError):  # a lock file that cannot be opened belongs to another user
        return True


def _move(folder: Path, target: Path) -> None:
    try:
        if not target.is_dir():
            folder.replace(target)
            return
        for path in sorted(folder.iterdir(), key=Path.is_file):  # folders first, tables last
            path.replace(target / path.name)
    except OSError as error:
        raise RetroscopeError(f"cannot write {str(target)!r} ({error.strerror})") from error
