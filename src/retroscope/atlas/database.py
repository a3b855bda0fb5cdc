"""An atlas file as an SQLite database: opened, checked, read and written."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock, RLock
from time import monotonic
from typing import Literal, TypeVar
from weakref import finalize, ref

from retroscope.atlas.queries import file_queries
from retroscope.atlas.queries.query import Row
from retroscope.atlas.schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    TABLES,
    VIEWS,
    AtlasError,
    Value,
)
from retroscope.atlas.sqlite_errors import (
    HOW_TO_CREATE,
    check_atlas_path,
    check_file_exists,
    quote_path,
    translate_sqlite_errors,
)
from retroscope.atlas.write_lock import WriteLock

Result = TypeVar("Result")

TIMEOUT = 30.0
"""Seconds to wait while another process reads or writes the file."""
MAX_QUERY_SECONDS = 10.0
"""How long a query may run: the views and rows of a crafted file could keep it busy for ever."""
_STEPS_PER_CHECK = 20_000
"""Instructions of SQLite between two looks at the clock: about a millisecond."""
_MAX_CELL_BYTES = 2**26
"""The longest value that is read. Stored images have a few hundred kilobytes."""


def connect(path: Path, mode: Literal["ro", "rw", "rwc"], timeout: float) -> sqlite3.Connection:
    """A connection without implicit transactions, and with text that may be any file name."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = _decode_text
    file_queries.distrust_schema(connection)
    return connection


