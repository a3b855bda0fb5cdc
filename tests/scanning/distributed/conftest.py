"""The fixtures of the runners, and shards of a few images."""

from pathlib import Path

import pytest

from tests.scanning.distributed.driver import IMAGES_PER_SHARD, scan_at_once
from tests.scanning.runners.conftest import _time_limit
from tests.scanning.scans import write_images

__all__ = ["_time_limit"]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retroscope.scanning.sources.listing.IMAGES_PER_SHARD", IMAGES_PER_SHARD)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes; one image is damaged."""
    folder = tmp_path_factory.mktemp("source") / "photos"
    write_images(folder / "ant", 16)
    write_images(folder / "bee", 18)
    (folder / "bee" / "02.png").write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="session")
def scanned(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The atlas of a scan in one process."""
    path = tmp_path_factory.mktemp("local") / "a.atlas"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retroscope.scanning.sources.listing.IMAGES_PER_SHARD", IMAGES_PER_SHARD)
        scan_at_once(photos, path, projections="all")
    return path
