"""No room, or no right to write, in the middle of a real scan: said plainly, and gone on from."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from retroscope.atlas import database
from retroscope.atlas.reader import open_atlas
from retroscope.atlas.schema import AtlasError
from retroscope.scanning.job import scan
from retroscope.zoo import open_model
from tests.atlas.small_atlas import without_privileges
from tests.conftest import no_trace
from tests.scanning.scans import OF_TINY, table_rows, tiny, write_images

PAGE = 4096


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos"), 12)


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas that nothing stood in the way of."""
    path = tmp_path_factory.mktemp("whole") / "a"
    scan(tiny(), folder, to=path, layers=OF_TINY).close()
    return path


@contextmanager
def limit_pages(pages: int) -> Iterator[None]:
    """Inside, an atlas that is written may have so many pages, as on a disk that is nearly full."""

    connect = database.connect

    def connect_with_limit(*arguments: Any) -> sqlite3.Connection:
        connection = connect(*arguments)
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "connect", connect_with_limit)
        yield


def pages_of(path: Path) -> int:
    return path.stat().st_size // PAGE


def check_is_sound(path: Path) -> str:
    """The file can be read, and is whole; what it says of how far it is."""
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (tables,) = file.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables:
        return "nothing"
    with open_atlas(path) as atlas:
        return str(atlas.meta.get("state", "nothing"))


def test_wherever_the_disk_is_full_the_scan_says_so_and_goes_on_when_there_is_room(
    folder: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk grows a little at a time, and is full in every stage of the scan."""
    monkeypatch.setattr("retroscope.scanning.hit_order.MAX_HITS_PER_PORTION", 64)
    path, seen, pages = tmp_path / "a", set[str](), 2
    for projections in ("none", "all"):
        while not is_enough_for_scan(folder, path, pages, projections):
            pages += 2
            assert pages < 2 * pages_of(whole)
            assert {file.name for file in tmp_path.iterdir()} <= {"a"}, "no journal is left"
            if path.exists():
                seen.add(check_is_sound(path))
        pages = pages_of(path)  # what was only for resuming has made room
    assert seen >= {"scanning", "scanned"}
    assert_same_but_for_rounding(path, whole)


def is_enough_for_scan(folder: Path, path: Path, pages: int, projections: str) -> bool:
    """Whether so many pages were enough for the whole scan, with these projections."""
    with limit_pages(pages):
        try:
            scan(tiny(), folder, to=path, layers=OF_TINY, projections=projections).close()
        except AtlasError as error:
            if "the disk is full; free some space and run the same again" not in str(error):
                raise
            return False
    return True


def assert_same_but_for_rounding(path: Path, other: Path) -> None:
    """Projections of other batches differ in the last bits of a peak, and so may a grey level."""
    found, expected = table_rows(path), table_rows(other)
    for table in expected.keys() - {"projections"}:
        assert found[table] == expected[table], table
    places = [[row[:6] for row in rows["projections"]] for rows in (found, expected)]
    assert places[0] == places[1]


def test_a_full_disk_leaves_an_atlas_that_was_done_as_it_is(folder: Path, tmp_path: Path) -> None:
    scan(tiny(), folder, to=tmp_path / "a", layers=OF_TINY, projections=1).close()
    before = table_rows(tmp_path / "a")
    with limit_pages(pages_of(tmp_path / "a")), pytest.raises(AtlasError, match="disk is full"):
        scan(tiny(), folder, to=tmp_path / "a", layers=OF_TINY, projections="all")
    assert table_rows(tmp_path / "a")["hits"] == before["hits"]
    assert set(table_rows(tmp_path / "a")["projections"]) >= set(before["projections"])
    assert check_is_sound(tmp_path / "a") == "illustrated"


def test_a_full_disk_leaves_no_trace_on_the_network(
    folder: Path, whole: Path, tmp_path: Path
) -> None:
    net, pages = tiny(), pages_of(whole) - 2
    with no_trace(net.module), limit_pages(pages), pytest.raises(AtlasError, match="disk is full"):
        scan(net, folder, to=tmp_path / "a", layers=OF_TINY)


NETS = """
from tests.scanning.scans import tiny as make


def tiny():
    return make()
"""


def console(*words: str, at: Path, most: str = "unlimited") -> subprocess.CompletedProcess[str]:
    """The console script; no file that it writes may have more KiB, as where there is a quota."""
    script = Path(sys.executable).with_name("retroscope")
    return subprocess.run(
        ["bash", "-c", f'ulimit -f {most}; exec "$@"', "bash", script, *words],  # noqa: S607
        cwd=at,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_at_the_terminal_a_quota_is_one_line_and_the_same_scan_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets.py").write_text(NETS, "utf-8")
    words = ["scan", "nets.py:tiny", str(folder), "--to", "a.atlas"]
    full = console(*words, at=tmp_path, most="100")
    assert (full.returncode, full.stdout) == (2, "")
    last = full.stderr.splitlines()[-1]
    assert last.startswith("retroscope: 'a.atlas' ")
    assert "check the disk and its quota, then run it again" in last
    assert "Traceback" not in full.stderr
    assert check_is_sound(tmp_path / "a.atlas") in {"nothing", "scanning", "scanned"}
    monkeypatch.chdir(tmp_path)
    scan(open_model("nets.py:tiny", device="cpu"), folder, to="a.atlas").close()
    assert check_is_sound(tmp_path / "a.atlas") == "illustrated"


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that also an unprivileged user may enter, which pytest's are not."""
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        write_images(Path(place) / "photos", 6)
        yield Path(place)


def test_a_scan_into_a_read_only_folder_is_refused(public: Path) -> None:
    public.chmod(0o555)
    with without_privileges(), pytest.raises(AtlasError, match=r"cannot be opened|read-only"):
        scan(tiny(), public / "photos", to=public / "a")
    assert [path.name for path in public.iterdir()] == ["photos"]


@pytest.mark.parametrize("state", ["done", "stopped"])
def test_a_scan_on_a_read_only_atlas_changes_nothing(public: Path, state: str) -> None:
    path = public / "a"
    if state == "done":
        scan(tiny(), public / "photos", to=path, projections=1).close()
    else:
        with pytest.raises(KeyboardInterrupt):
            scan(tiny(), public / "photos", to=path, progress=_stop)
    before = path.read_bytes()
    path.chmod(0o444)
    public.chmod(0o555)
    with without_privileges():
        with pytest.raises(AtlasError, match="read-only"):
            scan(tiny(), public / "photos", to=path)
        with open_atlas(path) as atlas:
            assert atlas.meta["images"] == 6
    assert path.read_bytes() == before
    path.chmod(0o644)
    public.chmod(0o755)
    scan(tiny(), public / "photos", to=path).close()
    assert check_is_sound(path) == "illustrated"


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_path_under_a_file_is_no_place_for_an_atlas(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AtlasError, match=r"no folder '.*file' for the atlas"):
        scan(tiny(), folder, to=tmp_path / "file" / "a")
    assert (tmp_path / "file").read_text() == "mine"
