"""A statistic is a row: with the row, it is in the atlas, in the reader and in the JSON."""

import json
from math import isnan
from pathlib import Path

import numpy as np
import pytest
import torch

from retroscope.atlas import schema
from retroscope.atlas.reader import open_atlas
from retroscope.errors import RetroscopeError
from retroscope.results import statistics
from retroscope.results.as_json import as_json
from retroscope.results.statistics import INTEGER, INTEGERS, REAL, Statistic
from retroscope.scanning.job import scan
from retroscope.scanning.statistics.batch_summary import BatchSummary
from retroscope.scanning.statistics.channel_sums import ChannelSums
from retroscope.scanning.statistics.exact_sums import read_sums
from retroscope.scanning.statistics.summary import summarise
from tests.scanning.scans import maps_of, tiny, write_images

NEW_ROWS = (
    Statistic(
        "images_above_one",
        INTEGER,
        of_batch=lambda batch: (batch.maximum > 1).sum(0),
        doc="images with a value above one",
    ),
    Statistic(
        "rms",
        REAL,
        finish=lambda sums: (sums["squares"] / sums["positions"].clamp(min=1)).sqrt(),
        doc="root of the mean square",
    ),
    Statistic(
        "coarse_histogram",
        INTEGERS,
        of_batch=lambda batch: batch.histogram(np.array([0.0, 1.0])),
        doc="3 int64: images by their maximum, below 0, below 1, and above",
    ),
)
NAMES = [row.name for row in NEW_ROWS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "photos", 7)


def add_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one change that a new statistic takes, as if it had been there on import."""
    monkeypatch.setattr(statistics, "STATISTICS", (*statistics.STATISTICS, *NEW_ROWS))
    monkeypatch.setitem(schema.TABLES, "channels", schema.channels_table())


def test_a_new_row_is_in_the_atlas_in_its_statistics_and_in_json(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rows(monkeypatch)
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers="conv", batch_size=3, projections="none")
    maps = maps_of(tiny(), ["second"], sorted(folder.iterdir()))["second"]
    for channel in range(maps.shape[1]):
        values = maps[:, channel]
        maxima = values.max(axis=(1, 2))
        bins = [int((maxima <= 0).sum()), int(((maxima > 0) & (maxima <= 1)).sum())]
        expected = {
            "images_above_one": int((maxima > 1).sum()),
            "rms": pytest.approx(np.sqrt((values**2).mean())),
            "coarse_histogram": [*bins, len(maxima) - sum(bins)],
        }
        facts = as_json(atlas.stats(f"second:{channel}"))
        assert isinstance(facts, dict)
        assert {name: facts[name] for name in NAMES} == expected
        assert json.dumps(facts, allow_nan=False)
    assert atlas.stats("second:0")["images_above_one"] == facts_of(atlas.path)["images_above_one"]
    ((strong,),) = atlas.sql("SELECT sum(images_above_one) FROM channels")
    assert isinstance(strong, int)


def facts_of(path: Path) -> dict[str, object]:
    with open_atlas(path) as atlas:
        facts = as_json(atlas.stats("second:0"))
    assert isinstance(facts, dict)
    return facts


def test_an_atlas_from_before_the_row_shows_it_as_missing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(tiny(), folder, to=tmp_path / "a", projections="none").close()
    before = facts_of(tmp_path / "a")
    add_rows(monkeypatch)
    with open_atlas(tmp_path / "a") as atlas:
        stats = atlas.stats("second:0")
    assert stats["images_above_one"] is None
    assert isinstance(stats["rms"], float)
    assert isnan(stats["rms"])
    assert stats["coarse_histogram"] is None
    assert facts_of(tmp_path / "a") == before | dict.fromkeys(NAMES)


def test_an_unfinished_scan_from_before_the_row_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(tiny(), folder, to=tmp_path / "a", progress=stop)
    add_rows(monkeypatch)
    with pytest.raises(RetroscopeError, match="an unfinished scan of another version") as caught:
        scan(tiny(), folder, to=tmp_path / "a")
    assert caught.value.parameter == "restart"
    assert "\n" not in str(caught.value)
    scan(tiny(), folder, to=tmp_path / "a", restart=True, projections="none").close()
    assert facts_of(tmp_path / "a")["images_above_one"] is not None


@pytest.mark.parametrize("row", [row for row in statistics.STATISTICS if row.of_batch])
def test_an_image_without_positions_changes_no_sum(row: Statistic) -> None:
    """It stands for the empty scan, so that every row begins from it."""
    maps = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    maps[0, 0, 0, 0] = torch.nan
    sums, empty = ChannelSums.of_batch(summarise(maps)), ChannelSums.of_batch(BatchSummary.empty(3))
    assert sums.merge(empty)[row.name].equal(sums[row.name])
    assert empty.merge(sums)[row.name].equal(sums[row.name])


def test_every_row_is_documented() -> None:
    assert all(row.doc for row in statistics.STATISTICS)
    assert len({row.name for row in statistics.STATISTICS}) == len(statistics.STATISTICS)


@pytest.mark.parametrize("row", [row for row in statistics.STATISTICS if row.of_batch])
def test_a_sum_is_stored_or_restored_from_what_is(row: Statistic) -> None:
    """So that finished atlases can be joined."""
    assert bool(row.sql_type) != bool(row.restore)
    maps = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    sums = ChannelSums.of_batch(summarise(maps))
    if row.restore:
        restored = row.restore(sums.finish())
        torch.testing.assert_close(restored, read_sums(sums[row.name]), rtol=1e-12, atol=1e-12)
