"""Data sets of the Hub, which a server on this machine stands in for: it answers as the Hub does
where a data set is looked up, its files are listed, and their ranges are read.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from retroscope.errors import RetroscopeError
from retroscope.scanning.job import scan
from retroscope.scanning.sources import file_systems, list_images, list_shards, remote_files
from retroscope.scanning.sources.hub import choose_split, parse_hub_name, split_of
from tests.scanning.file_server import FileServer, serve
from tests.scanning.packing import files_of, pack_parquet, write_classes, write_tar
from tests.scanning.scans import tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAMES = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/3.png", "loose.png")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(file_systems, "PAUSE_SECONDS", 0.01)
    with serve({}) as site:
        site.error_code = "RevisionNotFound"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", site.url)
        template = site.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        hub.HfFileSystem.clear_instance_cache()
        file_systems.forget_file_systems()
        remote_files.forget_copies()
        yield site
        hub.HfFileSystem.clear_instance_cache()
        file_systems.forget_file_systems()


def publish(
    server: FileServer, dataset: str, files: dict[str, bytes], revision: str = "main"
) -> None:
    """Lets the server answer for a data set as the Hub does."""
    api = f"/api/datasets/{dataset}"
    siblings = [{"rfilename": path} for path in files]
    info = {"id": dataset, "sha": COMMIT, "siblings": siblings, "tags": [], "private": False}
    for name in {revision, quote(revision, safe=""), COMMIT}:
        server.files[f"{api}/revision/{name}"] = json.dumps(info).encode()
    for folder in {path.rpartition("/")[0] for path in files}:
        entries = [
            {"type": "file", "path": path, "size": len(data), "oid": f"{hash(data):x}"}
            for path, data in files.items()
            if path.rpartition("/")[0] == folder
        ]
        tree = f"{api}/tree/{COMMIT}/{quote(folder, safe='')}".rstrip("/")
        server.files[tree] = json.dumps(entries).encode()
    for path, data in files.items():
        server.files[f"/datasets/{dataset}/resolve/{COMMIT}/{path}"] = data


def packed(folder: Path, pack: Callable[..., Path], name: str) -> bytes:
    return pack(folder.parent / name, files_of(folder)).read_bytes()


@pytest.mark.parametrize("name", ["hf:user/set:train", "hf:datasets/user/set:train"])
def test_a_split_of_parquet_files_is_scanned_by_name(
    server: FileServer, tmp_path: Path, name: str
) -> None:
    folder = write_classes(tmp_path / "photos", *NAMES)
    data = packed(folder, pack_parquet, "x.parquet")
    files = {f"data/train-{n}-of-2.parquet": data for n in range(2)}
    publish(server, "user/set", {**files, "data/test-0-of-1.parquet": data, "README.md": b"x"})
    images, local = list_images(name), list_images(folder)
    assert images.keys[5] == "train-1-of-2.parquet/0/cat/1.png"
    assert (list(images.labels), images.class_names) == ([*local.labels] * 2, local.class_names)
    shards = list_shards(name).shards
    assert shards[0].location == f"hf://datasets/user/set@{COMMIT}/data/train-0-of-2.parquet"
    with scan(tiny(), name, to=tmp_path / "x.atlas", top=2) as atlas:
        assert {image.error for image in atlas.images} == {None}


def test_tars_are_scanned_where_there_is_no_parquet(server: FileServer, tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "photos", *NAMES)
    publish(server, "user/tars", {"x-train-000.tar": packed(folder, write_tar, "x.tar")})
    assert list_images("hf:user/tars").keys[0] == "x-train-000.tar/cat/1.png"


def test_parquet_files_that_the_hub_has_made_are_used_for_other_data_sets(
    server: FileServer, tmp_path: Path
) -> None:
    folder = write_classes(tmp_path / "photos", *NAMES)
    publish(server, "user/folder", {"cat/1.png": b"1", "README.md": b"x"})
    main = server.files["/api/datasets/user/folder/revision/main"]
    data = packed(folder, pack_parquet, "x.parquet")
    converted = {"default/train/0000.parquet": data}
    publish(server, "user/folder", converted, revision="refs/convert/parquet")
    server.files["/api/datasets/user/folder/revision/main"] = main
    assert list_images("hf:user/folder:train").keys[0] == "0000.parquet/0/cat/1.png"


def test_what_cannot_be_resolved_is_refused_in_one_line(server: FileServer) -> None:
    publish(server, "user/both", {"data/train.parquet": b"", "data/test.parquet": b""})
    publish(server, "user/text", {"a.csv": b""})
    for name, said in {
        "hf:user/both": "has the splits test, train; choose one, as in hf:user/both:test",
        "hf:user/both:trian": "no split of 'user/both' 'trian'; did you mean 'train'?",
        "hf:user/text": "has neither Parquet files nor tars",
        "hf:user/../text": "cannot read the name 'hf:user/../text'",
        "hf:user/both:": "cannot read the name",
    }.items():
        with pytest.raises(RetroscopeError) as refusal:
            list_images(name)
        assert said in str(refusal.value)
        assert "\n" not in str(refusal.value)
    server.error_code = "RepoNotFound"
    with pytest.raises(RetroscopeError, match="cannot look up the data set 'user/none'"):
        list_images("hf:user/none")


def test_splits_are_the_words_of_paths() -> None:
    assert [
        split_of(path)
        for path in (
            "data/train-00000-of-00294.parquet",
            "imagenet1k-validation-12.tar",
            "default/test/0000.parquet",
            "fr/val/0000.parquet",
            "all.parquet",
            "data/training.parquet",
        )
    ] == ["train", "validation", "test", "fr/val", "all", "training"]
    files = ["en/train/0.parquet", "fr/train/0.parquet"]
    assert choose_split(files, "fr/train", "x") == files[1:]
    with pytest.raises(RetroscopeError, match="has the splits en/train, fr/train"):
        choose_split(files, "", "x")
    assert parse_hub_name("hf:a/b") == ("a/b", "")
