"""Numbers and names of units: what `score` stores, and what readers and the viewer ask for."""

from typing import NamedTuple

from retroscope.atlas.queries.query import Query, SqlSource, has_table
from retroscope.atlas.queries.table_rows import NameRow, NumberRow

_NUMBERS = Query(
    NumberRow,
    f"""
    SELECT {", ".join(NumberRow._fields)} FROM numbers
    WHERE layer = ? AND channel BETWEEN ? AND ? ORDER BY channel, name""",  # noqa: S608 - ours
)
_BY_FILE_FIRST = "source <> 'file'"
_NAMES = Query(
    NameRow,
    f"""
    SELECT {", ".join(NameRow._fields)} FROM names
    WHERE layer = ? AND channel BETWEEN ? AND ? ORDER BY channel, {_BY_FILE_FIRST}""",  # noqa: S608
)


class NamedUnitRow(NamedTuple):
    """A channel with a name, and the name of its layer."""

    layer: str
    channel: int
    name: str


class NumberValueRow(NamedTuple):
    """A number of a channel, without its interval."""

    channel: int
    name: str
    value: float | None
    chance: float | None


class NumberMedianRow(NamedTuple):
    """The median of a number over the channels of a layer that have it, and of its chance level."""

    layer: str
    name: str
    median: float
    chance: float | None


_ALL_NAMES = Query(
    NamedUnitRow,
    f"""
    SELECT layers.name AS layer, names.channel, names.name
    FROM names JOIN layers ON layers.id = names.layer
    ORDER BY layers.step, layers.id, names.channel, {_BY_FILE_FIRST}""",  # noqa: S608 - ours
)
_VALUES = Query(
    NumberValueRow,
    """
    SELECT numbers.channel, numbers.name, numbers.value, numbers.chance
    FROM numbers JOIN layers ON layers.id = numbers.layer WHERE layers.name = ?""",
)
_MEDIANS = Query(
    NumberMedianRow,
    """
    WITH ranked AS (
        SELECT layer, name, value, chance,
            row_number() OVER (PARTITION BY layer, name ORDER BY value) AS place,
            row_number() OVER (PARTITION BY layer, name ORDER BY chance) AS chance_place,
            count(*) OVER (PARTITION BY layer, name) AS size
        FROM numbers WHERE value IS NOT NULL)
    SELECT layers.name AS layer, ranked.name,
        avg(value) FILTER (WHERE place IN ((size + 1) / 2, size / 2 + 1)) AS median,
        avg(chance) FILTER (WHERE chance_place IN ((size + 1) / 2, size / 2 + 1)) AS chance
    FROM ranked JOIN layers ON layers.id = ranked.layer
    GROUP BY ranked.layer, ranked.name ORDER BY layers.step, layers.id""",
)
_CHANNELS_WITH_NUMBER = Query(
    int, "SELECT channel FROM numbers WHERE layer = ? AND name = ? AND basis = ?"
)

DELETE_NAMES = "DELETE FROM names WHERE layer = ? AND source = ?"
DELETE_NAME_SOURCE = "DELETE FROM names WHERE source = ?"


def layer_numbers(source: SqlSource, layer: int, channels: range) -> list[NumberRow]:
    """The numbers of consecutive channels; none in an older atlas."""
    if not has_table(source, "numbers"):
        return []
    return _NUMBERS(source, layer, channels.start, channels.stop - 1)


def number_values(source: SqlSource, layer: str) -> list[NumberValueRow]:
    """The values of all numbers of a layer."""
    return _VALUES(source, layer) if has_table(source, "numbers") else []


def number_medians(source: SqlSource) -> list[NumberMedianRow]:
    """The median of every number of every layer; none in an older atlas."""
    return _MEDIANS(source) if has_table(source, "numbers") else []


def layer_names(source: SqlSource, layer: int, channels: range) -> list[NameRow]:
    """The names of consecutive channels, those from a file first; none in an older atlas."""
    if not has_table(source, "names"):
        return []
    return _NAMES(source, layer, channels.start, channels.stop - 1)


def all_names(source: SqlSource) -> list[NamedUnitRow]:
    """Every name of a unit, layer by layer."""
    return _ALL_NAMES(source) if has_table(source, "names") else []


def channels_with_number(source: SqlSource, layer: int, name: str, basis: str) -> set[int]:
    """The channels of a layer that have this number, computed from this basis."""
    return set(_CHANNELS_WITH_NUMBER(source, layer, name, basis))
