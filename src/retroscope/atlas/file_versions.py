"""Versions of atlas files: what has been read of a file holds until another connection writes it.

Asking SQLite for the version takes as long as a small query, and a page needs it many times.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from retroscope.atlas.database import ReadConnection
from retroscope.atlas.queries import reader_queries

_held_versions: ContextVar[dict[ReadConnection, int] | None] = ContextVar("versions", default=None)


@contextmanager
def hold_versions() -> Iterator[None]:
    """Inside, in this thread, the version of each file is looked up once.

    What is written meanwhile may be seen or not, as without it: queries are not one snapshot.
    """
    if _held_versions.get() is not None:
        yield
        return
    token = _held_versions.set({})
    try:
        yield
    finally:
        _held_versions.reset(token)


def file_version(connection: ReadConnection) -> int:
    """A number that changes when another connection has written the file."""
    held = _held_versions.get()
    if held is None:
        return reader_queries.data_version(connection)
    if connection not in held:
        held[connection] = reader_queries.data_version(connection)
    return held[connection]
