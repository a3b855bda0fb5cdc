"""A shard that ends workers when its candidates are scored again is left out like any other."""

import shutil
from pathlib import Path

import pytest
import torch

from retroscope.atlas.reader import open_atlas
from retroscope.scanning.distributed.scan_on_workers import DistributedScan
from retroscope.scanning.illustrate import parse_ranks
from retroscope.scanning.job import scan
from retroscope.scanning.runners.work import Limits
from retroscope.scanning.sources.scan_source import ScanSource
from tests.scanning.distributed.deadly_candidates import DeadlyOptions
from tests.scanning.distributed.driver import BATCH_SIZE, IMAGES_PER_SHARD, TOP
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.scans import tiny, write_images

RESULTS = ("layers", "channels", "hits", "winner_pictures")


@pytest.mark.usefixtures("bf16_on_any_device")
def test_the_atlas_is_that_of_the_other_shards(tmp_path: Path) -> None:
    photos = write_images(tmp_path / "photos", 4 * IMAGES_PER_SHARD)
    to = tmp_path / "a.atlas"
    options = DeadlyOptions(
        "processes",
        1,
        threads=1,
        name="07.png",
        candidates=tmp_path / "a.atlas.plan/candidates.npz",
    )
    DistributedScan(
        tiny(torch.float32),
        ScanSource(photos),
        to,
        options,
        top=TOP,
        precision="bf16",
        batch_size=BATCH_SIZE,
        lot_images=2 * IMAGES_PER_SHARD,
        limits=Limits(deaths=1),
    ).run(ranks=parse_ranks("none"), restart=False, progress=lambda _progress: None).close()
    with open_atlas(to) as atlas:
        left_out = atlas.meta["left_out"]
    assert left_out == [
        {
            "lot": 0,
            "shards": ["05.png to 09.png"],
            "reason": "its workers died: killed by SIGKILL",
        }
    ]
    rest = shutil.copytree(photos, tmp_path / "rest")
    for number in range(5, 10):
        (rest / f"{number:02}.png").unlink()
    expected = tmp_path / "expected.atlas"
    scan(
        tiny(torch.float32),
        rest,
        to=expected,
        top=TOP,
        precision="bf16",
        batch_size=BATCH_SIZE,
        projections="none",
    ).close()
    assert_same_atlas(expected, to, tables=RESULTS, facts=False)
    assert not (tmp_path / "a.atlas.plan").exists()