def encode_text(text: str) -> bytes:
    """The value for `CAST(? AS TEXT)`: a file name may hold bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _decode_text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")


def check_can_become_atlas(path: Path) -> None:
    """Refuses a file that is neither an atlas nor an empty database."""
    with translate_sqlite_errors(path), closing(connect(path, "rw", TIMEOUT)) as connection:
        if not file_queries.has_no_tables(connection):
            _check_is_atlas(connection, path)


def _check_is_atlas(connection: sqlite3.Connection, path: Path) -> None:
    """Refuses a database that is not an atlas, or is one of a newer schema.

    It asks SQLite alone: opening the file a second time and closing it would drop SQLite's locks in
    the whole process.
    """
    application = file_queries.application_id(connection)
    if not application and file_queries.has_no_tables(connection):
        raise AtlasError(f"{quote_path(path)} is an empty database; {HOW_TO_CREATE}")
    if application != APPLICATION_ID:
        raise AtlasError(f"{quote_path(path)} is a database, but not an atlas; {HOW_TO_CREATE}")
    version = file_queries.schema_version(connection)
    if version > SCHEMA_VERSION:
        raise AtlasError(
            f"{quote_path(path)} was written by a newer retroscope (schema {version}; this one "
            f"reads up to {SCHEMA_VERSION}); run 'pip install --upgrade retroscope'"
        )
    for kind, name in file_queries.foreign_objects(connection):
        raise AtlasError(
            f"{quote_path(path)} has a {kind} {name!r}, which no atlas has; it may be meant "
            "to do harm; use a copy from a source that you trust"
        )


class ReadConnection:
    """An atlas open for reading, from any thread, also while another process writes it."""

    def __init__(self, path: Path, timeout: float = TIMEOUT) -> None:
        check_file_exists(path)
        self.path = path
        self._timeout = timeout
        self._lock = Lock()
        self._deadline = monotonic() + MAX_QUERY_SECONDS
        with translate_sqlite_errors(path):
            self._connection = connect(path, "ro", timeout)
        self._finalizer = finalize(self, self._connection.close)
        try:
            with translate_sqlite_errors(path):
                self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise AtlasError(
                f"{quote_path(path)} is damaged ({error}); use another copy"
            ) from error
        except AtlasError:
            self.close()
            raise

    def close(self) -> None:
        self._finalizer()

    def sql(self, query: str, *values: Value, max_seconds: float = MAX_QUERY_SECONDS) -> list[Row]:
        """All rows that answer a query."""
        if not self._finalizer.alive:
            raise AtlasError(f"{quote_path(self.path)} has been closed; open it again")
        try:
            with self._lock, translate_sqlite_errors(self.path):
                self._deadline = monotonic() + max_seconds
                return self._run(lambda: self._connection.execute(query, values).fetchall())
        except (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError) as error:
            raise AtlasError(
                f"{quote_path(self.path)} cannot answer {' '.join(query.split())!r}: {error}; "
                f"its tables are {', '.join((*TABLES, *VIEWS))}"
            ) from error

    def _prepare(self) -> None:
        """Checks that the file is an atlas, and limits what its content can cost."""
        connection = self._connection
        reference = ref(self)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_CELL_BYTES)
        connection.set_progress_handler(lambda: _is_late(reference()), _STEPS_PER_CHECK)
        self._run(lambda: file_queries.read_first_page(connection))
        _check_is_atlas(connection, self.path)
        file_queries.show_missing_columns(connection)
        file_queries.forbid_writing(connection)

    @property
    def is_late(self) -> bool:
        """Whether the query that runs has used up its time."""
        return monotonic() > self._deadline

    def _run(self, query: Callable[[], Result]) -> Result:
        """The result of a query, after rolling back the checkpoint of a writer that was killed.

        A read-only connection may not roll back, and reports that.
        """
        try:
            return query()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_READONLY:
                raise AtlasError(
                    f"{quote_path(self.path)} is open read-only, so a query only reads"
                ) from error
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
        with closing(connect(self.path, "rw", self._timeout)) as writable:
            file_queries.has_no_tables(writable)
        return query()


def _is_late(connection: ReadConnection | None) -> bool:
    """The progress handler. A weak reference: the handler must not keep a connection open."""
    return connection is None or connection.is_late


class WriteConnection:
    """An atlas open for writing, by one writer at a time. `is_new` says that it holds nothing yet.

    With `restart` an existing file is emptied in place. Deleting it would leave any program that
    has it open with the old file and the journal of the new one.

    Its threads take turns: one waits while another has a transaction open.
    """

    def __init__(self, path: Path, *, restart: bool, timeout: float) -> None:
        check_atlas_path(path)
        self.path = path
        self._turn = RLock()
        self._lock = WriteLock(path)
        try:
            self._open(restart=restart, timeout=timeout)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, *, restart: bool, timeout: float) -> None:
        existed = self.path.exists()
        with translate_sqlite_errors(self.path):
            self._connection = connect(self.path, "rwc", timeout)
        try:
            with translate_sqlite_errors(self.path):
                self.is_new = self._prepare(restart=restart)
        except BaseException:
            self._connection.close()
            if not existed:
                self.path.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Closes the file; an open transaction is rolled back."""
        self._connection.close()
        self._lock.release()

    def discard(self) -> None:
        """Closes the file and deletes it."""
        self._connection.close()
        if self._lock.release.alive:
            self.path.unlink(missing_ok=True)
        self._lock.release()

    def sql(self, query: str, *values: Value) -> list[Row]:
        """All rows that answer a query, those of the open transaction included."""
        with self._turn, translate_sqlite_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    def write(self, statement: str, rows: Iterable[Row]) -> None:
        """Runs a statement for every row, inside a transaction."""
        assert self._connection.in_transaction, "an atlas is written inside writer.transaction()"
        with translate_sqlite_errors(self.path):
            self._connection.executemany(statement, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Writes everything inside, or nothing if there is an error or a rollback inside."""
        with self._turn, translate_sqlite_errors(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                if self._connection.in_transaction:
                    self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def return_free_space(self) -> None:
        """Gives the space of deleted rows back to the disk; not inside a transaction."""
        with self._turn, translate_sqlite_errors(self.path):
            file_queries.return_free_space(self._connection)

    def _prepare(self, *, restart: bool) -> bool:
        """Creates, upgrades or empties the tables; returns whether they hold nothing.

        A file that is complete is not changed, not even its counter of changes.
        """
        connection = self._connection
        file_queries.apply_writer_settings(connection)
        with self.transaction():
            is_empty = not file_queries.application_id(connection) and (
                file_queries.has_no_tables(connection)
            )
            if is_empty:
                file_queries.create_tables(connection)
            else:
                _check_is_atlas(connection, self.path)
                if not file_queries.upgrade_tables(connection) and not restart:
                    connection.execute("ROLLBACK")
                    return False
            if restart and not is_empty:
                file_queries.recreate_tables(connection)
            if is_empty or restart:
                file_queries.stamp_creation_time(connection)
        return is_empty or restart
