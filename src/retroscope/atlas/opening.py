"""An atlas file made, checked or emptied for writing."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from retroscope.atlas.database import connect
from retroscope.atlas.schema import ADDED, SCHEMA_VERSION, TABLES, statements
from retroscope.atlas.sqlite_errors import (
    explained,
    holds_nothing,
    refuse_no_place,
    refuse_strangers,
)

_SETTINGS = ("auto_vacuum = INCREMENTAL", "journal_mode = DELETE", "cache_size = -65536")
"""Room can be given back; one file when closed; 64 MiB before a transaction must lock readers."""


def open_for_writing(
    path: Path, *, restart: bool, patience: float
) -> tuple[sqlite3.Connection, bool]:
    """A connection to an atlas that can be written, and whether nothing is kept in it.

    A file that is there is emptied in place: whoever has it open would go on with the old one, and
    with the journal of the new.
    """
    refuse_no_place(path)
    made = not path.exists()
    with explained(path):
        connection = connect(path, "rwc", patience)
    try:
        with explained(path):
            is_new = _prepared(connection, path, restart=restart)
    except BaseException:
        connection.close()
        if made:
            path.unlink(missing_ok=True)
        raise
    return connection, is_new


def _prepared(connection: sqlite3.Connection, path: Path, *, restart: bool) -> bool:
    for setting in _SETTINGS:
        connection.execute(f"PRAGMA {setting}").fetchall()
    connection.execute("BEGIN IMMEDIATE")
    is_empty = _is_empty(connection)
    if is_empty:
        _make(connection)
    else:
        refuse_strangers(connection, path)
        _add_what_is_new(connection)
        _try_to_write(connection)
    if restart and not is_empty:
        _clear(connection)
    if is_empty or restart:
        _stamp(connection)
    connection.execute("COMMIT")
    return is_empty or restart


def _is_empty(connection: sqlite3.Connection) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    return not application and holds_nothing(connection)


def _make(connection: sqlite3.Connection) -> None:
    for statement in statements():
        connection.execute(statement)


def _add_what_is_new(connection: sqlite3.Connection) -> None:
    """Tables that came after the first atlases were written."""
    for name in ADDED:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({TABLES[name]}\n)")


def _try_to_write(connection: sqlite3.Connection) -> None:
    """A read-only folder is found out now, not at the first checkpoint."""
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _clear(connection: sqlite3.Connection) -> None:
    for table in TABLES:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names


def _stamp(connection: sqlite3.Connection) -> None:
    now = json.dumps(datetime.now(UTC).isoformat())
    connection.execute("INSERT INTO meta VALUES ('created', ?)", (now,))
