"""The reference page describes the file as it is."""

import re
from pathlib import Path

import pytest
from tools.statistics_table import update

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.schema import APPLICATION_ID, SCHEMA_VERSION, TABLES
from tests.atlas import small_atlas

PAGE = (Path(__file__).parents[2] / "docs/reference/atlas.md").read_text("utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_explained(table: str, tmp_path: Path) -> None:
    small_atlas.write(tmp_path / "a.atlas")
    with open_atlas(tmp_path / "a.atlas") as atlas:
        columns = {row[1] for row in atlas.sql(f"PRAGMA table_info({table})")}
    section = re.search(rf"^### {table}\n(.*?)^##", PAGE, re.DOTALL | re.MULTILINE)
    assert section
    cells = re.findall(r"^\| ([\w, ]+) \|", section[1], re.MULTILINE)
    assert columns
    assert columns <= {name for cell in cells for name in cell.split(", ")}


def test_the_numbers_of_the_file_are_on_the_page(tmp_path: Path) -> None:
    small_atlas.write(tmp_path / "a.atlas")
    assert (tmp_path / "a.atlas").read_bytes()[68:72] == b"RTSC"
    assert f"({APPLICATION_ID})" in PAGE
    assert f"schema: **{SCHEMA_VERSION}**" in PAGE


def test_the_table_of_statistics_is_current() -> None:
    assert update(PAGE) == PAGE, "run 'make docs'"


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_runs(query: str, tmp_path: Path) -> None:
    small_atlas.write(tmp_path / "a.atlas")
    with open_atlas(tmp_path / "a.atlas") as atlas:
        atlas.sql(query)


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "epoch-1", "epoch-5", "epoch-20"):
        small_atlas.write(tmp_path / f"{name}.atlas")
    code = PAGE.replace("vgg16.atlas", str(tmp_path / "a.atlas")).replace("42", "0")
    code = code.replace("conv5_3", "conv1").replace("features.28", "features.0")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", code, re.DOTALL):
        exec(compile(block, "atlas.md", "exec"), names)  # noqa: S102
    assert names["names"] == list(small_atlas.NAMES)
