"""Whatever goes wrong is one line, the other lots go on, and the same call finishes the rest."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from retroscope.errors import RetroscopeError
from retroscope.scanning.lots.lot_sweeper import LotReport, LotSweeper, LotWork
from retroscope.scanning.lots.merge_segments import merge_lots
from retroscope.scanning.lots.plan_folder import LotTask
from retroscope.scanning.lots.segment import LotStage
from retroscope.scanning.lots.sweep_part import sweep
from retroscope.scanning.lots.whole_files import PlanError
from tests.scanning.lots.planning import plan, scanned
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.scans import smooth_image


def test_a_shard_that_is_missing_is_named_and_the_others_go_on(
    photos: Path, tmp_path: Path
) -> None:
    expected = scanned(photos, tmp_path / "scan.atlas")
    folder = plan(photos, tmp_path / "p.plan")
    for number in range(1, 11):  # those of lot 1
        shutil.move(photos / "cow" / f"{number:02}.png", tmp_path / f"{number:02}.png")
    summary = sweep(folder.path)
    assert summary.swept == 2
    assert list(summary.missing) == [LotTask(1)]
    reason = summary.failures[LotTask(1)]
    assert reason.startswith("shard 2 cannot be swept: none of its 5 images is there, such as")
    for number in range(1, 11):
        shutil.move(tmp_path / f"{number:02}.png", photos / "cow" / f"{number:02}.png")
    assert sweep(folder.path).swept == 1
    merge_lots(folder.path, to=tmp_path / "lots.atlas").close()
    assert_same_atlas(expected, tmp_path / "lots.atlas")


def test_an_image_that_is_missing_is_unreadable_as_in_a_scan(photos: Path, tmp_path: Path) -> None:
    folder = plan(photos, tmp_path / "p.plan")
    (photos / "cow" / "03.png").unlink()
    summary = sweep(folder.path)
    assert (summary.unreadable, summary.failures) == (2, {})


class FullDisk:
    """A file on a disk that has place for so many bytes."""

    def __init__(self, file: IO[bytes], room: int) -> None:
        self._file, self._room = file, room

    def write(self, content: bytes) -> int:
        self._room -= len(memoryview(content).cast("B"))
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def fill_disk(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    @contextmanager
    def open_on_full_disk(**options: Any) -> Iterator[object]:
        with make_file(**options) as file:
            yield FullDisk(file, room)

    make_file = tempfile.NamedTemporaryFile
    name = "retroscope.scanning.lots.whole_files.NamedTemporaryFile"
    monkeypatch.setattr(name, open_on_full_disk)


@pytest.mark.parametrize("room", [0, 100, 3000, 20000])
def test_a_full_disk_is_one_line_and_loses_nothing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    expected = scanned(photos, tmp_path / "scan.atlas")
    folder = plan(photos, tmp_path / "p.plan")
    sweep(folder.path, part=(1, 3))
    with monkeypatch.context() as patch:
        fill_disk(patch, room)
        with pytest.raises(PlanError) as caught:
            sweep(folder.path)
    assert str(caught.value) == (
        f"cannot write {str(folder.segment(LotTask(1)))!r}: the disk is full; free some space and "
        "run the same again, everything that is finished is kept"
    )
    assert [path.name for path in folder.lots.glob("*seg*")] == ["00000.seg"], "no rest is left"
    assert sweep(folder.path).swept == 2
    merge_lots(folder.path, to=tmp_path / "lots.atlas").close()
    assert_same_atlas(expected, tmp_path / "lots.atlas")


def test_a_lot_that_another_process_finishes_meanwhile_is_passed_over(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, own = plan(photos, tmp_path / "p.plan"), []
    do = LotWork(str(folder.path)).open()

    def sweep_and_be_overtaken(sweeper: LotSweeper, task: LotTask, report: Any) -> LotReport:
        own.append(task.lot)
        do(LotTask(1))  # another process
        return original(sweeper, task, report)

    original = LotSweeper.sweep
    monkeypatch.setattr(LotSweeper, "sweep", sweep_and_be_overtaken)
    assert not sweep(folder.path).missing
    assert own == [0, 2]


def test_missing_lots_are_not_merged_unless_that_is_allowed(photos: Path, tmp_path: Path) -> None:
    folder, to = plan(photos, tmp_path / "p.plan"), tmp_path / "lots.atlas"
    with pytest.raises(PlanError, match=r"no lot of .* has been swept"):
        merge_lots(folder.path, to=to, allow_missing=True)
    sweep(folder.path, part=(1, 3))
    with pytest.raises(PlanError) as caught:
        merge_lots(folder.path, to=to)
    name = str(folder.path)
    assert str(caught.value) == (
        f"2 of 3 lots of {name!r} are missing, the first is 1; 'retroscope sweep {name}' sweeps "
        "them, and allow_missing leaves them out"
    )
    assert caught.value.parameter == "allow_missing"
    assert not to.exists()
    folder.skip_lot(1, "killed 3 workers")
    with merge_lots(folder.path, to=to, allow_missing=True) as atlas:
        assert [image.key for image in atlas.images] == [
            *(f"ant/{number:02}.png" for number in range(4)),
            *(f"bee/{number:02}.png" for number in range(5)),
            "cow/00.png",
        ]
        assert atlas.meta["left_out"] == [
            {
                "lot": 1,
                "shards": ["cow/01.png to cow/05.png", "cow/06.png to cow/10.png"],
                "reason": "killed 3 workers",
            },
            {"lot": 2, "shards": ["cow/11.png to cow/13.png"], "reason": "not swept"},
        ]


def test_an_atlas_of_some_lots_is_that_of_a_scan_of_their_images(
    photos: Path, tmp_path: Path
) -> None:
    """Also where the numbers of the images that are there have a gap."""
    folder = plan(photos, tmp_path / "p.plan")
    sweep(folder.path, part=(1, 2))  # the first and the last of three
    merge_lots(folder.path, to=tmp_path / "some.atlas", allow_missing=True).close()
    for number in range(1, 11):
        (photos / "cow" / f"{number:02}.png").unlink()
    expected = scanned(photos, tmp_path / "scan.atlas")
    tables = ("layers", "labels", "images", "channels", "hits", "class_stats", "winner_pictures")
    assert_same_atlas(expected, tmp_path / "some.atlas", tables=tables, facts=False)


def test_a_skipped_lot_is_not_swept(photos: Path, tmp_path: Path) -> None:
    folder = plan(photos, tmp_path / "p.plan")
    folder.skip_lot(1, "killed 3 workers")
    summary = sweep(folder.path)
    assert (summary.swept, summary.missing, summary.skipped) == (2, [], {1: "killed 3 workers"})
    with pytest.raises(PlanError, match=r"the first is 1, which is skipped \(killed 3 workers\)"):
        merge_lots(folder.path, to=tmp_path / "a.atlas")


def test_a_damaged_segment_is_named_when_it_is_merged(photos: Path, tmp_path: Path) -> None:
    folder = plan(photos, tmp_path / "p.plan")
    sweep(folder.path)
    path = folder.segment(LotTask(1))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PlanError) as caught:
        merge_lots(folder.path, to=tmp_path / "a.atlas")
    assert str(caught.value).startswith(f"the segment {str(path)!r} is damaged (BadZipFile")
    path.unlink()
    assert sweep(folder.path).swept == 1
    merge_lots(folder.path, to=tmp_path / "a.atlas").close()


def test_a_segment_of_another_plan_is_not_merged(photos: Path, tmp_path: Path) -> None:
    folder, other = plan(photos, tmp_path / "p.plan"), plan(photos, tmp_path / "q.plan", top=2)
    for each in (folder, other):
        sweep(each.path)
    shutil.copy(other.segment(LotTask(1)), folder.segment(LotTask(1)))
    with pytest.raises(PlanError, match=r"00001\.seg' is of another plan; delete the segments"):
        merge_lots(folder.path, to=tmp_path / "a.atlas")
    shutil.copy(folder.segment(LotTask(0)), folder.segment(LotTask(1)))
    with pytest.raises(PlanError, match="is of another plan"):
        merge_lots(folder.path, to=tmp_path / "a.atlas")


def test_an_atlas_of_something_else_is_not_overwritten(photos: Path, tmp_path: Path) -> None:
    folder = plan(photos, tmp_path / "p.plan")
    sweep(folder.path)
    other = scanned(photos, tmp_path / "other.atlas", top=3)
    before = other.read_bytes()
    with pytest.raises(RetroscopeError, match="holds another scan; merge to another file"):
        merge_lots(folder.path, to=other)
    assert other.read_bytes() == before
    merge_lots(folder.path, to=other, restart=True).close()
    assert_same_atlas(scanned(photos, tmp_path / "scan.atlas"), other)


def test_merging_again_finds_the_atlas(photos: Path, tmp_path: Path) -> None:
    folder = plan(photos, tmp_path / "p.plan")
    sweep(folder.path)
    merge_lots(folder.path, to=tmp_path / "a.atlas").close()
    before = (tmp_path / "a.atlas").read_bytes()
    merge_lots(folder.path, to=tmp_path / "a.atlas").close()
    assert (tmp_path / "a.atlas").read_bytes() == before


@pytest.mark.parametrize("step", ["_write_images", "_write_results", "_write_pixels", "_facts"])
def test_an_interrupted_merge_starts_over(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def stop(*_arguments: object) -> None:
        raise KeyboardInterrupt

    expected = scanned(photos, tmp_path / "scan.atlas")
    folder = plan(photos, tmp_path / "p.plan")
    sweep(folder.path)
    with monkeypatch.context() as patch:
        patch.setattr(f"retroscope.scanning.lots.merge_segments._Merger.{step}", stop)
        with pytest.raises(KeyboardInterrupt):
            merge_lots(folder.path, to=tmp_path / "lots.atlas")
    merge_lots(folder.path, to=tmp_path / "lots.atlas").close()
    assert_same_atlas(expected, tmp_path / "lots.atlas")


def test_images_of_which_none_can_be_read_make_no_atlas(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(b"nothing")
    folder = plan(photos, tmp_path / "p.plan")
    sweep(folder.path)
    with pytest.raises(RetroscopeError, match=r"none of the images can be read; .*a\.png"):
        merge_lots(folder.path, to=tmp_path / "a.atlas")
    assert not (tmp_path / "a.atlas").exists()


@pytest.mark.usefixtures("bf16_on_any_device")
def test_an_image_that_changes_between_both_passes_is_refused(photos: Path, tmp_path: Path) -> None:
    folder = plan(photos, tmp_path / "p.plan", precision="bf16")
    do = LotWork(str(folder.path)).open()
    for lot in range(3):
        do(LotTask(lot))
    smooth_image(77).save(photos / "ant" / "01.png")
    summary = sweep(folder.path)
    ((task, reason),) = summary.failures.items()
    assert task == LotTask(0, LotStage.SCORE_AGAIN)
    assert "'ant/01.png' has changed since the first pass over it" in reason
    with pytest.raises(PlanError, match="candidates of 1 of 3 lots"):
        merge_lots(folder.path, to=tmp_path / "a.atlas")


@pytest.mark.usefixtures("bf16_on_any_device")
def test_candidates_found_before_a_lot_was_there_are_refused(photos: Path, tmp_path: Path) -> None:
    """They would lack those of the lot."""
    folder = plan(photos, tmp_path / "p.plan", precision="bf16")
    folder.skip_lot(1, "killed 3 workers")
    sweep(folder.path)
    folder.skipped(1).unlink()
    with pytest.raises(PlanError, match="was found before other lots were swept; delete it"):
        sweep(folder.path)
    for path in (folder.candidates, *folder.lots.glob("*.exact.seg")):
        path.unlink()
    assert not sweep(folder.path).missing
    expected = scanned(photos, tmp_path / "scan.atlas", precision="bf16")
    merge_lots(folder.path, to=tmp_path / "lots.atlas").close()
    assert_same_atlas(expected, tmp_path / "lots.atlas")


def test_what_killed_processes_left_is_deleted_by_the_merge(photos: Path, tmp_path: Path) -> None:
    folder = plan(photos, tmp_path / "p.plan")
    sweep(folder.path)
    rest = folder.lots / ".00001.seg.abc.part"
    rest.write_bytes(b"half")
    merge_lots(folder.path, to=tmp_path / "a.atlas").close()
    assert not rest.exists()
