"""Images in three classes, and scans of their halves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retroscope.network import Network
from retroscope.scanning.job import scan
from tests.scanning.merging.image_halves import halves
from tests.scanning.scans import tiny, write_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three classes, of which one is in both halves; some are equal, one is broken."""
    root = tmp_path_factory.mktemp("photos")
    files = sorted(write_images(root / "all", 14).iterdir())
    for number, file in enumerate(files):
        place = root / "all" / ("cat", "dog", "owl")[number * 3 // 14]
        place.mkdir(exist_ok=True)
        file.rename(place / file.name)
    (root / "all/cat/00 again.png").write_bytes((root / "all/cat/00.png").read_bytes())
    (root / "all/owl/zz.png").write_bytes((root / "all/cat/00.png").read_bytes())
    (root / "all/dog/broken.png").write_bytes(b"not an image")
    return root / "all"


@pytest.fixture
def pair(folder: Path, tmp_path: Path) -> Callable[..., list[Path]]:
    """Scans the halves, the second as a test wishes."""

    def scan_pair(net: Network | None = None, **options: Any) -> list[Path]:
        first, second = halves(folder)
        scan(tiny(), first, to=tmp_path / "a", projections=False).close()
        scan(net or tiny(), second, to=tmp_path / "b", projections=False, **options).close()
        return [tmp_path / "a", tmp_path / "b"]

    return scan_pair
