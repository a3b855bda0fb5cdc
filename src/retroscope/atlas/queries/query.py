"""A query: its SQL, and the type of the rows that answer it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from json import dumps
from math import inf
from types import NoneType
from typing import Any, Generic, Protocol, TypeVar, get_args, get_type_hints

from retroscope.atlas.schema import AtlasError, Value

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
        rows = source.sql(self.text, *values)
        check_cells(self.row, rows)
        return [self.row(*columns) for columns in rows]

    def first(self, source: SqlSource, *values: Value) -> RowType | None:
        """The first row, or None."""
        return next(iter(self(source, *values)), None)

    def scalar(self, source: SqlSource, *values: Value) -> RowType:
        """The row of a query that always has exactly one."""
        rows = self(source, *values)
        if len(rows) != 1:
            raise damaged_error(f"{len(rows)} rows where there must be one")
        return rows[0]


_CELL_TYPES: dict[type, frozenset[type]] = {
    bool: frozenset({int}),
    int: frozenset({int}),
    float: frozenset({int, float}),
    str: frozenset({str}),
    bytes: frozenset({bytes}),
    NoneType: frozenset({NoneType}),
}
"""What SQLite may return for each type of a row's field. It does not enforce types of columns."""


def check_cells(row: Callable[..., object], rows: Sequence[Row]) -> None:
    """Refuses cells that do not have the type of their field, and infinite numbers.

    It goes by column, because a set of types is made faster than a loop over cells.

    >>> check_cells(int, [("x",)])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    retroscope.atlas.schema.AtlasError: the atlas is damaged: 'int' is stored as str; use another...
    """
    for (name, types), column in zip(_fields(row), zip(*rows, strict=True), strict=False):
        wrong = set(map(type, column)) - types
        if wrong:
            kind = next(iter(wrong)).__name__.replace("NoneType", "NULL")
            raise damaged_error(f"{name!r} is stored as {kind}")
        if float in types and (inf in column or -inf in column):
            raise damaged_error(f"{name!r} is infinite")


@cache
def _fields(row: Callable[..., object]) -> tuple[tuple[str, frozenset[type]], ...]:
    """The fields of a row with the types of cells that they take."""
    if row in _CELL_TYPES and isinstance(row, type):
        return ((row.__name__, _CELL_TYPES[row]),)
    hints = get_type_hints(row).items()
    return tuple(
        (name, frozenset[type]().union(*(_CELL_TYPES[part] for part in get_args(hint) or (hint,))))
        for name, hint in hints
    )


def check_lengths(blobs: Iterable[bytes | None], length: int, what: str) -> None:
    """Refuses blobs of any other length."""
    for blob in blobs:
        if blob is not None and len(blob) != length:
            raise damaged_error(f"{what} has {len(blob)} bytes instead of {length}")


def damaged_error(reason: str) -> AtlasError:
    """The error about content that no scan writes."""
    return AtlasError(f"the atlas is damaged: {reason}; use another copy")


_HAS_TABLE = Query(bool, "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?)")


def has_table(source: SqlSource, table: str) -> bool:
    """Whether the file has this table: an atlas of an older retroscope may lack it."""
    return _HAS_TABLE.scalar(source, table)


def as_list(numbers: Iterable[int]) -> str:
    """Numbers as the one value that `IN (SELECT value FROM json_each(?))` takes."""
    return dumps(list(numbers))
