"""Atlases that leave shards out: their other images are found again, in every kind of source."""

import shutil
from pathlib import Path

import pytest
import torch

import retroscope as rs
from retroscope.atlas.reader import open_atlas
from retroscope.errors import RetroscopeError
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.lots.merge_segments import merge_lots
from retroscope.scanning.lots.sweep_part import sweep
from tests.scanning.distributed.pickled_work import PICKLED_WORK_HERE
from tests.scanning.lots.planning import plan, scanned
from tests.scanning.packing import PACKERS, files_of
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.scans import tiny

RESULTS = ("layers", "labels", "channels", "hits", "winner_pictures", "projections")
"""What an atlas has of images, but for where they are."""


def atlas_without_lot_1(images: Path, folder: Path, **options: object) -> Path:
    """The second of three lots is not swept."""
    planned = plan(images, folder / "p.plan", **options)
    sweep(planned.path, part=(1, 2))
    merge_lots(planned.path, to=folder / "some.atlas", allow_missing=True).close()
    return folder / "some.atlas"


def illustrated(path: Path, images: Path | None = None, **options: object) -> Path:
    rs.illustrate(path, tiny(torch.float32), images, **options)  # type: ignore[arg-type]
    return path


def expected_atlas(photos: Path, folder: Path) -> Path:
    """An illustrated scan of a folder without the files of lot 1."""
    rest = shutil.copytree(photos, folder / "rest")
    for number in range(1, 11):
        (rest / "cow" / f"{number:02}.png").unlink()
    return illustrated(scanned(rest, folder / "expected.atlas"))


@pytest.mark.parametrize("names_images", [False, True])
@pytest.mark.parametrize("on", [None, PICKLED_WORK_HERE])
def test_files_that_are_in_the_atlas_are_projected(
    photos: Path, tmp_path: Path, on: WorkerOptions | None, *, names_images: bool
) -> None:
    some = atlas_without_lot_1(photos, tmp_path)
    images = photos if names_images else None
    illustrated(some, images, on=on)
    assert_same_atlas(expected_atlas(photos, tmp_path), some, tables=RESULTS, facts=False)


def test_files_of_a_missing_lot_may_be_gone(photos: Path, tmp_path: Path) -> None:
    some = atlas_without_lot_1(photos, tmp_path)
    for number in (2, 9):
        (photos / "cow" / f"{number:02}.png").unlink()
    illustrated(some)
    assert_same_atlas(expected_atlas_of_rest(photos, tmp_path), some, tables=RESULTS, facts=False)


def expected_atlas_of_rest(photos: Path, folder: Path) -> Path:
    for number in (2, 9):
        shutil.copy(photos / "cow" / "00.png", photos / "cow" / f"{number:02}.png")
    return expected_atlas(photos, folder)


@pytest.mark.parametrize("kind", list(PACKERS))
def test_archives_that_are_in_the_atlas_are_projected(
    photos: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lot is an archive; a zip and a Parquet file have several shards."""
    monkeypatch.setattr("retroscope.scanning.sources.archives.IMAGES_PER_SHARD", 5)
    files = list(files_of(photos).items())
    for number, members in enumerate((files[:10], files[10:20], files[20:])):
        PACKERS[kind](tmp_path / "packed" / f"{number}.{kind}", dict(members))
    some = atlas_without_lot_1(tmp_path / "packed", tmp_path)
    with open_atlas(some) as atlas:
        before = [image.key.split("/")[0] for image in atlas.images]
        assert set(before) == {f"0.{kind}", f"2.{kind}"}
    rest = tmp_path / "rest"
    rest.mkdir()
    for number in (0, 2):
        shutil.copy(tmp_path / "packed" / f"{number}.{kind}", rest)
    expected = illustrated(scanned(rest, tmp_path / "expected.atlas"))
    for on, images in ((None, None), (PICKLED_WORK_HERE, None), (None, tmp_path / "packed")):
        path = tmp_path / f"{on is None}-{images is None}.atlas"
        shutil.copy(some, path)
        illustrated(path, images, on=on)
        assert_same_atlas(expected, path, tables=RESULTS, facts=False)


def test_a_joined_atlas_finds_the_images_of_its_parts(photos: Path, tmp_path: Path) -> None:
    others = shutil.copytree(photos / "ant", tmp_path / "others")
    for path in others.iterdir():
        path.rename(path.with_name(f"other-{path.name}"))
        with (others / f"other-{path.name}").open("ab") as file:
            file.write(b"another file")
    whole = scanned(others, tmp_path / "whole.atlas")
    some = atlas_without_lot_1(photos, tmp_path)
    joined = tmp_path / "joined.atlas"
    rs.merge([some, whole], to=joined).close()
    illustrated(joined)
    with open_atlas(joined) as atlas:
        projected, hits = atlas.sql(
            "SELECT (SELECT COUNT(*) FROM projections), "
            "(SELECT COUNT(*) FROM (SELECT DISTINCT layer, channel, image, y, x FROM hits "
            "WHERE ranked_by IN ('max', 'mean')))"
        )[0]
        assert projected == hits != 0


def test_other_images_are_refused(photos: Path, tmp_path: Path) -> None:
    some = atlas_without_lot_1(photos, tmp_path)
    with pytest.raises(RetroscopeError, match="give the same images"):
        illustrated(some, photos / "cow")


def test_a_tar_that_is_left_out_is_not_read(photos: Path, tmp_path: Path) -> None:
    files = list(files_of(photos).items())
    for number, members in enumerate((files[:10], files[10:])):
        PACKERS["tar"](tmp_path / "packed" / f"{number}.tar", dict(members))
    some = atlas_without_lot_1(tmp_path / "packed", tmp_path, lot_images=1)
    (tmp_path / "packed" / "1.tar").write_bytes(b"lot 1 is damaged")
    illustrated(some)
    with open_atlas(some) as atlas:
        assert atlas.meta["state"] == "illustrated"
