"""An atlas that an older retroscope wrote opens; what it lacks is missing, not invented."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest

from retroscope.atlas.queries import channel_queries
from retroscope.atlas.reader import open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.results import statistics
from tests.atlas import small_atlas


@pytest.fixture
def path(tmp_path: Path) -> Path:
    small_atlas.write(tmp_path / "a.atlas")
    return tmp_path / "a.atlas"


def run_sql(path: Path, statements: Sequence[str]) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        for statement in statements:
            file.execute(statement)


def column_names(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as file:
        return {row[1] for row in file.execute("PRAGMA table_info(channels)")}


def test_an_atlas_without_the_table_of_patterns_has_no_patterns(path: Path) -> None:
    run_sql(path, ["DROP TABLE patterns"])
    with open_atlas(path) as atlas:
        layer = atlas.layers[0]
        assert atlas.patterns("conv1:0") == ()
        assert len(atlas["conv1:0"].patches) == 3
        assert channel_queries.channels_with_pattern(atlas, layer) == frozenset()
        assert channel_queries.pattern_summaries(atlas, layer, 0) == []
        assert channel_queries.pattern_blob(atlas, layer, 0) is None


def test_writing_adds_the_table_of_patterns(path: Path) -> None:
    run_sql(path, ["DROP TABLE patterns"])
    with AtlasWriter(path) as writer:
        assert writer.channels_without_pattern("head", "olah", seed=0, steps=1) == [0, 1]


def test_a_statistic_that_an_atlas_lacks_is_missing(path: Path) -> None:
    run_sql(path, [f"ALTER TABLE channels DROP COLUMN {name}" for name in ("std", "fired_images")])
    with open_atlas(path) as atlas:
        stats = atlas.stats("conv1:0")
        assert isnan(stats.std)
        assert stats.fired_images is None
        assert stats.images == 4
        assert stats.mean == pytest.approx(2 / 3)


def test_a_query_finds_null_for_a_statistic_that_an_atlas_lacks(path: Path) -> None:
    with open_atlas(path) as atlas:
        before = channel_queries.layer_conditions(atlas)["features.0"]
    lacking = ("std", "non_finite", "histogram", "fired_positions")
    run_sql(path, [f"ALTER TABLE channels DROP COLUMN {name}" for name in lacking])
    with open_atlas(path) as atlas:
        rows = atlas.sql(
            "SELECT DISTINCT std, non_finite, histogram, fired_positions FROM channels"
        )
        assert rows == [(None,) * 4]
        condition = channel_queries.layer_conditions(atlas)["features.0"]
        assert (condition.known, condition.dead) == (before.known, before.dead)
        assert condition.non_finite is None


def test_writing_adds_the_columns_of_new_statistics(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = replace(statistics.STATISTICS[0], name="lucky_images")
    monkeypatch.setattr(statistics, "STATISTICS", (*statistics.STATISTICS, new))
    assert "lucky_images" not in column_names(path)
    AtlasWriter(path).close()
    assert "lucky_images" in column_names(path)
    with open_atlas(path) as atlas:
        assert atlas.stats("conv1:0").images == 4
