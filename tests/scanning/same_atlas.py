"""What must be equal in two atlases of the same scan, however it was run."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.schema import TABLES

SCAN_TABLES = (
    *("layers", "graph", "labels", "images", "image_files"),
    *("channels", "hits", "class_stats", "winner_pictures"),
)
"""The tables that a scan without projections fills."""

NOT_OF_THE_SCAN = frozenset({"created", "plan", "machines"})
"""Facts that say how and when, not what."""


def assert_same_atlas(
    expected: str | Path,
    actual: str | Path,
    *,
    tables: Sequence[str] = tuple(TABLES),
    facts: bool = True,
) -> None:
    """Asserts that tables are equal row for row, blobs byte for byte, and the facts, too."""
    for table in tables:
        if table != "meta":
            _assert_same_rows(table, _rows(expected, table), _rows(actual, table))
    if facts:
        _assert_same_facts(scan_facts(expected), scan_facts(actual))


def _assert_same_facts(expected: dict[str, object], actual: dict[str, object]) -> None:
    differences = {
        name: (expected.get(name), actual.get(name))
        for name in expected.keys() | actual.keys()
        if expected.get(name) != actual.get(name)
    }
    assert not differences, f"facts differ: {differences}"


def scan_facts(path: str | Path) -> dict[str, object]:
    """The facts about a scan that do not depend on how it was run."""
    with closing(open_atlas(path)) as atlas:
        return {key: fact for key, fact in atlas.meta.items() if key not in NOT_OF_THE_SCAN}


def _rows(path: str | Path, table: str) -> list[tuple[object, ...]]:
    with closing(open_atlas(path)) as atlas:
        rows = atlas.sql(f"SELECT * FROM {table}")  # noqa: S608
    return sorted((tuple(row) for row in rows), key=repr)


def _assert_same_rows(
    table: str, expected: list[tuple[object, ...]], actual: list[tuple[object, ...]]
) -> None:
    differences = [pair for pair in zip(expected, actual, strict=False) if pair[0] != pair[1]]
    assert not differences, (
        f"{len(differences)} rows of {table} differ: {differences[0][0]} is {differences[0][1]}"
    )
    assert len(expected) == len(actual), f"{table}: {len(expected)} rows and {len(actual)}"
