"""Plans for networks of several inputs: a lot records what comes with each of its images."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import retroscope as rs
from retroscope.errors import RetroscopeError
from retroscope.scanning.lots.make_plan import make_plan
from retroscope.scanning.lots.merge_segments import merge_lots
from retroscope.scanning.lots.network_source import NetworkSource
from retroscope.scanning.lots.plan_folder import PlanFolder
from retroscope.scanning.lots.sweep_part import sweep
from retroscope.scanning.lots.sweep_plan import use_threads
from tests.scanning.packing import PACKERS, files_of
from tests.scanning.pairs import FACTORY, conditioned, pair, write_partners, write_table
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.scans import smooth_image

BATCH = 3


def scan_once(net: rs.Network, photos: Any, to: Path, **options: Any) -> Path:
    with use_threads(1):
        rs.scan(net, photos, to=to, batch_size=BATCH, projections="none", **options).close()
    return to


def plan(net: rs.Network, photos: Any, to: Path, **options: Any) -> PlanFolder:
    options = {"batch_size": BATCH, "lot_images": 10, "threads": 1, **options}
    make_plan(net, photos, to=to, **options)
    return PlanFolder(to)


def sweep_and_merge(folder: PlanFolder, to: Path) -> Path:
    assert not sweep(folder.path).missing
    merge_lots(folder.path, to=to).close()
    return to


@pytest.mark.parametrize("options", [{}, {"top": 2, "per_class": 1}], ids=["default", "classes"])
def test_a_plan_of_pairs_makes_the_atlas_of_one_scan(
    photos: Path, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With relative paths, one partner that cannot be read, and workers that run elsewhere."""
    write_partners(photos, tmp_path / "right")
    (tmp_path / "right" / "cow" / "03.bmp").write_bytes(b"nothing")
    monkeypatch.chdir(tmp_path)
    keywords = {"inputs": {"right": "right"}, **options}
    expected = scan_once(pair(), Path("photos"), tmp_path / "scan.atlas", **keywords)
    folder = plan(pair(), Path("photos"), tmp_path / "p.plan", **keywords)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    actual = sweep_and_merge(folder, tmp_path / "lots.atlas")
    assert_same_atlas(expected, actual)
    with rs.open_atlas(actual) as atlas:
        (error,) = atlas.sql("SELECT error FROM images WHERE key = 'cow/03.png'")
        assert "right: 'right/cow/03.bmp'" in str(error[0])
        assert atlas.meta["input_sources"] == {"right": "right"}
    monkeypatch.chdir(tmp_path)
    for path in (expected, actual):
        rs.illustrate(path, pair(), projections=1)
    assert_same_atlas(expected, actual)


def test_a_plan_of_numbers_makes_the_atlas_of_one_scan(photos: Path, tmp_path: Path) -> None:
    inputs = {"numbers": write_table(photos, tmp_path / "numbers.csv")}
    expected = scan_once(conditioned(), photos, tmp_path / "scan.atlas", inputs=inputs)
    folder = plan(conditioned(), photos, tmp_path / "p.plan", inputs=inputs)
    assert_same_atlas(expected, sweep_and_merge(folder, tmp_path / "lots.atlas"))


@pytest.mark.parametrize("kind", list(PACKERS))
def test_partners_of_images_in_archives(photos: Path, tmp_path: Path, kind: str) -> None:
    write_partners(photos, tmp_path / "right")
    files = files_of(photos)
    cows = {name: content for name, content in files.items() if name.startswith("cow")}
    others = {name: content for name, content in files.items() if name not in cows}
    archives = [tmp_path / f"0.{kind}", tmp_path / f"1.{kind}"]
    for path, members in zip(archives, (others, cows), strict=True):
        PACKERS[kind](path, members)
    inputs = {"right": tmp_path / "right"}
    expected = scan_once(pair(), archives, tmp_path / "scan.atlas", inputs=inputs)
    folder = plan(pair(), archives, tmp_path / "p.plan", inputs=inputs, lot_images=1)
    assert_same_atlas(expected, sweep_and_merge(folder, tmp_path / "lots.atlas"))


