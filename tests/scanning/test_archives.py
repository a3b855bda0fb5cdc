"""Images in tars, zips and Parquet files are those of the folder that was packed."""

import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retroscope.atlas.reader import open_atlas
from retroscope.errors import ImageError, RetroscopeError
from retroscope.scanning.illustrate import illustrate
from retroscope.scanning.image_files import read_input
from retroscope.scanning.job import scan
from retroscope.scanning.sources import ImageList, Shard, list_images, list_shards
from retroscope.scanning.sources.members import matches
from retroscope.scanning.sources.shard_images import ShardImages
from retroscope.scanning.sources.shards import IMAGES_PER_SHARD
from tests.scanning.packing import (
    PACKERS,
    files_of,
    pack_parquet,
    write_classes,
    write_parquet,
    write_tar,
    write_zip,
)
from tests.scanning.scans import smooth_image, table_rows, tiny

NAMES = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/3.png", "loose.png")
KINDS = list(PACKERS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "photos", *NAMES)


def pack(folder: Path, kind: str) -> Path:
    return PACKERS[kind](folder.parent / f"packed.{kind}", files_of(folder))


def classes_of(images: ImageList) -> list[str]:
    return [images.class_names[label] if label >= 0 else "" for label in images.labels]


SAMPLES = ("sample_images", "samples")
"""Tables in the order of the hashes of the keys, which name the archive."""


