"""Shards of a few images, so that a few images make several lots."""

from pathlib import Path

import pytest

from tests.scanning.scans import write_images

IMAGES_PER_SHARD = 5


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retroscope.scanning.sources.listing.IMAGES_PER_SHARD", IMAGES_PER_SHARD)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five shards of three classes, of which one ends within a shard; one image is damaged."""
    folder = tmp_path / "photos"
    for name, count in (("ant", 4), ("bee", 5), ("cow", 14)):
        write_images(folder / name, count)
    (folder / "bee" / "02.png").write_bytes(b"nothing")
    return folder
