"""Images behind URLs are those of the same files on the disk."""

import gc
import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from retroscope.atlas.reader import open_atlas
from retroscope.errors import ImageError, RetroscopeError
from retroscope.scanning.illustrate import illustrate
from retroscope.scanning.image_files import read_input
from retroscope.scanning.job import scan
from retroscope.scanning.sources import (
    Shard,
    file_systems,
    list_images,
    list_shards,
    remote_files,
)
from tests.scanning.file_server import FileServer, serve
from tests.scanning.packing import PACKERS, files_of, write_classes, write_tar
from tests.scanning.scans import table_rows, tiny

NAMES = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/3.png", "loose.png")
KINDS = list(PACKERS)


@pytest.fixture(autouse=True)
def _forget_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ports are used again; nothing is known about a server of another test."""
    monkeypatch.setattr(file_systems, "PAUSE_SECONDS", 0.01)
    remote_files.has_ranges.cache_clear()
    remote_files.forget_copies()
    yield
    remote_files.forget_copies()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "photos", *NAMES)


@pytest.fixture
def server(folder: Path) -> Iterator[FileServer]:
    """The folder below /photos/, and archives of it below /packed/."""
    files = {f"/photos/{name}": data for name, data in files_of(folder).items()}
    for kind, pack in PACKERS.items():
        archive = pack(folder.parent / f"packed.{kind}", files_of(folder))
        files[f"/packed/packed.{kind}"] = archive.read_bytes()
    files["/photos.txt"] = "\n".join(f"photos/{name}" for name in NAMES).encode()
    with serve(files) as site:
        yield site


def copy_to_memory(server: FileServer) -> str:
    """The same files in fsspec's file system in memory."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for path, data in server.files.items():
        memory.pipe(path, data)
    return "memory:/"


def same_images(source: str, local: Path | str) -> None:
    remote, expected, net = list_images(source), list_images(local), tiny()
    assert (remote.labels, remote.class_names) == (expected.labels, expected.class_names)
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda n: read_input(net, remote, n), range(len(remote.keys))))
    for number, (image, row) in enumerate(rows):
        known, known_row = read_input(net, expected, number)
        assert image.tensor.equal(known.tensor)
        assert row is not None
        assert known_row is not None
        assert (row.size, row.digest) == (known_row.size, known_row.digest)


@pytest.mark.parametrize("where", ["http", "memory", "file"])
@pytest.mark.parametrize("kind", ["folder", "list", *KINDS])
def test_a_source_behind_a_url_is_that_on_the_disk(
    server: FileServer, folder: Path, where: str, kind: str
) -> None:
    paths = {"folder": "/photos/", "list": "/photos.txt"}
    path = paths.get(kind, f"/packed/packed.{kind}")
    local = folder if kind in paths else folder.parent / f"packed.{kind}"
    if kind == "list":
        local = folder.parent / "photos.txt"
        local.write_bytes(server.files["/photos.txt"])
    base = {"http": server.url, "memory": "memory:/", "file": ""}[where]
    if where == "memory":
        copy_to_memory(server)
    source = f"file://{local}" if where == "file" else base + path
    same_images(source, local)
    assert list_images(source).keys == list_images(local).keys


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [{"has_ranges": False}, {"has_etags": False}, {"has_sizes": False, "has_ranges": False}],
)
def test_a_server_without_ranges_etags_or_sizes_will_do(
    server: FileServer, folder: Path, kind: str, options: dict[str, bool]
) -> None:
    for name, value in options.items():
        setattr(server, name, value)
    same_images(f"{server.url}/packed/packed.{kind}", folder.parent / f"packed.{kind}")


