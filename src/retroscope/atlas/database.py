"""How an atlas file is opened, and asked."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any, Literal
from weakref import finalize

from retroscope.atlas.schema import AtlasError, Value
from retroscope.atlas.sqlite_errors import explained, named, refuse_missing, refuse_strangers

Row = tuple[Any, ...]

PATIENCE = 30.0
"""How many seconds to wait for another process that is writing."""


def connect(path: Path, mode: Literal["ro", "rw", "rwc"], patience: float) -> sqlite3.Connection:
    """A connection without implicit transactions, whose text may hold any file name."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=patience,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = _text
    return connection


def as_text(text: str) -> bytes:
    """For `CAST(? AS TEXT)`: a file name may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")


class Reading:
    """A file open for reading, from any thread, also while another process writes it.

    An answer is fetched whole: an open cursor would keep the writer from its next checkpoint.
    """

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        refuse_missing(path)
        self.path = path
        self._patience = patience
        self._lock = Lock()
        with explained(path):
            self._connection = connect(path, "ro", patience)
        self._closing = finalize(self, self._connection.close)
        try:
            with explained(path):
                self._mended("PRAGMA schema_version", ())
                self._connection.execute("PRAGMA query_only = ON")
                refuse_strangers(self._connection, path)
        except AtlasError:
            self.close()
            raise

    def close(self) -> None:
        self._closing()

    def ask(self, query: str, values: Sequence[Value] = ()) -> list[Row]:
        """All rows that answer a query."""
        if not self._closing.alive:
            raise AtlasError(f"{named(self.path)} has been closed; open it again")
        with self._lock, explained(self.path):
            return self._mended(query, values)

    def _mended(self, query: str, values: Sequence[Value]) -> list[Row]:
        """The answer; where a writer was killed in a checkpoint, that is rolled back first.

        A read-only connection may not do so, and says so.
        """
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_READONLY:
                raise AtlasError(
                    f"{named(self.path)} is open for reading; it only reads"
                ) from error
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
        with closing(connect(self.path, "rw", self._patience)) as mending:
            mending.execute("SELECT count(*) FROM sqlite_master").fetchall()
        return self._connection.execute(query, values).fetchall()
