"""Scans of volumes on workers: the atlas of one process, projections included."""

from pathlib import Path

import numpy as np
import torch

import retroscope as rs
from retroscope.scanning.lots.sweep_plan import use_threads
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.test_volume_scans import DEPTH, HEIGHT, WIDTH, network


def test_workers_give_the_atlas_of_one_process(tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    for number in range(9):
        values = np.random.default_rng(number).random((DEPTH, HEIGHT, WIDTH)).astype(np.float32)
        np.save(tmp_path / "volumes" / f"{number}.npy", values)
    net = network(torch.float32)
    one, many = tmp_path / "one.atlas", tmp_path / "many.atlas"
    with use_threads(1):
        rs.scan(net, tmp_path / "volumes", to=one, batch_size=4, projections="all").close()
        rs.scan(
            net,
            tmp_path / "volumes",
            to=many,
            batch_size=4,
            projections="all",
            on="processes",
            workers=2,
        ).close()
    assert_same_atlas(one, many)
    with rs.open_atlas(many) as atlas:
        patch = atlas.plate("second:1").patches[0]
        assert patch.projection is not None
        assert patch.projection.pixels.ndim == 4
