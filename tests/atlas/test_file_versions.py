"""How often an open atlas asks whether its file has been written, and what it sees of that."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from retroscope.atlas.database import ReadConnection
from retroscope.atlas.file_versions import file_version, hold_versions
from retroscope.atlas.queries import reader_queries
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import RetroscopeError
from retroscope.web.site.routes import respond
from retroscope.web.site.site import make_site
from tests.atlas import small_atlas

Count = Callable[[], int]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    small_atlas.write(tmp_path / "a.atlas")
    return tmp_path / "a.atlas"


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Count:
    """How often a version has been looked up since the last call."""
    seen: list[object] = []
    look_up = reader_queries.data_version

    def count(connection: ReadConnection) -> int:
        seen.append(connection)
        return look_up(connection)

    def taken() -> int:
        number = len(seen)
        seen.clear()
        return number

    monkeypatch.setattr(reader_queries, "data_version", count)
    return taken


def write_model(path: Path, model: str) -> None:
    with AtlasWriter(path) as writer, writer.transaction():
        writer.put_meta({"model": model})


def read_all(atlas: Atlas) -> tuple[object, ...]:
    return atlas.meta, atlas.layers, atlas.labels, atlas.rules, atlas.rankings


def test_the_version_is_looked_up_once_for_each_file_inside(path: Path, looks: Count) -> None:
    with open_atlas(path) as first, open_atlas(path) as second:
        expected = read_all(first)
        assert looks() >= len(expected)
        with hold_versions(), hold_versions():
            assert read_all(first) == read_all(first) == read_all(second) == expected
            assert looks() == 2
        read_all(first)
        assert looks() >= len(expected)


def test_a_page_looks_once(path: Path, looks: Count) -> None:
    with open_atlas(path) as atlas:
        site = make_site(atlas)
        for page in ("index.html", "layer/features.0.html", "unit/features.0/0.json"):
            looks()
            respond(site, page)
            assert looks() == 1


def test_what_is_written_is_seen_afterwards(path: Path) -> None:
    with open_atlas(path) as atlas:
        for model in ("one", "two"):
            with hold_versions():
                before = atlas.meta["model"]
                write_model(path, model)
                assert atlas.meta["model"] == before, "it was read and not looked up again"
            assert atlas.meta["model"] == model


def test_an_error_inside_ends_it(path: Path) -> None:
    with open_atlas(path) as atlas:
        assert atlas.meta["model"] != "new"
        with pytest.raises(RetroscopeError), hold_versions():
            atlas.plate("no.layer:0")
        write_model(path, "new")
        assert atlas.meta["model"] == "new"


def test_a_thread_does_not_hold_those_of_others(path: Path) -> None:
    """Both read one atlas, and neither sees what the other has in mind."""
    with open_atlas(path) as atlas:
        models: list[object] = []
        with hold_versions():
            old = file_version(atlas._connection)
            write_model(path, "new")
            thread = Thread(target=lambda: models.append(atlas.meta["model"]))
            thread.start()
            thread.join()
            assert models == ["new"]
            assert file_version(atlas._connection) == old
        assert atlas.meta["model"] == "new"
