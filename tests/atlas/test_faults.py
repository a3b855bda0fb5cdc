"""Whatever goes wrong: one clear line, and an intact file."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.schema import AtlasError
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import RetroscopeError, UnitError
from tests.atlas import small_atlas


@pytest.fixture
def path(tmp_path: Path) -> Path:
    small_atlas.write(tmp_path / "a.atlas")
    return tmp_path / "a.atlas"


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that an unprivileged user may enter, unlike those of pytest."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def other_files(folder: Path) -> dict[str, Path]:
    """Files that are not atlases, by their error messages."""
    text, empty = folder / "text", folder / "empty"
    text.write_text("this is a text, and quite a long one at that\n" * 100)
    empty.touch()
    with closing(sqlite3.connect(folder / "other")) as other:
        other.execute("CREATE TABLE meta (key, value)")
    return {
        "is not an atlas": text,
        "is an empty file, not an atlas": empty,
        "is a database, but not an atlas": folder / "other",
        "is a folder": folder,
        "no atlas": folder / "missing",
    }


def test_only_an_atlas_is_read(tmp_path: Path) -> None:
    for message, file in other_files(tmp_path).items():
        with pytest.raises(AtlasError, match=message):
            open_atlas(file)


def test_only_an_atlas_is_overwritten(tmp_path: Path) -> None:
    for message in ("is not an atlas", "is a database, but not an atlas", "is a folder"):
        file = other_files(tmp_path)[message]
        before = file.read_bytes() if file.is_file() else None
        for restart in (False, True):
            with pytest.raises(AtlasError, match=message):
                AtlasWriter(file, restart=restart)
        assert (file.read_bytes() if file.is_file() else None) == before
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()


def test_an_empty_file_becomes_an_atlas(tmp_path: Path) -> None:
    (tmp_path / "a.atlas").touch()
    small_atlas.write(tmp_path / "a.atlas")
    with open_atlas(tmp_path / "a.atlas") as atlas:
        assert len(atlas) == 5


def test_a_similar_file_name_is_suggested(path: Path) -> None:
    with pytest.raises(AtlasError, match=r"did you mean '.*a\.atlas'"):
        open_atlas(path.with_name("aa.atlas"))


def test_an_atlas_from_the_future_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")
    for opening in (open_atlas, AtlasWriter):
        with pytest.raises(AtlasError, match=r"newer retroscope \(schema 99; this one reads up to"):
            opening(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"no folder '.*nowhere' for the atlas"):
        AtlasWriter(tmp_path / "nowhere" / "a.atlas")


def test_a_torn_file_is_reported_as_damaged(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(AtlasError, match="is damaged"), open_atlas(path) as atlas:
        list(atlas.images)


def put_a_megabyte(writer: AtlasWriter) -> None:
    with writer.transaction():
        writer.put_meta({"model": "other"})
        writer.put_state({"a": bytes(1_000_000)})


def test_a_full_disk_loses_only_the_open_transaction(path: Path) -> None:
    with AtlasWriter(path) as writer:
        writer._connection.sql("PRAGMA max_page_count = 60")
        with pytest.raises(AtlasError, match="the disk is full; free some space"):
            put_a_megabyte(writer)
        assert writer.meta["model"] == "täst"
        with writer.transaction():
            writer.put_meta({"model": "small enough"})
    with open_atlas(path) as atlas:
        assert atlas.meta["model"] == "small enough"


def test_an_error_inside_rolls_all_of_it_back(path: Path) -> None:
    with AtlasWriter(path) as writer:
        with pytest.raises(TypeError), writer.transaction():
            writer.put_meta({"model": "other", "odd": object()})  # type: ignore[dict-item]
        assert writer.meta["model"] == "täst"
        with pytest.raises(AssertionError, match=r"inside writer\.transaction"):
            writer.put_meta({"model": "other"})


def test_a_read_only_folder_can_be_read_and_is_not_written(public: Path) -> None:
    small_atlas.write(public / "a.atlas")
    public.chmod(0o555)
    with small_atlas.without_privileges():
        with open_atlas(public / "a.atlas") as atlas:
            assert len(atlas["conv1:0"].patches) == 3
        for name in ("a.atlas", "new.atlas"):
            with pytest.raises(AtlasError, match=r"read-only|cannot be opened"):
                AtlasWriter(public / name)
    assert [path.name for path in public.iterdir()] == ["a.atlas"]


def test_a_file_that_may_not_be_read_is_an_error(public: Path) -> None:
    small_atlas.write(public / "a.atlas")
    (public / "a.atlas").chmod(0o000)
    with small_atlas.without_privileges(), pytest.raises(AtlasError, match="cannot be opened"):
        open_atlas(public / "a.atlas")


def test_a_writer_waits_for_another_program_that_writes_and_then_gives_up(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as program:
        program.execute("BEGIN IMMEDIATE")
        with pytest.raises(AtlasError, match="is locked by another process"):
            AtlasWriter(path, timeout=0.01)
    assert [file.name for file in path.parent.iterdir()] == ["a.atlas"]


def test_a_scan_whose_file_was_started_afresh_does_not_write_into_it(path: Path) -> None:
    """As an older retroscope does, which does not know the lock."""
    with AtlasWriter(path) as writer:
        with closing(sqlite3.connect(path)) as program, program:
            program.execute("UPDATE meta SET value = '\"later\"' WHERE key = 'created'")
        restarted = pytest.raises(AtlasError, match="another process has restarted")
        with restarted, writer.transaction():
            writer.put_meta({"model": "old"})
        assert writer.meta["model"] == "täst"


def test_discarding_leaves_nothing_behind(path: Path) -> None:
    with AtlasWriter(path) as writer:
        writer.discard()
    assert list(path.parent.iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
from retroscope.atlas.writer import AtlasWriter

with AtlasWriter(Path(sys.argv[1])) as writer:
    with writer.transaction():
        writer.put_meta({"checkpoint": 1})
        writer.put_state({"part": b"1" * 3_000_000})
    writer._connection.sql("PRAGMA cache_size = 10")
    writer._connection.sql("PRAGMA cache_spill = 10")
    with writer.transaction():
        writer.put_meta({"checkpoint": 2})
        writer.put_state({"part": b"2" * 3_000_000})
        os.kill(os.getpid(), 9)
"""
"""With a small cache the pages reach the file before the transaction is over."""


