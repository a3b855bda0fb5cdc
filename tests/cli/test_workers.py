"""`scan --on` and `illustrate --on`, as somebody at a terminal meets them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

import retroscope as rs
from tests.cli.terminal import Retroscope
from tests.scanning.packing import files_of, write_tar
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.scans import write_images

OPTIONS = ("--layers", "conv1,conv2", "--batch-size", "4", "--threads", "1", "--device", "cpu")
ON = ("--on", "processes", "--workers", "2")


@pytest.fixture(autouse=True)
def photos(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve images in three shards."""
    monkeypatch.setattr("retroscope.scanning.sources.listing.IMAGES_PER_SHARD", 5)
    return write_images(desk / "photos", 12)


def test_workers_make_the_atlas_of_one_process(retroscope: Retroscope, desk: Path) -> None:
    scanned = retroscope("scan", "demo", "photos", *OPTIONS, "--to", "a.atlas")
    shared = retroscope("scan", "demo", "photos", *OPTIONS, *ON, "--to", "b.atlas")
    assert (shared.status, shared.out) == (scanned.status, "b.atlas\n") == (0, "b.atlas\n")
    lines = shared.err.splitlines()
    counts = scanned.err.splitlines()[0].split(": ")[0]
    assert counts.startswith("12 images, 2 layers, ")
    assert lines[0].startswith(f"{counts}: about a second for the pass with 2 workers and ")
    assert " of memory for statistics in each and " in lines[0]
    assert lines[1].startswith("scan 0/12")
    ends = [line for line in lines if line.split()[1:2] == ["12/12"]]
    assert len(ends) == 1, "the end of a stage is one line"
    projected = projection_counts(lines)
    assert len(projected) == len(set(projected))
    assert_same_atlas(desk / "a.atlas", desk / "b.atlas")
    assert not (desk / "b.atlas.plan").exists()
    again = retroscope("scan", "demo", "photos", *OPTIONS, *ON, "--to", "b.atlas")
    assert (again.status, again.out) == (0, "b.atlas\n")


def projection_counts(lines: Sequence[str]) -> list[str]:
    """What the lines of progress count, but for the start: it is said again while workers start."""
    counts = [line.split()[1] for line in lines if line.startswith("illustrate ")]
    return [count for count in counts if not count.startswith("0/")]


def test_projections_are_added_on_workers(retroscope: Retroscope) -> None:
    words = ("scan", "demo", "photos", *OPTIONS, "--to", "a.atlas", "--projections")
    assert retroscope(*words, "none").status == 0
    shutil.copy("a.atlas", "b.atlas")
    assert retroscope("illustrate", "a.atlas", "demo", "--device", "cpu").status == 0
    shared = retroscope("illustrate", "b.atlas", "demo", "--threads", "1", "--device", "cpu", *ON)
    assert (shared.status, shared.out) == (0, "b.atlas\n")
    projected = projection_counts(shared.err.splitlines())
    assert len(projected) == len(set(projected)) > 0
    with rs.open_atlas("a.atlas") as one, rs.open_atlas("b.atlas") as other:
        count = "SELECT COUNT(*) FROM projections"
        assert one.sql(count) == other.sql(count) != [(0,)]


