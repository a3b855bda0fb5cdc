"""What SQLite complains about, in one clear line each."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retroscope.atlas.schema import APPLICATION_ID, SCHEMA_VERSION, AtlasError
from retroscope.errors import did_you_mean

_LOCKED = "is locked by another process that writes it; wait for it, or stop it"
_IO = "failed on the way to the disk ({error}); check the disk and its quota, then run it again"
_FAULTS = {
    sqlite3.SQLITE_FULL: (
        "cannot be written, the disk is full; free some space and run the same again, "
        "all up to the last checkpoint is kept"
    ),
    sqlite3.SQLITE_READONLY: (
        "cannot be written, the file or its folder is read-only; change its mode, or work on a copy"
    ),
    sqlite3.SQLITE_READONLY_ROLLBACK: (
        "was left in the middle of a checkpoint, and may not be mended here; copy it together with "
        "the -journal file beside it to a folder that can be written, and open the copy"
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "or a file beside it cannot be opened; the folder must be there, and writable for writing"
    ),
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_IOERR: _IO,
    sqlite3.SQLITE_CORRUPT: (
        "is damaged ({error}); take another copy of it, or scan again with --restart"
    ),
    sqlite3.SQLITE_NOTADB: "is not an atlas; an atlas is made by 'retroscope scan'",
    sqlite3.SQLITE_TOOBIG: "cannot keep a piece of more than a gigabyte; use more, smaller pieces",
    sqlite3.SQLITE_PERM: "may not be opened; change its mode",
}
"""By SQLite's extended result code, or the primary one in its low byte."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """The one place where SQLite's errors become ours; our own mistakes pass as they are."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        fault = _FAULTS.get(code) or _FAULTS.get(code & 0xFF)
        if fault is None:
            raise
        raise AtlasError(f"{named(path)} {fault.format(error=error)}") from error


def named(path: Path) -> str:
    return repr(str(path))


def refuse_strangers(connection: sqlite3.Connection, path: Path) -> None:
    """Raises where an open file is no atlas, or one from the future. Asks SQLite alone.

    Whoever opens and closes the file beside SQLite drops its locks in the whole process.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not application and holds_nothing(connection):
        raise AtlasError(f"{named(path)} holds nothing yet; 'retroscope scan' makes an atlas of it")
    if application != APPLICATION_ID:
        raise AtlasError(
            f"{named(path)} is a database, but not an atlas; an atlas is made by 'retroscope scan'"
        )
    if version > SCHEMA_VERSION:
        raise AtlasError(
            f"{named(path)} was written by a newer retroscope (schema {version}; this one reads up "
            f"to {SCHEMA_VERSION}); 'pip install --upgrade retroscope' gets it"
        )


def holds_nothing(connection: sqlite3.Connection) -> bool:
    """Whether a database has no table, as one has that was left right after it was made."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables


def refuse_no_place(path: Path) -> None:
    """Raises where there is no folder for the file, or a folder in its place."""
    try:
        if path.is_dir():
            raise AtlasError(f"{named(path)} is a folder; name a file for the atlas in it")
        if not path.parent.is_dir():
            raise AtlasError(
                f"there is no folder {named(path.parent)} for the atlas; make it first"
            )
    except (OSError, ValueError) as error:
        raise AtlasError(f"cannot write {named(path)} ({error}); choose another place") from error


def refuse_missing(path: Path) -> None:
    """Raises where there is no file to read."""
    try:
        if path.is_dir():
            raise AtlasError(f"{named(path)} is a folder, not an atlas; name the file")
        if not path.exists():
            others = map(str, path.parent.glob("*.atlas"))
            hint = did_you_mean(str(path), others) or "'retroscope scan' makes one"
            raise AtlasError(f"no atlas {named(path)}; {hint}")
        if path.stat().st_size == 0:
            raise AtlasError(
                f"{named(path)} is an empty file, not an atlas; 'retroscope scan' makes one"
            )
    except (OSError, ValueError) as error:
        raise AtlasError(f"cannot open {named(path)} ({error}); check the path") from error