@pytest.mark.usefixtures("bf16_on_any_device")
def test_candidates_of_pairs_are_scored_again(photos: Path, tmp_path: Path) -> None:
    write_partners(photos, tmp_path / "right")
    options: dict[str, Any] = {"inputs": {"right": tmp_path / "right"}, "precision": "bf16"}
    expected = scan_once(pair(), photos, tmp_path / "scan.atlas", **options)
    folder = plan(pair(), photos, tmp_path / "p.plan", **options)
    assert_same_atlas(expected, sweep_and_merge(folder, tmp_path / "lots.atlas"))


@pytest.mark.parametrize("is_named", [False, True], ids=["pickled", "named"])
def test_held_values_travel_with_the_plan(photos: Path, tmp_path: Path, is_named: bool) -> None:
    smooth_image(3, 24).save(tmp_path / "held.png")
    (tmp_path / "nets.py").write_text(FACTORY)
    name = f"{tmp_path / 'nets.py'}:pair"
    net = rs.open_model(name, device="cpu") if is_named else pair()
    net = net.hold(right=tmp_path / "held.png")
    opened = NetworkSource.named(name, device="cpu") if is_named else None
    expected = scan_once(net, photos, tmp_path / "scan.atlas")
    folder = plan(net, photos, tmp_path / "p.plan", opened=opened)
    (tmp_path / "held.png").unlink()
    assert_same_atlas(expected, sweep_and_merge(folder, tmp_path / "lots.atlas"))


def test_a_part_of_a_plan_is_listed_with_its_partners_alone(photos: Path, tmp_path: Path) -> None:
    write_partners(photos, tmp_path / "right")
    folder = plan(pair(), photos, tmp_path / "p.plan", inputs={"right": tmp_path / "right"})
    sweep(folder.path, part=(2, 2))
    with merge_lots(folder.path, to=tmp_path / "part.atlas", allow_missing=True) as atlas:
        rest = [photos / image.key for image in atlas.images]
    paths = [str(path.relative_to(photos)) for path in rest]
    (tmp_path / "list.txt").write_text("\n".join(f"photos/{path}" for path in paths))
    assert 0 < len(rest) < 23
    rs.illustrate(tmp_path / "part.atlas", pair(), projections=1)
    with rs.open_atlas(tmp_path / "part.atlas") as atlas:
        patch = atlas.plate("compare:0").patches[0]
        assert patch.projection is not None


@pytest.mark.parametrize(
    "change", ["a partner is renamed", "numbers", "other values are held", "no partner"]
)
def test_another_plan_is_refused(photos: Path, tmp_path: Path, change: str) -> None:
    right = write_partners(photos, tmp_path / "right")
    net, inputs = pair(), {"right": right}
    if change == "numbers":
        net, inputs = conditioned(), {"numbers": write_table(photos, tmp_path / "n.csv")}
    if change == "other values are held":
        net, inputs = pair().hold(right=torch.zeros(3, 24, 24)), {}
    plan(net, photos, tmp_path / "p.plan", inputs=inputs)
    match = "holds another plan: what comes with the images changed"
    if change == "a partner is renamed":
        (right / "ant" / "01.bmp").rename(right / "ant" / "01.png")
    elif change == "numbers":
        write_table(photos, tmp_path / "n.csv", factor=2)
    elif change == "other values are held":
        net, match = pair().hold(right=torch.ones(3, 24, 24)), "what is held for them changed"
    else:
        (right / "ant" / "01.bmp").unlink()
        match = r"1 of 23 images have no right in .*, such as 'ant/01.png'; add them"
    with pytest.raises(RetroscopeError, match=match):
        plan(net, photos, tmp_path / "p.plan", inputs=inputs)


def test_a_network_that_holds_other_values_does_not_sweep(photos: Path, tmp_path: Path) -> None:
    """As if the function of a network reads another file than when the plan was made."""
    (tmp_path / "nets.py").write_text(FACTORY)
    name = f"{tmp_path / 'nets.py'}:pair"
    inputs = {"right": write_partners(photos, tmp_path / "right")}
    net, opened = rs.open_model(name, device="cpu"), NetworkSource.named(name, device="cpu")
    folder = plan(net, photos, tmp_path / "p.plan", inputs=inputs, opened=opened)
    facts = json.loads(folder.plan_file.read_text())
    facts["inputs"]["given"]["right"]["mean"] = [0.1]
    folder.plan_file.write_text(json.dumps(facts))
    with pytest.raises(RetroscopeError, match=r"has other inputs here than when .*p\.plan' was"):
        sweep(folder.path)