def without_samples(hits: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return [row for row in hits if "sample" not in row]


def sampled_maxima(atlas: Path) -> dict[str, dict[int, tuple[list[float], list[int]]]]:
    """The scores and positions of all channels in each sampled image, by layer."""
    with open_atlas(atlas) as opened:
        samples = {layer.name: opened.sample(layer.name) for layer in opened.layers}
    return {
        name: {
            int(image): (sample.scores[:, place].tolist(), sample.positions[:, place].tolist())
            for place, image in enumerate(sample.images)
        }
        for name, sample in samples.items()
    }


def path_in_archive(key: str, kind: str) -> str:
    """What a key has after the archive, and in Parquet after the row."""
    return key.split("/", 2 if kind == "parquet" else 1)[-1]


# An archive of a folder is the folder


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_of_a_folder_has_its_images_in_its_order(folder: Path, kind: str) -> None:
    packed, loose, net = list_images(pack(folder, kind)), list_images(folder), tiny()
    assert [path_in_archive(key, kind) for key in packed.keys] == list(loose.keys)
    assert all(key.startswith(f"packed.{kind}/") for key in packed.keys)
    assert classes_of(packed) == classes_of(loose)
    for index in range(len(NAMES)):
        image, row = read_input(net, packed, index)
        expected, expected_row = read_input(net, loose, index)
        assert image.tensor.equal(expected.tensor)
        assert image.source == packed.keys[index]
        assert row is not None
        assert expected_row is not None
        assert (row.size, row.digest) == (expected_row.size, expected_row.digest)
        assert net.prepare(packed.load(index)).tensor.equal(expected.tensor)


@pytest.mark.parametrize("kind", KINDS)
def test_an_atlas_of_an_archive_is_that_of_the_folder_but_for_names_and_times(
    folder: Path, kind: str
) -> None:
    atlases = [folder.parent / "loose.atlas", folder.parent / "packed.atlas"]
    for images, atlas in zip([folder, pack(folder, kind)], atlases, strict=True):
        scan(tiny(), images, to=atlas, top=3).close()
    loose, packed = map(table_rows, atlases)
    for table in set(loose) - {"meta", "images", "image_files", "hits", *SAMPLES}:
        assert packed[table] == loose[table], table
    assert without_samples(packed["hits"]) == without_samples(loose["hits"])
    assert sampled_maxima(atlases[1]) == sampled_maxima(atlases[0])
    without_keys = [[row[:1] + row[2:] for row in rows["images"]] for rows in (loose, packed)]
    assert without_keys[0] == without_keys[1]


@pytest.mark.parametrize("kind", KINDS)
def test_images_are_found_again_in_an_archive(folder: Path, kind: str) -> None:
    archive, atlas = pack(folder, kind), folder.parent / "x.atlas"
    scan(tiny(), archive, to=atlas, top=2, projections="none").close()
    illustrate(atlas, tiny(), units=["first:1"])
    with open_atlas(atlas) as opened:
        assert opened.sql("SELECT count(*) FROM projections")[0][0]
    archive.rename(archive.with_name(f"moved.{kind}"))
    with pytest.raises(RetroscopeError, match=r"no folder or list .*packed"):
        illustrate(atlas, tiny(), units=["first:2"])


def test_only_tars_whose_images_are_read_are_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, atlas = write_classes(tmp_path / "photos", *NAMES), tmp_path / "x.atlas"
    for number, (name, data) in enumerate(files_of(folder).items()):
        write_tar(tmp_path / "tars" / f"{number}.tar", {name: data})
    scan(tiny(), tmp_path / "tars", to=atlas, top=1, projections="none").close()
    with open_atlas(atlas) as opened:
        hit, *_ = opened.hits("first:1", ranked_by="max")
        best = opened.images[hit.image].key
    listed: list[str] = []
    read = Shard.read

    def record(shard: Shard) -> ShardImages:
        listed.append(shard.name)
        return read(shard)

    monkeypatch.setattr(Shard, "read", record)
    illustrate(atlas, tiny(), units=["first:1"], projections="max")
    assert listed == [best.split("/")[0]]


def test_a_tar_that_holds_other_images_than_those_scanned_is_refused(tmp_path: Path) -> None:
    folder, atlas = write_classes(tmp_path / "photos", *NAMES), tmp_path / "x.atlas"
    tar, members = tmp_path / "x.tar", files_of(folder)
    scan(tiny(), write_tar(tar, members), to=atlas, projections="none").close()
    write_tar(tar, {name.replace("cat", "cow"): data for name, data in members.items()})
    with pytest.raises(RetroscopeError, match=r"x\.tar' no longer holds the images that the scan"):
        illustrate(atlas, tiny())


@pytest.mark.parametrize("kind", KINDS)
def test_labels_and_globs_are_for_members_as_they_are_for_files(folder: Path, kind: str) -> None:
    archive, labels = pack(folder, kind), folder.parent / "labels.csv"
    labels.write_text("cat/1.png,tabby\nloose.png,free\n3.png,terrier\n")
    packed, loose = list_images(archive, labels=labels), list_images(folder, labels=labels)
    assert classes_of(packed) == classes_of(loose) == ["tabby", "", "", "terrier", "free"]
    for glob in ("cat/*.png", "1.*", "*/3.png"):
        found = list_images(archive, glob=glob).keys
        assert [path_in_archive(key, kind) for key in found] == list(
            list_images(folder, glob=glob).keys
        )
    with pytest.raises(ImageError) as refusal:
        list_images(archive, glob="*.gif")
    assert refusal.value.parameter == "glob"


def test_a_row_of_labels_that_names_images_in_several_archives_is_refused_by_shards_too(
    tmp_path: Path,
) -> None:
    for number in range(2):
        write_tar(tmp_path / "tars" / f"{number}.tar", {"a/1.png": "x", f"{number}.png": "y"})
    labels = tmp_path / "labels.csv"
    for row in ("1.png", "a/1.png"):
        labels.write_text(f"{row},cat\n")
        for function in (list_images, list_shards):
            with pytest.raises(RetroscopeError, match=f"a row '{row}', the name of 2 images|of 3"):
                function(tmp_path / "tars", labels=labels)
    labels.write_text("1.tar/a/1.png,cat\n0.png,dog\n")
    lists = [shard.list_images() for shard in list_shards(tmp_path / "tars", labels=labels).shards]
    assert [classes_of(part) for part in lists] == [["", "dog"], ["cat", ""]]
    labels.write_text("none.png,cat\n")
    with pytest.raises(RetroscopeError, match="match none of the images"):
        list_shards(tmp_path / "tars", labels=labels)


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize("class_folder", ["first", "last", "all"])
def test_the_class_folder_is_one_of_the_archive(
    tmp_path: Path, kind: str, class_folder: str
) -> None:
    folder = write_classes(tmp_path / "photos", "train/cat/1.png", "train/dog/2.png", "val/3.png")
    packed = list_images(pack(folder, kind), class_folder=class_folder)
    assert classes_of(packed) == classes_of(list_images(folder, class_folder=class_folder))


paths = st.lists(st.sampled_from(["a", "b", "ab", "a.png", "b.jpg"]), min_size=1, max_size=4)
patterns = st.lists(st.sampled_from(["a", "*", "**", "a*", "*.png", "?", "[ab]"]), min_size=1)


@given(paths.map("/".join), patterns.filter(lambda parts: parts[-1] != "**").map("/".join))
def test_a_glob_matches_a_path_as_rglob_matches_a_file(
    tmp_path_factory: pytest.TempPathFactory, path: str, pattern: str
) -> None:
    folder = tmp_path_factory.mktemp("globs")
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    assert matches(path, pattern) == (file in folder.rglob(pattern))


# Shards


@pytest.mark.parametrize("kind", ["folder", *KINDS])
def test_the_lists_of_the_shards_are_the_list(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retroscope.scanning.sources.listing.IMAGES_PER_SHARD", 2)
    monkeypatch.setattr("retroscope.scanning.sources.archives.IMAGES_PER_SHARD", 2)
    source = folder if kind == "folder" else pack(folder, kind)
    whole, sharded = list_images(source), list_shards(source)
    parts = [Shard.from_json(json.loads(json.dumps(shard.to_json()))) for shard in sharded.shards]
    lists = [shard.list_images() for shard in parts]
    assert [shard.number for shard in parts] == list(range(len(parts)))
    assert [key for part in lists for key in part.keys] == list(whole.keys)
    assert [name for part in lists for name in classes_of(part)] == classes_of(whole)
    lengths = {"folder": [2, 2, 1], "zip": [2, 2, 1], "tar": [5], "parquet": [3, 2]}[kind]
    assert [len(part.keys) for part in lists] == lengths
    assert list(whole.shard_starts) == np.cumsum([0, *lengths])[:-1].tolist()
    if kind != "tar":
        assert [shard.images for shard in parts] == lengths
    for part, start in zip(lists, whole.shard_starts, strict=True):
        for index in range(len(part.keys)):
            row, expected = (
                read_input(tiny(), images, number)[1]
                for images, number in ((part, index), (whole, start + index))
            )
            assert row is not None
            assert expected is not None
            assert row[1:] == expected[1:]


@given(st.lists(st.integers(0, 9), min_size=1), st.integers(1, 5), st.data())
def test_batches_hold_each_image_once_and_never_cross_a_shard(
    lengths: list[int], size: int, data: st.DataObject
) -> None:
    starts = np.cumsum([0, *lengths])[:-1].tolist()
    images = ImageList([], [], [], str, shard_starts=starts)
    indices = range(sum(lengths))
    batches = [list(batch) for batch in images.batches(indices, size)]
    assert [index for batch in batches for index in batch] == list(indices)
    shard_of = np.repeat(np.arange(len(lengths)), lengths)
    assert all(len({*shard_of[batch]}) == 1 for batch in batches)
    per_shard = [-(-length // size) for length in lengths]
    assert len(batches) == sum(per_shard)
    resumed = data.draw(st.integers(0, len(batches)))
    processed = sum(map(len, batches[:resumed]))
    rest = images.batches(indices[processed:], size)
    assert [list(batch) for batch in rest] == batches[resumed:]


def test_a_folder_has_shards_of_2048_images(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n".join(f"{n}.png" for n in range(4100)))
    assert list(list_images(tmp_path / "list.txt").shard_starts) == [0, 2048, 4096]
    assert IMAGES_PER_SHARD == 2048


def test_a_shard_that_is_not_as_it_was_written_is_refused() -> None:
    with pytest.raises(RetroscopeError, match="a shard's number is 'x'"):
        Shard.from_json({"number": "x", "kind": "tar"})


def test_a_data_set_has_no_shards() -> None:
    with pytest.raises(RetroscopeError, match="cannot split dict into shards"):
        list_shards({})


# WebDataset


def png(seed: int) -> bytes:
    return smooth_image(seed).tobytes()


def test_classes_of_a_sample_are_beside_its_image(tmp_path: Path) -> None:
    tar = write_tar(
        tmp_path / "x.tar",
        {
            "a/0001.jpg": b"1",
            "a/0001.cls": "7",
            "a/0001.json": '{"label": 1}',
            "a/0002.cls": b" tabby cat\n",
            "a/0002.seg.png": b"2",
            "a/0002.txt": "a caption",
            "a/0003.png": b"3",
            "a/0003.json": '{"caption": "x", "label": 11, "class_name": "dog"}',
            "b/0001.jpg": b"4",
            "b/0002.jpg": b"5",
            "b/0002.json": '{"caption": "no class"}',
        },
    )
    images = list_images(tar)
    assert images.keys == [
        *("x.tar/a/0001.jpg", "x.tar/a/0002.seg.png", "x.tar/a/0003.png"),
        *("x.tar/b/0001.jpg", "x.tar/b/0002.jpg"),
    ]
    assert classes_of(images) == ["7", "tabby cat", "dog", "b", "b"]
    assert [note.text for note in images.notes] == [
        "2 of 5 images, such as 'x.tar/b/0001.jpg', state no class; their folders are their classes"
    ]
    assert classes_of(list_images(tar, class_folder="first")) == ["a", "a", "a", "b", "b"]


def test_numbers_of_classes_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    members = {f"{n}.{end}": str(n) for n in (10, 9, 2) for end in ("jpg", "cls")}
    assert list_images(write_tar(tmp_path / "x.tar", members)).class_names == ["2", "9", "10"]


def test_several_images_of_a_sample_are_noted(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", {"1.jpg": "i", "1.mask.png": "m", "1.cls": "3"})
    (note,) = list_images(tar).notes
    assert "samples such as 'x.tar/1' have several images" in note.text
    assert classes_of(list_images(tar, glob="*.jpg")) == ["3"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("1.json", "{", "'x.tar/1.json' (it is not JSON: "),
        ("1.cls", b"\xff\x00", "'x.tar/1.cls' (it is not text)"),
        ("1.cls", "a\nb", "it has more than a line"),
    ],
)
def test_a_class_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, content: bytes | str, said: str
) -> None:
    tar = write_tar(tmp_path / "x.tar", {"1.jpg": b"1", name: content})
    with pytest.raises(RetroscopeError) as refusal:
        list_images(tar)
    assert said in str(refusal.value)
    assert refusal.value.parameter == "class_folder"
    assert list_images(tar, class_folder="first").labels == [-1]


def test_tars_of_a_brace_range_a_glob_and_a_folder_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8, 12):
        write_tar(tmp_path / f"train-{number:03}.tar", {f"{number}.jpg": "x", f"{number}.cls": "c"})
    keys = [f"train-{number:03}.tar/{number}.jpg" for number in range(8, 12)]
    sources = ["train-{008..011}.tar", "train-*.tar", "train-{008,009,010,011}.tar"]
    monkeypatch.chdir(tmp_path)
    for source in (*sources, *(f"{tmp_path}/{source}" for source in sources), str(tmp_path)):
        assert list_images(source).keys == keys, source
    assert list_images(keys_to_tars(keys)).keys == keys
    Path("list.txt").write_text("\n".join(keys_to_tars(keys)))
    assert list_images("list.txt").keys == keys
    assert list_images(tmp_path, glob="train-01*.tar").keys == keys[2:]
    assert list_images(tmp_path, glob="9.jpg").keys == keys[1:2]
    assert list(list_images(tmp_path).shard_starts) == [0, 1, 2, 3]


def keys_to_tars(keys: list[str]) -> list[str]:
    return [key.split("/")[0] for key in keys]


def test_tars_of_one_name_in_two_folders_have_the_folder_in_their_keys(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_tar(tmp_path / split / "0.tar", {"cat/1.jpg": "x"})
    images = list_images(f"{tmp_path}/{{train,val}}/0.tar")
    assert images.keys == ["train/0.tar/cat/1.jpg", "val/0.tar/cat/1.jpg"]
    assert images.class_names == ["cat"]


def test_images_of_a_folder_that_also_has_tars_are_its_images(tmp_path: Path) -> None:
    write_classes(tmp_path, "cat/1.png")
    write_tar(tmp_path / "x.tar", {"1.jpg": "x"})
    images = list_images(tmp_path)
    assert images.keys == ["cat/1.png"]
    assert [note.text for note in images.notes] == ["left out 1 archive, such as 'x.tar'"]


# What a tar may hold


def test_a_tar_of_a_folder_by_gnu_tar_is_read(folder: Path) -> None:
    (folder / "dog" / ".hidden.png").write_bytes(b"x")
    (folder / ("long" * 30)).mkdir()
    smooth_image(7).save(folder / ("long" * 30) / ("name" * 30 + ".png"))
    (folder / "cat" / "4.png").hardlink_to(folder / "cat" / "1.png")
    (folder / "cat" / "5.png").symlink_to("1.png")
    command = ["tar", "--sort=name", "-cf", "../x.tar", "."]
    subprocess.run(command, cwd=folder, check=True)
    images = list_images(folder.parent / "x.tar")
    assert {path_in_archive(key, "tar") for key in images.keys} == {
        *NAMES,
        "cat/4.png",
        f"{'long' * 30}/{'name' * 30}.png",
    }
    assert [note.text for note in images.notes] == [
        "left out 1 hidden file, such as 'x.tar/dog/.hidden.png'",
        "left out 1 link, such as 'x.tar/cat/5.png'",
    ]
    twin, link = (images.keys.index(f"x.tar/cat/{n}.png") for n in (1, 4))
    net = tiny()
    assert read_input(net, images, twin)[0].tensor.equal(read_input(net, images, link)[0].tensor)


def test_a_damaged_member_is_an_unreadable_image_that_the_atlas_names(tmp_path: Path) -> None:
    members = {f"{n}.png": files_of(write_classes(tmp_path / "x", "1.png"))["1.png"] for n in "ab"}
    for kind in ("tar", "zip"):
        PACKERS[kind](tmp_path / f"x.{kind}", {**members, "c.png": b"no image", "d.png": b""})
        with scan(tiny(), tmp_path / f"x.{kind}", to=tmp_path / f"{kind}.atlas") as atlas:
            errors = {image.key: image.error for image in atlas.images if image.error}
        assert set(errors) == {f"x.{kind}/c.png", f"x.{kind}/d.png"}
        assert all(f"'{key}' " in str(error) for key, error in errors.items())


def test_a_member_of_a_zip_is_compared_with_its_checksum(tmp_path: Path) -> None:
    packed = tmp_path / "x.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.png", b"#" * 1000)
    data = bytearray(packed.read_bytes())
    data[data.index(b"####") + 3] = 0
    packed.write_bytes(data)
    with pytest.raises(ImageError, match=r"'x\.zip/a\.png' does not match its checksum"):
        read_input(tiny(), list_images(packed), 0)


def test_members_are_sorted_in_a_zip_as_in_a_folder(tmp_path: Path) -> None:
    names = ["b.png", "a/z.png", "a.b/x.png", "a/b/c.png", "./A.png"]
    packed = write_zip(tmp_path / "x.zip", dict.fromkeys(names, "x"))
    folder = tmp_path / "folder"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert [key.removeprefix("x.zip/") for key in list_images(packed).keys] == list(
        list_images(folder).keys
    )


# What is refused


def refusal(source: Path | str) -> str:
    with pytest.raises(RetroscopeError) as caught:
        list_images(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.9999])
@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_archive_is_refused_by_name(folder: Path, kind: str, share: float) -> None:
    archive = pack(folder, kind)
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data.rstrip(b"\0")) * share)])
    assert f"{str(archive)!r} is truncated" in refusal(archive)