def test_an_atlas_of_tars_behind_urls_is_that_of_the_tars_and_is_illustrated_later(
    tmp_path: Path, folder: Path
) -> None:
    members = files_of(folder)
    tars = {f"/x-{n}.tar": dict([*members.items()][2 * n : 2 * n + 2]) for n in range(3)}
    for name, part in tars.items():
        write_tar(tmp_path / "tars" / name[1:], part)
    data = {name: (tmp_path / "tars" / name[1:]).read_bytes() for name in tars}
    with serve(data) as site:
        scan(
            tiny(), f"{site.url}/x-{{0..2}}.tar", to=tmp_path / "remote", projections="none"
        ).close()
        scan(tiny(), tmp_path / "tars", to=tmp_path / "local", projections="none").close()
        illustrate(tmp_path / "remote", tiny())
        illustrate(tmp_path / "local", tiny())
        scan(tiny(), f"{site.url}/x-{{0..2}}.tar", to=tmp_path / "remote").close()
    remote, local = table_rows(tmp_path / "remote"), table_rows(tmp_path / "local")
    for table in set(local) - {"meta", "image_files"}:
        assert remote[table] == local[table], table
    with open_atlas(tmp_path / "remote") as atlas:
        assert atlas.images[0].key == "x-0.tar/cat/1.png"


