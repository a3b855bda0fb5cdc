"""Names of units from a CSV file: given by hand, or by another tool."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, nan
from pathlib import Path

from retroscope.argument_types import check_arguments
from retroscope.atlas.reader import Atlas
from retroscope.atlas.writer import extend_atlas
from retroscope.errors import RetroscopeError
from retroscope.results.unit_numbers import NameSource, UnitName
from retroscope.unit import Unit

_NAME_COLUMNS, _SCORE_COLUMNS = ("name", "label", "description"), ("score", "similarity", "iou")
_CHANNEL_COLUMNS = ("channel", "unit")
_MAX_LENGTH = 200


@check_arguments
def name_units(atlas: str | Path, names: str | Path) -> int:
    """Stores the names in a CSV file, and returns how many.

    Its first row names the columns: `unit` and `name`, or `layer`, `channel` (or `unit`) and `name`
    (or `label`, `description`), with a `score` (or `similarity`) if there is one. Other columns are
    ignored. A name replaces an earlier one from a file; a name by dissection stays beside it.
    """
    path = Path(names)
    with extend_atlas(atlas) as (scanned, writer):
        unit_names = list(_read_names(scanned, path))
        if not unit_names:
            raise _table_error(path, "has no rows below its header")
        with writer.transaction():
            writer.put_names(unit_names)
    return len(unit_names)


def _read_names(atlas: Atlas, path: Path) -> Iterator[UnitName]:
    header, rows = _read_rows(path)
    name_column = _find_column(header, _NAME_COLUMNS)
    score_column = _find_column(header, _SCORE_COLUMNS)
    if name_column is None:
        raise _table_error(path, f"has no column {_NAME_COLUMNS[0]!r}")
    for line, row in enumerate(rows, start=2):
        name = " ".join((row.get(name_column) or "").split())
        if not 0 < len(name) <= _MAX_LENGTH:
            raise _table_error(path, f"has no name of 1 to {_MAX_LENGTH} letters in line {line}")
        unit = _find_unit(atlas, _address(path, row, line), path, line)
        yield UnitName(unit, name, _parse_score(path, row, score_column, line), NameSource.FILE)


def _read_rows(path: Path) -> tuple[Sequence[str], list[dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [{str(key).strip().lower(): cell for key, cell in row.items()} for row in reader]
            header = [name.strip().lower() for name in reader.fieldnames or ()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RetroscopeError(
            f"cannot read the names {str(path)!r} ({reason}); give a CSV file with the columns "
            "unit and name",
            parameter="names",
        ) from error
    return header, rows


def _find_column(header: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in header), None)


def _address(path: Path, row: Mapping[str, str], line: int) -> str:
    """The address in a row, in one column or in two."""
    channel = next((row[name].strip() for name in _CHANNEL_COLUMNS if row.get(name)), "")
    layer = (row.get("layer") or "").strip()
    address = f"{layer}:{channel}" if layer else channel
    if not channel:
        raise _table_error(path, f"has no unit in line {line}")
    return address


def _find_unit(atlas: Atlas, address: str, path: Path, line: int) -> Unit:
    """The channel under its layer's own name. An error says where the address stands."""
    try:
        return atlas.channel(address)
    except RetroscopeError as error:
        raise RetroscopeError(f"{str(path)!r}, line {line}: {error}", parameter="names") from error


def _parse_score(path: Path, row: Mapping[str, str], column: str | None, line: int) -> float:
    text = (row.get(column) or "").strip() if column else ""
    if not text:
        return nan
    try:
        score = float(text)
    except ValueError:
        score = nan
    if not isfinite(score):
        raise _table_error(path, f"has the score {text!r} in line {line}, which is not a number")
    return score


def _table_error(path: Path, problem: str) -> RetroscopeError:
    return RetroscopeError(
        f"{str(path)!r} {problem}; give a CSV file with the columns unit and name",
        parameter="names",
    )