def test_a_bad_shard_is_named_and_the_status_is_1(retroscope: Retroscope, desk: Path) -> None:
    """The others are swept; when it is restored, the same command goes on."""
    files = list(files_of(desk / "photos").items())
    for number in range(3):
        write_tar(desk / "tars" / f"{number}.tar", dict(files[4 * number : 4 * number + 4]))
    whole = (desk / "tars" / "1.tar").read_bytes()
    (desk / "tars" / "1.tar").write_bytes(whole[: len(whole) // 2])
    words = ("scan", "demo", "tars", *OPTIONS, *ON, "--to", "a.atlas", "--projections", "none")
    bad = retroscope(*words)
    assert (bad.status, bad.out) == (1, "")
    *_, reason, line = bad.err.splitlines()
    assert reason.startswith("retroscope: lot 0: shard 1 cannot be swept: ")
    assert "1.tar" in reason
    assert line == (
        "retroscope: 1 of 1 lots could not be swept; what was swept is saved; run the same again "
        "to go on"
    )
    assert bad.err.splitlines()[0].startswith("about ")
    (desk / "tars" / "1.tar").write_bytes(whole)
    changed = retroscope(*words)
    assert changed.status == 2
    assert "holds another plan: the images or their classes changed" in changed.err
    restarted = retroscope(*words, "--restart")
    assert restarted.status == 0
    lines = [line for line in restarted.err.splitlines() if line.startswith("scan ")]
    assert lines[0] == "scan 0/3"
    assert lines[-1].startswith("scan 3/3 ")
    assert "/s, 3/3 shards, 1/1 lots, " in lines[-1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--on", "dask"), "cannot run on 'dask'; choose from processes, ray, or ray://HOST:PORT"),
        (("--on", "ray://"), "cannot run on 'ray://'; choose from"),
        ((*ON[:3], "0"), "0 is not in the range x>=1"),
        ((*ON, "--gpus-per-worker", "-1"), "-1.0 is not in the range x>=0"),
        (("--gpus-per-worker", "1"), "is for workers; add --on, or leave it out"),
        ((*ON, "--gpus-per-worker", "1"), "2 workers with 1 GPUs each need 2, and there are 0"),
        ((*ON, "--gpus-per-worker", "0.5"), "2 workers with 0.5 GPUs each need 1, and there are 0"),
    ],
)
def test_workers_that_cannot_be_had_are_one_line(
    retroscope: Retroscope, words: tuple[str, ...], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    said = retroscope("scan", "demo", "photos", *OPTIONS, *words, "--to", "a.atlas")
    assert said.status == 2
    assert line in said.err.splitlines()[-1]
    assert "Traceback" not in said.err


def test_workers_are_workers_with_on_and_threads_without(
    retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: dict[str, int] = {}

    def scan(*_arguments: object, on: object, workers: int, **_options: object) -> object:
        counts["processes" if on else "threads"] = getattr(on, "workers", workers)
        raise rs.RetroscopeError("enough")

    monkeypatch.setattr("retroscope.scanning.job.scan", scan)
    for words in ((), ("--on", "processes")):
        retroscope("scan", "demo", "photos", *OPTIONS, *words, "--workers", "3", "--to", "a.atlas")
    assert counts == {"threads": 3, "processes": 3}


def test_a_plan_of_tars_says_what_is_known(retroscope: Retroscope, desk: Path) -> None:
    files = list(files_of(desk / "photos").items())
    for number in range(2):
        write_tar(desk / "tars" / f"{number}.tar", dict(files[6 * number : 6 * number + 6]))
    planned = retroscope("plan", "demo", "tars", *OPTIONS, "--to", "r.plan")
    assert planned.err.splitlines()[-1] == "2 shards, 1 lot"


def test_an_atlas_that_leaves_images_out_takes_the_images_of_the_scan(
    retroscope: Retroscope, desk: Path
) -> None:
    plan = ("plan", "demo", "photos", *OPTIONS, "--to", "r.plan", "--lot-images", "5")
    assert retroscope(*plan).status == 0
    retroscope("sweep", "r.plan", "--part", "1/3")
    retroscope("sweep", "r.plan", "--part", "3/3")
    merged = retroscope("merge", "r.plan", "--to", "a.atlas", "--allow-missing")
    assert "left out of lot 1: 05.png to 09.png: not swept" in merged.err
    network = ("--model", "demo", "--images", "photos", "--device", "cpu")
    shown = retroscope("show", "a.atlas", "conv2:0", *network, "-o", "plate.png")
    assert shown.status == 0, shown.err
    with rs.open_atlas("a.atlas") as atlas:
        assert all(patch.projection for patch in atlas.plate("conv2:0").patches)
        assert len(atlas.images) == 7
    (desk / "other").mkdir()
    shutil.copy(desk / "photos" / "00.png", desk / "other")
    refused = retroscope("illustrate", "a.atlas", "demo", "other", "--device", "cpu")
    assert refused.status == 2
    assert "give the same images" in refused.err
