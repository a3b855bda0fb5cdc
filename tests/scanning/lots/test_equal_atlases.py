"""The atlas of a plan is that of one scan, whoever sweeps which lots, and in which order."""

from pathlib import Path
from typing import Any

import pytest
import torch

import retroscope as rs
from retroscope.scanning.lots.merge_segments import merge_lots
from retroscope.scanning.lots.sweep_part import sweep
from tests.scanning.lots.planning import plan, scanned
from tests.scanning.packing import PACKERS, files_of
from tests.scanning.same_atlas import assert_same_atlas, scan_facts
from tests.scanning.scans import tiny


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top": 2},
        {"layers": ["first", "head"]},
        {"class_folder": "last"},
        {"classes": False},
        {"per_class": 2},
        {"per_class": 1, "ranked_classes": ["cow", "ant"]},
        {"glob": "0*.png"},
    ],
    ids=lambda options: next(iter(options), "default"),
)
def test_plan_sweep_and_merge_make_the_atlas_of_a_scan(
    photos: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    expected = scanned(photos, tmp_path / "scan.atlas", **options)
    folder = plan(photos, tmp_path / "p.plan", **options)
    assert not sweep(folder.path).missing
    merge_lots(folder.path, to=tmp_path / "lots.atlas").close()
    assert_same_atlas(expected, tmp_path / "lots.atlas")


@pytest.mark.usefixtures("bf16_on_any_device")
@pytest.mark.parametrize("top", [1, 2, 9])
def test_candidates_are_scored_as_in_one_scan(photos: Path, tmp_path: Path, top: int) -> None:
    options = {"precision": "bf16", "top": top, "per_class": 1}
    expected = scanned(photos, tmp_path / "scan.atlas", **options)
    folder = plan(photos, tmp_path / "p.plan", **options)
    first = sweep(folder.path, part=(2, 2))
    assert first.is_waiting, "candidates are known when all lots are swept"
    assert not sweep(folder.path).missing
    merge_lots(folder.path, to=tmp_path / "lots.atlas").close()
    assert_same_atlas(expected, tmp_path / "lots.atlas")


@pytest.mark.parametrize("parts", [[(3, 3), (1, 3), (2, 3)], [(2, 2), (1, 1)], [(1, 4), (1, 1)]])
def test_parts_in_any_order_and_number(
    photos: Path, tmp_path: Path, parts: list[tuple[int, int]]
) -> None:
    expected = scanned(photos, tmp_path / "scan.atlas")
    folder = plan(photos, tmp_path / "p.plan")
    summaries = [sweep(folder.path, part=part) for part in parts]
    assert sum(summary.swept for summary in summaries) == 3, "no lot is swept twice"
    merge_lots(folder.path, to=tmp_path / "lots.atlas").close()
    assert_same_atlas(expected, tmp_path / "lots.atlas")


@pytest.mark.parametrize("lot_images", [1, 12, 1000])
def test_the_size_of_lots_changes_nothing(photos: Path, tmp_path: Path, lot_images: int) -> None:
    expected = scanned(photos, tmp_path / "scan.atlas")
    folder = plan(photos, tmp_path / "p.plan", lot_images=lot_images)
    sweep(folder.path)
    merge_lots(folder.path, to=tmp_path / "lots.atlas").close()
    assert_same_atlas(expected, tmp_path / "lots.atlas")


def test_a_lot_gives_the_same_bytes_each_time(photos: Path, tmp_path: Path) -> None:
    segments = []
    for name in ("a.plan", "b.plan"):
        folder = plan(photos, tmp_path / name)
        sweep(folder.path)
        segments.append([path.read_bytes() for path in sorted(folder.lots.glob("*.seg"))])
    assert len(segments[0]) == 3
    assert segments[0] == segments[1]


def test_a_merged_atlas_is_illustrated_like_a_scanned_one(photos: Path, tmp_path: Path) -> None:
    expected = scanned(photos, tmp_path / "scan.atlas")
    folder = plan(photos, tmp_path / "p.plan")
    sweep(folder.path)
    merge_lots(folder.path, to=tmp_path / "lots.atlas").close()
    for path in (expected, tmp_path / "lots.atlas"):
        rs.illustrate(path, tiny_as_planned(), projections=1)
    assert_same_atlas(expected, tmp_path / "lots.atlas")


def test_a_scan_goes_on_with_a_merged_atlas(photos: Path, tmp_path: Path) -> None:
    folder = plan(photos, tmp_path / "p.plan")
    sweep(folder.path)
    merge_lots(folder.path, to=tmp_path / "lots.atlas").close()
    before = scan_facts(tmp_path / "lots.atlas")
    scanned(photos, tmp_path / "lots.atlas")  # refused if it were another scan
    assert scan_facts(tmp_path / "lots.atlas") == before


@pytest.mark.parametrize("kind", list(PACKERS))
def test_archives_in_the_working_folder(
    photos: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two, named by relative paths: what an atlas says of an unreadable image is equal, too."""
    files = files_of(photos)
    cows = {name: content for name, content in files.items() if name.startswith("cow")}
    others = {name: content for name, content in files.items() if name not in cows}
    monkeypatch.chdir(tmp_path)
    archives = [Path(f"0.{kind}"), Path(f"1.{kind}")]
    for path, members in zip(archives, (others, cows), strict=True):
        PACKERS[kind](path, members)
    expected = scanned(archives, tmp_path / "scan.atlas")
    folder = plan(archives, tmp_path / "p.plan", lot_images=1)
    assert not sweep(folder.path).missing
    merge_lots(folder.path, to=tmp_path / "lots.atlas").close()
    assert_same_atlas(expected, tmp_path / "lots.atlas")


def tiny_as_planned() -> rs.Network:
    return tiny(torch.float32)
