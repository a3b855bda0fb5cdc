"""Workers read archives and URLs as one process does, and notice what has changed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from retroscope.errors import RetroscopeError
from retroscope.progress import Progress
from retroscope.scanning.distributed.worker_options import WorkerOptions
from retroscope.scanning.illustrate import illustrate
from retroscope.scanning.job import scan
from tests.scanning.distributed.driver import BATCH_SIZE, TOP
from tests.scanning.distributed.pickled_work import PICKLED_WORK_HERE
from tests.scanning.file_server import FileServer, serve
from tests.scanning.packing import PACKERS, files_of, write_tar
from tests.scanning.same_atlas import assert_same_atlas
from tests.scanning.scans import smooth_image, tiny, write_images

ON = WorkerOptions("processes", 1, threads=1)


@pytest.fixture
def packed(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Images of two classes, of which one is damaged: as files, or in two archives."""
    photos = tmp_path / "photos"
    write_images(photos / "ant", 6)
    write_images(photos / "bee", 7)
    (photos / "bee" / "02.png").write_bytes(b"nothing")
    if request.param == "files":
        return photos
    folder, files = tmp_path / "packed", files_of(photos)
    for name in ("ant", "bee"):
        members = {path: data for path, data in files.items() if path.startswith(name)}
        PACKERS[request.param](folder / f"{name}.{request.param}", members)
    return folder


@pytest.fixture
def site(packed: Path) -> Iterator[FileServer]:
    with serve({f"/{path}": data for path, data in files_of(packed).items()}) as site:
        yield site


def check_workers_equal_one_process(
    images: str | Path, folder: Path, *, workers: WorkerOptions
) -> None:
    for name, on in (("one", None), ("workers", workers)):
        scan(
            tiny(torch.float32),
            images,
            to=folder / f"{name}.atlas",
            top=TOP,
            batch_size=BATCH_SIZE,
            projections="all",
            on=on,
        ).close()
    assert_same_atlas(folder / "one.atlas", folder / "workers.atlas")


@pytest.mark.parametrize("packed", ["tar"], indirect=True)
def test_archives_on_a_disk(packed: Path, tmp_path: Path) -> None:
    check_workers_equal_one_process(packed, tmp_path, workers=ON)


@pytest.mark.parametrize("packed", ["files", *PACKERS], indirect=True)
def test_files_and_archives_behind_a_url(site: FileServer, tmp_path: Path) -> None:
    check_workers_equal_one_process(f"{site.url}/", tmp_path, workers=PICKLED_WORK_HERE)


@pytest.mark.parametrize("packed", ["files", "tar"], indirect=True)
def test_what_changes_after_the_first_look_is_noticed_by_workers(
    packed: Path, tmp_path: Path
) -> None:
    """The line is that of one process; no projection of the change is stored."""
    to, lines = tmp_path / "a.atlas", []
    scan(
        tiny(torch.float32), packed, to=to, top=TOP, batch_size=BATCH_SIZE, projections="none"
    ).close()
    path = packed / ("ant/03.png" if packed.name == "photos" else "ant.tar")
    data, status = path.read_bytes(), path.stat()
    for on in (None, PICKLED_WORK_HERE):
        with pytest.raises(RetroscopeError) as caught:
            illustrate(to, tiny(torch.float32), on=on, progress=ChangeOnce(path))
        lines.append(str(caught.value))
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert " changed since " in lines[0]
    assert lines[0] == lines[1]
    illustrate(to, tiny(torch.float32))
    expected = tmp_path / "b.atlas"
    scan(
        tiny(torch.float32), packed, to=expected, top=TOP, batch_size=BATCH_SIZE, projections="all"
    ).close()
    assert_same_atlas(expected, to)


@dataclass
class ChangeOnce:
    """A listener that changes a file as projections begin, which is after the driver's check."""

    path: Path
    is_changed: bool = False

    def __call__(self, progress: Progress) -> None:
        if progress.stage != "illustrate" or self.is_changed:
            return
        self.is_changed = True
        smooth_image(77).save(self.path, "PNG")
        if self.path.suffix == ".tar":
            data = self.path.read_bytes()
            write_tar(self.path, {f"ant/{number:02}.png": data for number in range(6)})


@pytest.mark.parametrize("packed", ["tar"], indirect=True)
def test_a_tar_behind_a_url_is_read_once_unless_projections_need_it(
    packed: Path, site: FileServer, tmp_path: Path
) -> None:
    """The first one twice: planning tries how long its images take."""
    size = (packed / "bee.tar").stat().st_size
    scan(
        tiny(torch.float32),
        f"{site.url}/",
        to=tmp_path / "a.atlas",
        top=TOP,
        batch_size=BATCH_SIZE,
        projections="none",
        on=ON,
    ).close()
    whole = ("GET", "/bee.tar", f"bytes=0-{size - 1}")
    assert site.requests.count(whole) == 1