def kill_a_writer(path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert path.with_name("a.atlas-journal").exists()


def test_after_a_kill_the_reader_finds_the_last_checkpoint(path: Path) -> None:
    with open_atlas(path) as opened_before:
        kill_a_writer(path)
        assert opened_before.meta["checkpoint"] == 1
    with open_atlas(path) as atlas:
        assert (atlas.meta["checkpoint"], len(atlas)) == (1, 5)
        assert atlas.sql("SELECT value FROM state") == [(b"1" * 3_000_000,)]
        assert atlas.sql("PRAGMA integrity_check") == [("ok",)]
    assert {file.name for file in path.parent.iterdir()} == {"a.atlas", "a.atlas-lock"}


def test_after_a_kill_the_writer_goes_on_from_the_last_checkpoint(path: Path) -> None:
    kill_a_writer(path)
    with AtlasWriter(path) as writer:
        assert writer.meta["checkpoint"] == 1
        assert writer.state() == {"part": b"1" * 3_000_000}
    assert [file.name for file in path.parent.iterdir()] == ["a.atlas"]


def test_a_kill_is_not_rolled_back_in_a_read_only_folder(public: Path) -> None:
    path = public / "a.atlas"
    small_atlas.write(path)
    kill_a_writer(path)
    path.chmod(0o444)
    public.chmod(0o555)
    with (
        small_atlas.without_privileges(),
        pytest.raises(AtlasError, match="-journal file beside it"),
    ):
        open_atlas(path)


def test_an_unknown_address_gets_a_helpful_error(path: Path) -> None:
    with open_atlas(path) as atlas:
        for unit, message in {
            "features.00:1": "no layer 'features.00' in .*did you mean 'features.0'.* 2 layers",
            "conv1:3": "no channel 3 in conv1; it has 3, 0 to 2",
            "conv1": "is a whole layer",
            "conv1:1@2,2": "write features.0:1",
            "conv1:1@*": "write features.0:1",
            "conv1:": "cannot parse the unit",
        }.items():
            with pytest.raises(UnitError, match=message):
                atlas[unit]
        with pytest.raises(UnitError, match="no ranking 'median'; "):
            atlas.plate("conv1:0", ranked_by="median")
        with pytest.raises(UnitError, match=r"no image 5 in .*; it has 5"):
            atlas.image_pixels(5)
        with pytest.raises(AtlasError, match=r"does not store image 4 \('alone.jpg'\)"):
            atlas.image_pixels(4)


def test_an_unfinished_scan_has_no_plates(path: Path) -> None:
    with AtlasWriter(path, restart=True) as writer, writer.transaction():
        writer.put_layers(small_atlas.LAYERS)
    with open_atlas(path) as atlas, pytest.raises(AtlasError, match="scan is not finished"):
        atlas["conv1:0"]


def test_sql_only_reads_and_explains_errors(path: Path) -> None:
    with open_atlas(path) as atlas:
        for query in ("SELEKT", "SELECT * FROM nothing", "SELECT 1; SELECT 2", "SELECT ?"):
            with pytest.raises(AtlasError, match=r"cannot answer .* its tables are meta, layers"):
                atlas.sql(query)
        for query in ("DELETE FROM hits", "CREATE TABLE more (x)"):
            with pytest.raises(RetroscopeError, match="only reads"):
                atlas.sql(query)


def test_a_closed_atlas_is_reported(path: Path) -> None:
    atlas = open_atlas(path)
    atlas.close()
    atlas.close()
    with pytest.raises(AtlasError, match="has been closed"):
        _ = atlas.layers
