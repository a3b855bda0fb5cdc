"""A query: its SQL, and the type of the rows that answer it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any, Generic, Protocol, TypeVar

from retroscope.atlas.schema import Value

Row = tuple[Any, ...]
RowType = TypeVar("RowType")


class SqlSource(Protocol):
    """Runs SQL: an open atlas, or a connection to one."""

    def sql(self, query: str, *values: Value) -> Sequence[Row]:
        """The rows that answer a query; `?` stands for the values in turn."""


@dataclass(frozen=True)
class Query(Generic[RowType]):
    """SQL, and the type of one row of its result.

    `row` is called with the columns in order, so its fields have the columns' names. The type of a
    query with one column is the type of that column.
    """

    row: Callable[..., RowType]
    text: str

    def __call__(self, source: SqlSource, *values: Value) -> list[RowType]:
        """All rows. They are fetched at once: an open cursor would block the writer."""
        return [self.row(*columns) for columns in source.sql(self.text, *values)]

    def first(self, source: SqlSource, *values: Value) -> RowType | None:
        """The first row, or None."""
        return next(iter(self(source, *values)), None)

    def scalar(self, source: SqlSource, *values: Value) -> RowType:
        """The row of a query that always has exactly one."""
        (row,) = self(source, *values)
        return row


_HAS_TABLE = Query(bool, "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?)")


def has_table(source: SqlSource, table: str) -> bool:
    """Whether the file has this table: an atlas of an older retroscope may lack it."""
    return _HAS_TABLE.scalar(source, table)


def as_list(numbers: Iterable[int]) -> str:
    """Numbers as the one value that `IN (SELECT value FROM json_each(?))` takes."""
    return dumps(list(numbers))
