"""Plans for networks of volumes and clips: their lots make the atlas of one scan."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.errors import RetroscopeError
from retroscope.scanning.lots.make_plan import make_plan
from retroscope.scanning.lots.merge_segments import merge_lots
from retroscope.scanning.lots.sweep_part import sweep
from retroscope.scanning.lots.sweep_plan import use_threads
from tests.conftest import built
from tests.scanning.packing import PACKERS, files_of
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.test_volume_scans import DEPTH, HEIGHT, LAYERS, WIDTH, network

BATCH, VOLUMES = 3, 17


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Four shards of two classes; one volume is damaged, and one has more slices."""
    for number in range(VOLUMES):
        depth = DEPTH + 5 * (number == 4)
        values = np.random.default_rng(number).random((depth, HEIGHT, WIDTH))
        folder = tmp_path / "volumes" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number:02}.npy", values.astype(np.float32))
    (tmp_path / "volumes" / "class1" / "03.npy").write_bytes(b"nothing")
    return tmp_path / "volumes"


def scan_once(net: rs.Network, images: Any, to: Path, **options: Any) -> Path:
    with use_threads(1):
        rs.scan(net, images, to=to, batch_size=BATCH, projections="none", **options).close()
    return to


def scan_in_lots(net: rs.Network, images: Any, to: Path, **options: Any) -> Path:
    folder = to.with_suffix(".plan")
    make_plan(net, images, to=folder, batch_size=BATCH, lot_images=10, threads=1, **options)
    assert not sweep(folder).missing
    merge_lots(folder, to=to).close()
    return to


@pytest.mark.parametrize(
    "options",
    [{}, {"top": 2, "per_class": 1}, {"layers": LAYERS}],
    ids=["default", "top", "layers"],
)
def test_a_plan_of_volumes_makes_the_atlas_of_one_scan(
    volumes: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    net = network(torch.float32)
    expected = scan_once(net, volumes, tmp_path / "scan.atlas", **options)
    actual = scan_in_lots(net, volumes, tmp_path / "lots.atlas", **options)
    assert_same_atlas(expected, actual)
    with rs.open_atlas(actual) as atlas:
        assert atlas.layer("first").size == (DEPTH, HEIGHT, WIDTH)
        assert sum(image.error is not None for image in atlas.images) == 1
    for path in (expected, actual):
        rs.illustrate(path, net, projections=1, layers=["second"])
    assert_same_atlas(expected, actual)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_volumes_in_archives(volumes: Path, tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"volumes.{kind}"
    PACKERS[kind](archive, files_of(volumes))
    net = network(torch.float32)
    expected = scan_once(net, archive, tmp_path / "scan.atlas")
    assert_same_atlas(expected, scan_in_lots(net, archive, tmp_path / "lots.atlas"))


def clips_network() -> rs.Network:
    def make() -> nn.Module:
        return nn.Sequential(
            *(nn.Conv3d(3, 3, (2, 3, 3)), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten()),
            nn.Linear(3, 2),
        )

    return rs.Network(built(make), input_size=(4, 12, 14), name="clips")


def test_folders_of_frames_are_clips_in_lots_too(tmp_path: Path) -> None:
    for clip in range(12):
        folder = tmp_path / "clips" / f"{clip:02}"
        folder.mkdir(parents=True)
        for frame in range(5):
            pixels = np.random.default_rng(100 * clip + frame).integers(0, 256, (12, 14, 3))
            PIL.Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{frame}.png")
    net = clips_network()
    expected = scan_once(net, tmp_path / "clips", tmp_path / "scan.atlas")
    actual = scan_in_lots(net, tmp_path / "clips", tmp_path / "lots.atlas")
    assert_same_atlas(expected, actual)
    with rs.open_atlas(actual) as atlas:
        assert [image.key for image in atlas.images] == [f"{clip:02}" for clip in range(12)]


def test_single_images_and_signals_are_refused_when_planning(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (5, 6)).save(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png\n")
    photo = (tmp_path / "a.png").read_bytes()
    frames = {f"clip/{number}.png": photo for number in range(3)}
    for images in (tmp_path / "list.txt", PACKERS["zip"](tmp_path / "a.zip", frames)):
        with pytest.raises(RetroscopeError, match="is a single image, like all others"):
            make_plan(clips_network(), images, to=tmp_path / "a.plan")
    signals = rs.Network(nn.Conv1d(2, 3, 3), input_size=(20,), mean=[0, 0], name="ecg")
    with pytest.raises(RetroscopeError, match="no scan of ecg: it takes signals"):
        make_plan(signals, tmp_path, to=tmp_path / "a.plan")
    assert not (tmp_path / "a.plan").exists()
