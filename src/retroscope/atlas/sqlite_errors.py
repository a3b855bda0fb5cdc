"""Errors about atlas files, each in one line that says what to do."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retroscope.atlas.schema import AtlasError
from retroscope.errors import did_you_mean

HOW_TO_CREATE = "rs.scan or 'retroscope scan' makes one"

_LOCKED = "is locked by another process that is writing to it; wait for it, or stop it"
_SQLITE_MESSAGES = {
    sqlite3.SQLITE_FULL: (
        "cannot be written: the disk is full; free some space and run the same again, everything "
        "up to the last checkpoint is saved"
    ),
    sqlite3.SQLITE_READONLY: (
        "cannot be written: the file or its folder is read-only; change its mode, or use a copy"
    ),
    sqlite3.SQLITE_READONLY_ROLLBACK: (
        "was interrupted during a checkpoint and cannot be repaired here; copy it together with "
        "the -journal file beside it to a writable folder, and open the copy"
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "or a file beside it cannot be opened; the folder must exist, and be writable for writing"
    ),
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_IOERR: (
        "could not be read from or written to the disk ({error}); check the disk and its quota, "
        "then run it again"
    ),
    sqlite3.SQLITE_CORRUPT: ("is damaged ({error}); use another copy, or delete it and scan again"),
    sqlite3.SQLITE_NOTADB: f"is not an atlas; {HOW_TO_CREATE}",
    sqlite3.SQLITE_TOOBIG: "has a value that is too large for it ({error})",
    sqlite3.SQLITE_INTERRUPT: "has not answered a query in time; ask for less",
    sqlite3.SQLITE_AUTH: "is open read-only, so a query only reads",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied; change its mode",
}
"""By SQLite's extended result code, or the primary one in its low byte."""


@contextmanager
def translate_sqlite_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's errors about a file into `AtlasError`; errors in our SQL pass unchanged."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        message = _SQLITE_MESSAGES.get(code) or _SQLITE_MESSAGES.get(code & 0xFF)
        if message is None:
            raise
        raise AtlasError(f"{quote_path(path)} {message.format(error=error)}") from error


def quote_path(path: Path) -> str:
    """A path as errors show it."""
    return repr(str(path))


def check_atlas_path(path: Path) -> None:
    """Refuses a path where no file can be created: a folder, or one in a missing folder."""
    try:
        if path.is_dir():
            raise AtlasError(f"{quote_path(path)} is a folder; give the path of a file")
        if not path.parent.is_dir():
            raise AtlasError(f"no folder {quote_path(path.parent)} for the atlas; create it first")
    except (OSError, ValueError) as error:
        raise AtlasError(
            f"cannot write {quote_path(path)} ({error}); choose another path"
        ) from error


def check_file_exists(path: Path) -> None:
    """Refuses a path without a file, and an empty file."""
    try:
        if path.is_dir():
            raise AtlasError(f"{quote_path(path)} is a folder, not an atlas; name the file")
        if not path.exists():
            atlases = map(str, path.parent.glob("*.atlas"))
            hint = did_you_mean(str(path), atlases) or HOW_TO_CREATE
            raise AtlasError(f"no atlas {quote_path(path)}; {hint}")
        if path.stat().st_size == 0:
            raise AtlasError(f"{quote_path(path)} is an empty file, not an atlas; {HOW_TO_CREATE}")
    except (OSError, ValueError) as error:
        raise AtlasError(f"cannot open {quote_path(path)} ({error}); check the path") from error
