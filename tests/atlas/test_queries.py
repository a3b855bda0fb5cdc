"""The queries: their columns, their plans, and that no SQL stands anywhere else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import retroscope
from retroscope.atlas.queries import (
    channel_queries,
    image_queries,
    join_queries,
    query,
    rankings,
    reader_queries,
    table_rows,
    writer_queries,
)
from retroscope.atlas.queries.query import Query
from retroscope.atlas.queries.rankings import AnyRanking, DefaultRankings, HitRanking, RankedQuery
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.schema import Ranking
from tests.atlas import small_atlas

SOURCES = Path(retroscope.__file__).parent
MODULES = (
    *(channel_queries, image_queries, join_queries, query, rankings, reader_queries),
    writer_queries,
)
RANKINGS: dict[str, AnyRanking] = {
    "max": HitRanking(),
    "min": HitRanking(Ranking.MIN),
    "class": HitRanking(label=1),
    "default": DefaultRankings(),
}
RANKED_QUERIES = {
    f"{module.__name__.rpartition('.')[2]}.{name} by {ranking_name}": constant.of(ranking)
    for module in MODULES
    for name, constant in vars(module).items()
    if isinstance(constant, RankedQuery)
    for ranking_name, ranking in RANKINGS.items()
}
QUERIES = RANKED_QUERIES | {
    f"{module.__name__.rpartition('.')[2]}.{name}": constant
    for module in MODULES
    for name, constant in vars(module).items()
    if isinstance(constant, Query)
}
SELECTS = {name: query for name, query in QUERIES.items() if "PRAGMA" not in query.text}
TABLE_ROWS: dict[str, Any] = {
    "layers": table_rows.LayerRow,
    "hits": table_rows.RankedHitRow,
    "class_hits": table_rows.ClassHitRow,
    "sample_images": table_rows.SampleImageRow,
    "samples": table_rows.SampleRow,
    "class_stats": table_rows.ClassStatsRow,
    "winner_pictures": table_rows.StoredImageRow,
    "projections": table_rows.ProjectionRow,
    "patterns": table_rows.PatternRow,
}


@pytest.fixture
def atlas(tmp_path: Path) -> Iterator[Atlas]:
    small_atlas.write(tmp_path / "a.atlas")
    with open_atlas(tmp_path / "a.atlas") as opened:
        yield opened


def columns(atlas: Atlas, query: str) -> list[str]:
    """The names of the columns of a query's result."""
    marks = [0] * query.count("?")
    return [part[0] for part in atlas._connection._connection.execute(query, marks).description]


@pytest.mark.parametrize("name", SELECTS)
def test_the_columns_of_a_query_are_the_fields_of_its_rows(atlas: Atlas, name: str) -> None:
    """Rows are made from columns by position, so their names must agree in that order."""
    row: Any = SELECTS[name].row
    names = columns(atlas, SELECTS[name].text)
    fields = getattr(row, "_fields", None) or getattr(row, "__match_args__", None)
    assert names == list(fields) if fields else len(names) == 1


@pytest.mark.parametrize("table", TABLE_ROWS)
def test_a_table_row_has_the_columns_of_its_table(atlas: Atlas, table: str) -> None:
    assert columns(atlas, f"SELECT * FROM {table}") == list(TABLE_ROWS[table]._fields)  # noqa: S608


@pytest.mark.parametrize("name", [name for name in RANKED_QUERIES if "_PLATE" in name])
def test_a_plate_reads_only_its_own_rows(atlas: Atlas, name: str) -> None:
    text = QUERIES[name].text
    plan = atlas.sql(f"EXPLAIN QUERY PLAN {text}", *[0] * text.count("?"))
    steps = [str(step[-1]) for step in plan]
    assert any(step.startswith("SEARCH") for step in steps)
    tables = ("images", "winner_pictures", "projections", "channels")
    assert not [step for step in steps if step.startswith(tuple(f"SCAN {name}" for name in tables))]


def string_constants(path: Path) -> Iterator[tuple[int, str]]:
    """The strings of a module, and the lines they begin on, without docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield node.lineno, text


SQL = re.compile(r"\b(SELECT |INSERT |UPDATE |DELETE FROM|PRAGMA)")


def test_sql_has_one_home() -> None:
    """Only `atlas/queries/` and the table definitions contain SQL."""
    home = SOURCES / "atlas/queries"
    elsewhere = [
        f"{path.relative_to(SOURCES)}:{line}"
        for path in sorted(SOURCES.rglob("*.py"))
        if home not in path.parents and path != SOURCES / "atlas/schema.py"
        for line, text in string_constants(path)
        if SQL.search(text)
    ]
    assert not elsewhere
    assert any(SQL.search(text) for path in home.glob("*.py") for _, text in string_constants(path))