def test_a_tar_is_fetched_once_for_all_threads_and_its_copy_is_gone_at_the_end(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    url = f"{server.url}/packed/packed.tar"
    (shard,) = list_shards(url).shards
    shard = Shard.from_json(json.loads(json.dumps(shard.to_json())))
    remote_files.forget_copies()
    server.requests.clear()
    images = shard.list_images()
    remote_files.forget_copies()  # but the list has it
    net = tiny()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: read_input(net, images, n), list(range(len(NAMES))) * 3))
    sizes = [
        int(part) - int(start) + 1
        for method, _, wanted in server.requests
        if method == "GET" and wanted
        for start, part in [wanted.removeprefix("bytes=").split("-")]
    ]
    assert sum(sizes) <= len(server.files["/packed/packed.tar"]) + 1
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_copy_that_is_gone_is_replaced_by_ranges(server: FileServer) -> None:
    images, net = list_images(f"{server.url}/packed/packed.tar"), tiny()
    before = read_input(net, images, 2)[0].tensor
    remote_files.forget_copies()
    gc.collect()
    server.requests.clear()
    assert read_input(net, images, 2)[0].tensor.equal(before)
    ranges = [wanted for method, _, wanted in server.requests if method == "GET"]
    (start, stop) = map(int, ranges[-1].removeprefix("bytes=").split("-"))
    assert stop - start + 1 == len(server.files["/photos/dog/1.png"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_changed_since_it_was_listed_is_refused(
    server: FileServer, folder: Path, kind: str
) -> None:
    path = f"/packed/packed.{kind}"
    (shard, *_) = list_shards(server.url + path).shards
    members = files_of(folder)
    members["cat/1.png"] = members["dog/1.png"]
    server.files[path] = PACKERS[kind](folder.parent / f"other.{kind}", members).read_bytes()
    remote_files.forget_copies()
    with pytest.raises(RetroscopeError) as refusal:
        shard.list_images()
    assert str(refusal.value).startswith(f"'{server.url}{path}' has changed since it was listed")


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file_is_refused(server: FileServer, kind: str) -> None:
    (shard, *_) = list_shards(f"{server.url}/packed/packed.{kind}").shards
    del server.files[f"/packed/packed.{kind}"]
    remote_files.forget_copies()
    with pytest.raises(RetroscopeError, match=rf"no file '.*packed\.{kind}'; check the URL"):
        shard.list_images()
    with pytest.raises(RetroscopeError, match=r"1 of 1 archives is missing: '.*/y\.tar'"):
        list_images(f"{server.url}/y.tar")


def test_a_server_that_fails_for_a_moment_is_asked_again(server: FileServer, folder: Path) -> None:
    images = list_images(f"{server.url}/photos/")
    server.failures = 2
    assert read_input(tiny(), images, 0)[0].tensor.equal(
        tiny().prepare(folder / "cat/1.png").tensor
    )


def test_a_server_that_keeps_failing_ends_the_scan_which_goes_on_later(
    server: FileServer, tmp_path: Path
) -> None:
    source, atlas = f"{server.url}/photos/", tmp_path / "x.atlas"
    images = list_images(source)
    server.failures = 1000
    with pytest.raises(RetroscopeError, match=r"cannot read 'http.*1\.png' \(.*503.*\); check the"):
        read_input(tiny(), images, 0)
    with pytest.raises(RetroscopeError, match="cannot read"):
        list_images(f"{server.url}/packed/packed.tar")
    server.failures, server.status = 1000, 403
    with pytest.raises(RetroscopeError, match=r"403.*check the URL and the access to it"):
        list_images(f"{server.url}/packed/packed.tar")
    server.failures = 0
    scan(tiny(), source, to=atlas).close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x.tar", "http://127.0.0.1:9/photos/"])
def test_no_server_at_all_is_said_in_one_line(url: str) -> None:
    with pytest.raises(RetroscopeError) as refusal:
        list_images(url)
    assert str(refusal.value).startswith(f"cannot read '{url}' (")
    assert "\n" not in str(refusal.value)


def test_a_missing_image_is_unreadable_and_the_others_are_scanned(
    server: FileServer, tmp_path: Path
) -> None:
    source = f"{server.url}/photos.txt"
    del server.files["/photos/dog/1.png"]
    with scan(tiny(), source, to=tmp_path / "x.atlas") as atlas:
        errors = {image.key: image.error for image in atlas.images if image.error}
    assert set(errors) == {"photos/dog/1.png"}
    assert "no file 'http://" in str(errors["photos/dog/1.png"])


def test_an_image_that_changed_since_the_scan_is_refused(
    server: FileServer, tmp_path: Path
) -> None:
    scan(tiny(), f"{server.url}/photos/", to=tmp_path / "x.atlas", projections="none").close()
    for name in NAMES:
        server.files[f"/photos/{name}"] = server.files["/photos/cat/1.png"]
    with pytest.raises(RetroscopeError, match="changed since the scan read"):
        illustrate(tmp_path / "x.atlas", tiny())


def test_urls_in_a_list_and_a_text_file(server: FileServer, tmp_path: Path, folder: Path) -> None:
    urls = [f"{server.url}/photos/{name}" for name in NAMES]
    (tmp_path / "list.txt").write_text("\n".join(urls))
    for source in (urls, tmp_path / "list.txt"):
        images = list_images(source)
        assert images.keys == urls
        assert images.labels == [-1] * len(urls)
    mixed = list_images([urls[0], str(folder / "loose.png")])
    for index in range(2):
        read_input(tiny(), mixed, index)
    with pytest.raises(ImageError, match="images 1 and 2 of the list are one file"):
        list_images([urls[0], urls[0]])


def test_globs_and_folders_behind_urls(server: FileServer) -> None:
    copy_to_memory(server)
    assert list_images("memory://photos", glob="cat/*.png").keys == ["cat/1.png", "cat/2.png"]
    assert len(list_images("memory://packed/*.tar").keys) == 5
    with pytest.raises(ImageError, match="no file matches"):
        list_images("memory://packed/*.rar")
    with pytest.raises(ImageError, match=r"no file in 'memory://photos' matches '\*\.gif'"):
        list_images("memory://photos", glob="*.gif")
    with pytest.raises(RetroscopeError, match=r"no folder 'memory://nothing'"):
        list_images("memory://nothing")


@pytest.mark.parametrize("url", ["nonsense://x/y.tar", "nonsense://x"])
def test_an_unknown_protocol_is_refused(url: str) -> None:
    with pytest.raises(RetroscopeError, match=r"cannot open 'nonsense://.*give an https, s3"):
        list_images(url)


@pytest.mark.parametrize(("scheme", "extra"), [("s3", "s3"), ("gs", "gs")])
def test_a_missing_package_is_named_with_its_extra(scheme: str, extra: str) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(RetroscopeError, match=rf"pip install 'retroscope\[{extra}\]'"):
        list_images(f"{scheme}://bucket/x.tar")
