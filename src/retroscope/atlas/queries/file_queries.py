"""SQL about an atlas as a database file: its stamp, its settings, its tables."""

import json
import sqlite3
from datetime import UTC, datetime

from retroscope.atlas.schema import (
    EXTENDED_TABLES,
    TABLES,
    create_statements,
    later_columns,
    upgrade_statements,
)

_RETURN_SPACE = "PRAGMA auto_vacuum = INCREMENTAL"
"""Free space can be returned to the disk."""
_WRITER_SETTINGS = (
    "PRAGMA journal_mode = DELETE",  # a closed atlas is one file
    "PRAGMA cache_size = -4096",  # KiB of pages that a transaction leaves behind
    "PRAGMA cache_spill = -65536",  # KiB that it may change before it locks readers out
)


def application_id(connection: sqlite3.Connection) -> int:
    """The number by which a program recognizes its databases; 0 if it was never set."""
    (number,) = connection.execute("PRAGMA application_id").fetchone()
    return int(number)


def schema_version(connection: sqlite3.Connection) -> int:
    """The version of the atlas schema that a file was written with."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def has_no_tables(connection: sqlite3.Connection) -> bool:
    """Whether a database is empty, as it is right after it was created."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables


def distrust_schema(connection: sqlite3.Connection) -> None:
    """Keeps functions with side effects out of the views and indexes of a file."""
    connection.execute("PRAGMA trusted_schema = OFF")


def foreign_objects(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Type and name of triggers, and of views and virtual tables in place of our tables."""
    names = ", ".join(f"'{name}'" for name in TABLES)
    rows = connection.execute(
        f"""
        SELECT CASE WHEN type = 'table' THEN 'virtual table' ELSE type END, name
        FROM main.sqlite_master
        WHERE type = 'trigger'
            OR lower(name) IN ({names}) AND (type <> 'table' OR NOT rootpage)"""  # noqa: S608
    )
    return [(str(kind), str(name)) for kind, name in rows]


def read_first_page(connection: sqlite3.Connection) -> None:
    """Reads the file's header, which fails if the file is not a database."""
    connection.execute("PRAGMA schema_version").fetchall()


def forbid_writing(connection: sqlite3.Connection) -> None:
    """Allows only reading of this file: `query_only` alone lets ATTACH and VACUUM INTO pass."""
    connection.execute("PRAGMA query_only = ON")
    connection.set_authorizer(_authorize)


_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_READING_PRAGMAS = frozenset(
    {
        *("application_id", "data_version", "encoding", "freelist_count", "page_count"),
        *("page_size", "schema_version", "user_version", "compile_options", "database_list"),
        *("collation_list", "function_list", "module_list", "pragma_list", "table_list"),
    }
)
_READING_PRAGMAS_WITH_ARGUMENT = frozenset(
    {
        *("foreign_key_check", "foreign_key_list", "index_info", "index_list", "index_xinfo"),
        *("integrity_check", "quick_check", "table_info", "table_list", "table_xinfo"),
    }
)


def _authorize(
    action: int, first: str | None, second: str | None, _schema: str | None, _origin: str | None
) -> int:
    """Whether a statement may do this; SQLite asks while it compiles the statement."""
    # SQLite declares its table functions, such as json_each, by an update that it never runs.
    allowed = action in _READING or (action, first) == (sqlite3.SQLITE_UPDATE, "sqlite_master")
    if action == sqlite3.SQLITE_FUNCTION:
        allowed = second != "load_extension"
    if action == sqlite3.SQLITE_PRAGMA:
        pragma = (first or "").lower()
        allowed = pragma in _READING_PRAGMAS_WITH_ARGUMENT or (
            pragma in _READING_PRAGMAS and second is None
        )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def apply_writer_settings(connection: sqlite3.Connection) -> None:
    if has_no_tables(connection):  # in any other file, setting it again would count as a change
        connection.execute(_RETURN_SPACE)
    for setting in _WRITER_SETTINGS:
        connection.execute(setting).fetchall()


def create_tables(connection: sqlite3.Connection) -> None:
    """Makes an atlas of an empty database."""
    for statement in create_statements():
        connection.execute(statement)


def upgrade_tables(connection: sqlite3.Connection) -> bool:
    """Adds the tables and columns that an atlas of an older retroscope lacks; returns whether any.

    The version is always written, so a read-only file fails here and not at the first checkpoint.
    """
    before = schema_version(connection), _count_schema_changes(connection)
    columns = {table: _columns(connection, table) for table in EXTENDED_TABLES}
    for statement in upgrade_statements(columns):
        connection.execute(statement)
    return before != (schema_version(connection), _count_schema_changes(connection))


def show_missing_columns(connection: sqlite3.Connection) -> None:
    """Makes columns that an older atlas lacks NULL in every query of this connection."""
    for table in EXTENDED_TABLES:
        columns = _columns(connection, table)
        missing = [name for name in later_columns(table) if name not in columns]
        if columns and missing:
            nulls = ", ".join(f"NULL AS {name}" for name in missing)
            view = f"SELECT *, {nulls} FROM main.{table}"  # noqa: S608 - names of our own columns
            connection.execute(f"CREATE TEMP VIEW {table} AS {view}")


def _count_schema_changes(connection: sqlite3.Connection) -> int:
    """SQLite's counter of changes to the tables of a file."""
    (count,) = connection.execute("PRAGMA schema_version").fetchone()
    return int(count)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    query = "SELECT name FROM pragma_table_info(?, 'main')"
    return {name for (name,) in connection.execute(query, (table,)).fetchall()}


def recreate_tables(connection: sqlite3.Connection) -> None:
    """Empties an atlas. Its tables become those of this version, constraints included."""
    for table in TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    create_tables(connection)


def stamp_creation_time(connection: sqlite3.Connection) -> None:
    """Marks the start of a scan, which distinguishes it from any other scan into the same file."""
    now = json.dumps(datetime.now(UTC).isoformat())
    connection.execute("INSERT INTO meta VALUES ('created', ?)", (now,))


def return_free_space(connection: sqlite3.Connection) -> None:
    """Gives the space of deleted rows back to the disk; not possible inside a transaction."""
    connection.executescript("PRAGMA incremental_vacuum")
