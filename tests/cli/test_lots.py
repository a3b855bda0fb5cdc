"""`plan`, `sweep` and `merge`: what they print, and what they refuse."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.terminal import Retroscope
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.scans import write_images

SCANNED = ("demo", "photos", "--layers", "conv1,conv2", "--batch-size", "4", "--threads", "1")
PLAN = ("plan", *SCANNED, "--to", "r.plan", "--lot-images", "5")


@pytest.fixture(autouse=True)
def photos(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve images in three shards."""
    monkeypatch.setattr("retroscope.scanning.sources.listing.IMAGES_PER_SHARD", 5)
    return write_images(desk / "photos", 12)


def test_plan_sweep_and_merge_make_the_atlas_of_scan(retroscope: Retroscope, desk: Path) -> None:
    (desk / "photos" / "07.png").write_bytes(b"nothing")
    planned = retroscope(*PLAN)
    assert (planned.status, planned.out) == (0, "r.plan\n")
    assert planned.err.splitlines()[-1] == "12 images, 3 shards, 3 lots of about 5 images"
    swept = retroscope("sweep", "r.plan", "--part", "2/2")
    assert (swept.status, swept.out) == (0, "r.plan\n")
    assert swept.err.splitlines()[-1] == "2 of 3 lots missing"
    swept = retroscope("sweep", "r.plan")
    assert swept.err.splitlines()[-1] == (
        "no lot is missing; `retroscope merge r.plan --to ATLAS` makes the atlas"
    )
    assert retroscope("merge", "r.plan", "--to", "lots.atlas").out == "lots.atlas\n"
    assert retroscope("scan", *SCANNED, "--to", "a.atlas", "--projections", "none").status == 0
    assert_same_atlas(desk / "a.atlas", desk / "lots.atlas")


def test_a_sweep_goes_where_the_folder_is(
    retroscope: Retroscope, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths of images and weights are absolute in a plan; those of its own files are not."""
    retroscope(*PLAN)
    (desk / "elsewhere").mkdir()
    shutil.move(desk / "r.plan", desk / "elsewhere" / "moved.plan")
    monkeypatch.chdir(desk / "elsewhere")
    assert retroscope("sweep", "moved.plan").status == 0


def test_a_lot_that_fails_is_named_and_the_status_is_1(retroscope: Retroscope, desk: Path) -> None:
    retroscope(*PLAN)
    hidden = desk / "hidden"
    hidden.mkdir()
    for number in range(5, 10):
        shutil.move(desk / "photos" / f"{number:02}.png", hidden)
    swept = retroscope("sweep", "r.plan")
    assert (swept.status, swept.out) == (1, "")
    lines = swept.err.splitlines()
    reason = "retroscope: lot 1: shard 1 cannot be swept: none of its 5 images is there, such as"
    assert lines[-3].startswith(reason)
    assert lines[-2] == (
        "1 lot could not be swept; what was swept is saved; run the same command to try again"
    )
    assert lines[-1] == "1 of 3 lots missing"
    for path in hidden.iterdir():
        shutil.move(path, desk / "photos")
    assert retroscope("sweep", "r.plan").status == 0


@pytest.mark.parametrize("part", ["17/16", "0/3", "3", "a/b", "1/0", "-1/3", "1/3/5", ""])
def test_what_is_no_part_is_refused(retroscope: Retroscope, part: str) -> None:
    retroscope(*PLAN)
    swept = retroscope("sweep", "r.plan", "--part", part)
    assert swept.status == 2
    assert f"{part!r} is not a part; write 1/16, 2/16 and so on" in swept.err
    assert len(swept.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("sweep", "none.plan"),
            "no plan at 'none.plan'; give a folder that `retroscope plan` has made",
        ),
        (("sweep", "cat.png"), "cannot read"),
        (("sweep", "folder"), "no plan at 'folder'"),
        (("plan", *SCANNED, "--to", "folder/x/y", "--top", "0"), "0 is not in the range"),
        (("plan", *SCANNED, "--to", "photos", "--lot-images", "5"), "exists and is not a plan"),
        ((*PLAN, "--glob", "*.gif"), "no file in 'photos' matches '*.gif'"),
    ],
)
def test_bad_input_is_one_line(retroscope: Retroscope, words: tuple[str, ...], line: str) -> None:
    said = retroscope(*words)
    assert said.status == 2
    assert line in said.err.splitlines()[-1]
    assert said.err.splitlines()[-1].startswith("retroscope: ")


def test_options_stand_beside_what_helps(retroscope: Retroscope) -> None:
    retroscope(*PLAN)
    assert retroscope(*PLAN, "--top", "3").err.rstrip().endswith("(--restart)")
    retroscope("sweep", "r.plan", "--part", "1/3")
    merged = retroscope("merge", "r.plan", "--to", "a.atlas")
    assert merged.err.rstrip().endswith("allow_missing leaves them out (--allow-missing)")
    merged = retroscope("merge", "r.plan", "--to", "a.atlas", "--allow-missing")
    assert merged.status == 0
    assert merged.err.splitlines()[-2:] == [
        "left out of lot 1: 05.png to 09.png: not swept",
        "left out of lot 2: 10.png to 11.png: not swept",
    ]


def test_another_kind_of_machine_is_one_line(retroscope: Retroscope, desk: Path) -> None:
    retroscope(*PLAN)
    file = desk / "r.plan" / "plan.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "machine": "a GPU"}))
    lines = [line for line in retroscope("sweep", "r.plan").err.splitlines() if "a GPU" in line]
    assert len(lines) == 1
    assert lines[0].startswith("retroscope: this machine (")