def test_a_tar_that_ends_between_two_members_is_refused(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", {"a.png": b"x" * 512, "b.png": b"y" * 512})
    tar.write_bytes(tar.read_bytes()[:1024])
    assert "x.tar' is truncated" in refusal(tar)


def test_a_tar_with_garbage_between_members_is_refused(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", {"a.png": b"x" * 512, "b.png": b"y" * 512})
    data = bytearray(tar.read_bytes())
    data[1024:1536] = b"?" * 512
    tar.write_bytes(data)
    assert "no header at byte 1,024" in refusal(tar)


def test_joined_tars_are_refused(tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "x.tar", {"a.png": b"x"})
    tar.write_bytes(tar.read_bytes() * 2)
    assert "goes on after its end" in refusal(tar)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_archive_at_all_is_refused(tmp_path: Path, kind: str) -> None:
    for content in (b"", b"<html>not found</html>" * 100):
        (tmp_path / f"x.{kind}").write_bytes(content)
        assert f"x.{kind}' is truncated, damaged, or not " in refusal(tmp_path / f"x.{kind}")


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_refused(tmp_path: Path, mode: str) -> None:
    for name in (f"x.tar.{mode}", "x.tar"):
        with tarfile.open(tmp_path / name, f"w:{mode}") as tar:  # type: ignore[call-overload]
            tar.addfile(tarfile.TarInfo("a.png"))
        assert "compressed" in refusal(tmp_path / name)
        assert "decompress it" in refusal(tmp_path / name)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_without_images_is_refused(tmp_path: Path, kind: str) -> None:
    for members in ({}, {"a.txt": b"text"}):
        packed = PACKERS[kind](tmp_path / f"x.{kind}", members)
        assert f"no images in {str(packed)!r}; no file ends in .avif" in refusal(packed)


def test_missing_tars_of_a_range_are_named_once_with_their_count(tmp_path: Path) -> None:
    for number in (0, 2):
        write_tar(tmp_path / f"{number}.tar", {f"{number}.jpg": "x"})
    assert refusal(f"{tmp_path}/{{0..3}}.tar") == (
        f"2 of 4 archives are missing: '{tmp_path}/1.tar', '{tmp_path}/3.tar'; restore them, or "
        "leave them out"
    )


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{3..1}.tar", "is empty; write the lower number first"),
        ("{a..c}.tar", "cannot use the range {a..c}"),
        ("{0..99999999}.tar", "more than 1,000,000 files"),
        ("{0..9999}{0..9999}.tar", "more than 1,000,000 files"),
        ("none-*.tar", "no file matches"),
        ("none.tar", "no folder or list"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(tmp_path: Path, pattern: str, said: str) -> None:
    assert said in refusal(str(tmp_path / pattern))


def test_a_member_packed_twice_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("a.png"))
    assert "two images of the source are 'x.tar/a.png'" in refusal(tmp_path / "x.tar")


def test_a_zip_with_a_password_is_refused(tmp_path: Path) -> None:
    packed = write_zip(tmp_path / "x.zip", {"a.png": b"x"})
    data = bytearray(packed.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    packed.write_bytes(data)
    assert "x.zip' is protected by a password" in refusal(packed)


def test_a_zip_of_another_compression_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("a.png", b"x")
    assert "x.zip' is compressed by lzma; pack it again" in refusal(tmp_path / "x.zip")


def test_archives_and_images_in_one_list_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.png\nb.tar\n")
    assert "'b.tar' is an archive among images" in refusal(tmp_path / "list.txt")


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_changes_after_it_was_listed_is_refused(folder: Path, kind: str) -> None:
    archive = pack(folder, kind)
    images, (shard, *_) = list_images(archive), list_shards(archive).shards
    os.utime(archive, ns=(1, 1))
    for use in (lambda: read_input(tiny(), images, 0), shard.list_images):
        with pytest.raises(RetroscopeError, match=r"packed\..* has changed since it was listed"):
            use()
    archive.unlink()
    with pytest.raises(RetroscopeError, match=r"no file .*packed\."):
        shard.list_images()


@pytest.mark.parametrize("kind", KINDS)
def test_a_touched_archive_of_the_same_content_resumes(folder: Path, kind: str) -> None:
    archive, atlas = pack(folder, kind), folder.parent / "x.atlas"
    scan(tiny(), archive, to=atlas).close()
    os.utime(archive, ns=(1, 1))
    scan(tiny(), archive, to=atlas).close()
    members = files_of(folder)
    members["cat/1.png"] = members["cat/2.png"]
    PACKERS[kind](archive, members)
    with pytest.raises(RetroscopeError, match=r"cat/1\.png' has changed since the scan read it"):
        scan(tiny(), archive, to=atlas)


# Parquet


def test_class_numbers_without_names_are_the_classes(folder: Path) -> None:
    members = files_of(folder)
    numbers = {name: n * 5 for n, name in enumerate(members)}
    packed = write_parquet(folder.parent / "x.parquet", members, labels=numbers)
    images = list_images(packed)
    assert classes_of(images) == ["0", "5", "10", "15", "20"]
    assert images.class_names == ["0", "5", "10", "15", "20"]


def test_classes_of_one_name_have_their_numbers(folder: Path) -> None:
    members = files_of(folder)
    labels = {name: n % 3 for n, name in enumerate(members)}
    packed = write_parquet(
        folder.parent / "x.parquet", members, labels=labels, names=["crane", "dog", "crane"]
    )
    assert list_images(packed).class_names == ["crane (0)", "crane (2)", "dog"]


def test_images_without_a_path_are_called_by_their_rows(tmp_path: Path) -> None:
    images = files_of(write_classes(tmp_path / "x", "1.png", "2.png", "3.png"))
    pq.write_table(pa.table({"jpg": list(images.values())}), tmp_path / "x.parquet")
    found = list_images(tmp_path / "x.parquet")
    assert found.keys == ["x.parquet/0", "x.parquet/1", "x.parquet/2"]
    assert found.labels == [-1] * 3
    assert read_input(tiny(), found, 2)[0].tensor.equal(
        tiny().prepare(tmp_path / "x" / "3.png").tensor
    )


def test_an_image_without_bytes_is_unreadable(tmp_path: Path) -> None:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = pa.array([{"bytes": None, "path": "a.png"}, None], type=struct)
    pq.write_table(pa.table({"image": rows}), tmp_path / "x.parquet")
    images = list_images(tmp_path / "x.parquet")
    assert images.keys == ["x.parquet/0/a.png", "x.parquet/1"]
    for index, key in enumerate(images.keys):
        with pytest.raises(ImageError, match=f"'{key}' has no bytes"):
            read_input(tiny(), images, index)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"text": ["a"]}, "has no column of images, only text"),
        ({"a": [b"1"], "b": [b"2"]}, "has several columns of images, a and b"),
    ],
)
def test_columns_that_hold_no_image_or_several_are_refused(
    tmp_path: Path, columns: dict[str, list[object]], said: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    assert said in refusal(tmp_path / "x.parquet")


def test_several_columns_of_classes_are_refused_unless_one_is_the_label(tmp_path: Path) -> None:
    features = {name: {"_type": "ClassLabel", "names": ["a", "b"]} for name in ("fine", "coarse")}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"image": [b"1"], "fine": [0], "coarse": [1]})
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "x.parquet")
    assert "has several columns of classes, fine and coarse; rename" in refusal(
        tmp_path / "x.parquet"
    )
    assert list_images(tmp_path / "x.parquet", class_folder="first").labels == [-1]


def test_row_groups_are_read_once_for_images_that_follow_each_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = list_images(pack(folder, "parquet"))
    groups: list[int] = []
    read = pq.ParquetFile.read_row_group

    def record(file: pq.ParquetFile, group: int, **options: object) -> object:
        groups.append(group)
        return read(file, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", record)
    for index in range(len(NAMES)):
        read_input(tiny(), images, index)
    assert groups == [0, 1]


def test_classes_of_a_parquet_file_are_chosen_by_path_with_a_class_folder(folder: Path) -> None:
    packed = pack_parquet(folder.parent / "x.parquet", files_of(folder))
    images = list_images(packed, class_folder="last")
    assert classes_of(images) == [PurePath(name).parent.name for name in files_of(folder)]
