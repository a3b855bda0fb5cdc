"""Images whose files change after the scan has read them are noticed, whatever reads them next."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import PIL.Image
import pytest

from retroscope.atlas.reader import open_atlas
from retroscope.errors import ImageError, RetroscopeError
from retroscope.network import Network
from retroscope.progress import Progress
from retroscope.scanning import image_files
from retroscope.scanning.illustrate import illustrate
from retroscope.scanning.image_files import read_input
from retroscope.scanning.job import scan
from retroscope.scanning.sources import image_list, list_images
from tests.scanning.scans import (
    SIDE,
    delete_stored_images,
    smooth_image,
    table_rows,
    tiny,
    write_images,
)
from tests.scanning.test_resume import Enough, keep_every, stop_at

pytestmark = pytest.mark.usefixtures("bf16_on_any_device")

COUNT = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "photos", COUNT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.atlas"


@pytest.fixture(autouse=True)
def _keep_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_every(0, monkeypatch)


def replace_image(file: Path, seed: int = 99) -> None:
    smooth_image(seed).save(file)


def run(folder: Path, path: Path, progress: Callable[[Progress], None], precision: str) -> None:
    scan(
        tiny(), folder, to=path, batch_size=4, top=3, precision=precision, progress=progress
    ).close()


def ignore(_: Progress) -> None:
    """No progress is shown."""


@pytest.mark.parametrize("stage", ["scan", "score again", "store images", "illustrate"])
def test_a_resumed_scan_refuses_images_that_have_changed(
    folder: Path, path: Path, stage: str
) -> None:
    precision = "bf16" if stage == "score again" else "full"
    if stage == "store images":
        run(folder, path, ignore, precision)
        delete_stored_images(path)
    with pytest.raises(Enough):
        run(folder, path, stop_at(stage, 8 if stage == "scan" else 1), precision)
    before = table_rows(path)
    replace_image(folder / "03.png")
    with pytest.raises(RetroscopeError) as refusal:
        run(folder, path, ignore, precision)
    assert str(refusal.value) == (
        "'03.png' has changed since the scan read it; restore it, or scan again with restart"
    )
    assert refusal.value.parameter == "restart"
    replace_image(folder / "05.png")
    with pytest.raises(RetroscopeError, match=r"^2 images have changed .* '03.png' is the first; "):
        run(folder, path, ignore, precision)
    assert table_rows(path) == before


def test_a_restored_image_is_accepted(folder: Path, path: Path) -> None:
    with pytest.raises(Enough):
        run(folder, path, stop_at("scan", 8), "full")
    replace_image(folder / "03.png")
    replace_image(folder / "03.png", seed=3)
    run(folder, path, ignore, "full")


def test_a_complete_scan_of_changed_images_is_not_called_complete(folder: Path, path: Path) -> None:
    run(folder, path, ignore, "full")
    run(folder, path, ignore, "full")
    replace_image(folder / "11.png")
    with pytest.raises(RetroscopeError, match=r"'11\.png' has changed since the scan read it"):
        run(folder, path, ignore, "full")
    scan(tiny(), folder, to=path, batch_size=4, top=3, restart=True).close()
    run(folder, path, ignore, "full")


def test_an_image_that_changes_before_the_scan_has_read_it_is_scanned_as_it_is_then(
    folder: Path, path: Path, tmp_path: Path
) -> None:
    with pytest.raises(Enough):
        run(folder, path, stop_at("scan", 4), "full")
    replace_image(folder / "11.png")
    run(folder, path, ignore, "full")
    run(folder, tmp_path / "fresh", ignore, "full")
    assert table_rows(path) == table_rows(tmp_path / "fresh")


def test_touched_files_of_equal_content_are_the_same(folder: Path, path: Path) -> None:
    with pytest.raises(Enough):
        run(folder, path, stop_at("scan", 8), "full")
    for file in folder.iterdir():
        os.utime(file, ns=(1, 1))
    run(folder, path, ignore, "full")
    illustrate(path, tiny(), rules="guided")


def test_files_of_the_same_size_and_time_are_not_read_to_resume(
    folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(folder, path, ignore, "full")
    monkeypatch.setattr(image_list, "open_image_file", lambda *_: pytest.fail("read"))
    run(folder, path, ignore, "full")


WHAT_TO_ILLUSTRATE: list[Callable[[Path], None]] = [
    lambda path: illustrate(path, tiny(), rules="guided"),
    lambda path: illustrate(path, tiny(), rules="guided", units=["conv1:1"]),
]


@pytest.mark.parametrize("add_projections", WHAT_TO_ILLUSTRATE)
def test_illustrate_refuses_changed_images(
    folder: Path, path: Path, add_projections: Callable[[Path], None]
) -> None:
    run(folder, path, ignore, "full")
    for file in folder.iterdir():
        replace_image(file)
    before = table_rows(path)
    with pytest.raises(RetroscopeError, match=r"^\d+ images have changed since the scan read them"):
        add_projections(path)
    assert table_rows(path) == before


def test_illustrate_of_a_unit_reads_and_checks_only_its_images(folder: Path, path: Path) -> None:
    run(folder, path, ignore, "full")
    with open_atlas(path) as atlas:
        needed = {atlas.images[hit.image].key for hit in atlas.hits("conv1:1")}
        needed |= {atlas.images[hit.image].key for hit in atlas.hits("conv1:1", ranked_by="mean")}
    for file in folder.iterdir():
        if file.name not in needed:
            replace_image(file)
    illustrate(path, tiny(), rules="guided", units=["conv1:1"])


def test_an_image_that_is_read_again_is_compared_by_content_even_if_size_and_time_agree(
    folder: Path, path: Path
) -> None:
    bmp = folder.parent / "bmp"
    bmp.mkdir()
    for seed in range(COUNT):
        smooth_image(seed).save(bmp / f"{seed:02}.bmp")
    run(bmp, path, ignore, "full")
    for seed in range(COUNT):  # all bitmaps of a size have the same number of bytes
        file = bmp / f"{seed:02}.bmp"
        status = file.stat()
        smooth_image(seed + 50).save(file)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert file.stat().st_size == status.st_size
    before = table_rows(path)
    with pytest.raises(RetroscopeError, match="changed since the scan read"):
        illustrate(path, tiny(), rules="guided")
    assert table_rows(path) == before


def test_a_data_set_has_no_files_and_is_resumed_as_before(path: Path) -> None:
    class Images:
        def __len__(self) -> int:
            return COUNT

        def __getitem__(self, index: int) -> PIL.Image.Image:
            return smooth_image(index)

    with pytest.raises(Enough):
        scan(tiny(), Images(), to=path, batch_size=4, progress=stop_at("scan", 8))
    scan(tiny(), Images(), to=path, batch_size=4).close()
    assert table_rows(path)["image_files"] == []


def test_an_atlas_of_an_older_retroscope_has_no_files_to_compare(folder: Path, path: Path) -> None:
    run(folder, path, ignore, "full")
    with open_atlas(path) as atlas:
        assert len(atlas.sql("SELECT * FROM image_files")) == COUNT
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("DROP TABLE image_files")
    replace_image(folder / "03.png")
    run(folder, path, ignore, "full")


def test_a_file_that_changes_while_it_is_read_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, image_list = tiny(), list_images(folder)
    digest = image_files._digest

    def digest_of_changing(file: object) -> bytes:
        replace_image(folder / "00.png")
        return digest(file)  # type: ignore[arg-type]

    monkeypatch.setattr(image_files, "_digest", digest_of_changing)
    with pytest.raises(ImageError, match="changes while it is read"):
        read_input(net, image_list, 0)


def test_a_file_is_prepared_as_by_its_path(folder: Path) -> None:
    net: Network = tiny()
    image, row = read_input(net, list_images(folder), 3)
    expected = net.prepare(folder / "03.png")
    assert image.tensor.equal(expected.tensor)
    assert image.source == expected.source == str(folder / "03.png")
    assert row is not None
    assert (row.image, row.size) == (3, (folder / "03.png").stat().st_size)
    assert image.size == (SIDE, SIDE)
