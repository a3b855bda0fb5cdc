"""Small files that ask for much memory or time: refused before it is spent."""

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from retroscope.zoo.weights import read_weights
from retroscope.zoo.weights.hdf5 import open_hdf5
from retroscope.zoo.weights.imported_weights import ImportedWeights
from tests.zoo import weight_files as w
from tests.zoo.test_weights_refused import another, keras, refused

h5py: Any = pytest.importorskip("h5py")

MORE_THAN_IT_HOLDS = "more than a file of"


def nested(depth: int, width: int) -> object:
    """Lists of lists, all of whose entries are the same list."""
    content: object = []
    for _ in range(depth):
        content = [content] * width
    return content


def test_nested_references_are_not_followed_more_often_than_the_file_is_long(
    tmp_path: Path,
) -> None:
    path = tmp_path / "net.npy"
    w.npy_that_holds(path, nested(4, 1500))
    assert path.stat().st_size < 20_000
    assert MORE_THAN_IT_HOLDS in refused(path)


DOUBLED = b")" + 60 * b"2\x86"
"""A tuple of a tuple twice, sixty times: 2^60 entries."""


@pytest.mark.parametrize(
    "opcodes",
    [
        b"}" + DOUBLED + b"Ns.",
        b"}(" + DOUBLED + b"Nu.",
        b"(" + DOUBLED + b"Nd.",
        b"\x8f(" + DOUBLED + b"\x90.",
        b"(" + DOUBLED + b"\x91.",
        b"cnumpy\ndtype\n(" + DOUBLED + b"I0\nI1\ntR.",
        b"c_codecs\nencode\n(S'a'\n" + DOUBLED + b"tR.",
        DOUBLED + b"Nb.",
    ],
    ids=["setitem", "setitems", "dict", "additems", "frozenset", "dtype", "encode", "build"],
)
def test_nested_references_are_never_hashed_or_printed(opcodes: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.npy"
    w.npy_of_opcodes(path, opcodes)
    assert len(refused(path)) < 1000


def test_a_text_is_not_encoded_again_and_again(tmp_path: Path) -> None:
    text = b"X" + (10**6).to_bytes(4, "little") + bytes(10**6) + b"q\x010"
    encoded = b"c_codecs\nencode\nq\x02h\x01X\x06\x00\x00\x00latin1\x86R"
    again = b"h\x02h\x01X\x06\x00\x00\x00latin1\x86R"
    path = tmp_path / "net.npy"
    w.npy_of_opcodes(path, b"\x80\x02" + text + b"(" + encoded + 100 * again + b"l.")
    assert MORE_THAN_IT_HOLDS in refused(path)


def test_one_array_with_thousands_of_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.npy"
    array = np.zeros((3, 3, 3, 4), np.float32)
    content = {f"conv{number}": [array, None] for number in range(5000)}
    with path.open("wb") as file:
        np.save(file, np.array(content, dtype=object), allow_pickle=True)
    assert MORE_THAN_IT_HOLDS in refused(path)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_tensors_that_repeat_one_number_are_refused(new: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    tensors = {"fc.weight": torch.zeros(1).expand(6_000_000, 512)}
    torch.save(tensors, path, _use_new_zipfile_serialization=new)
    assert MORE_THAN_IT_HOLDS in refused(path)


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(2**40, device="meta")],
    ids=["meta"],
)
def test_tensors_without_plain_numbers_are_refused(tensor: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"fc.weight": tensor}, path)
    assert "'fc.weight' is not a plain tensor" in refused(path)


def huge_chunk(file: Any) -> None:
    another(shape=(3, 3, 5, 5), maxshape=(None,) * 4, dtype="f4", chunks=(64, 64, 128, 512))(file)


def long_stream(file: Any) -> None:
    """A chunk of 900 bytes, whose stored stream has a million."""
    name = "block3_conv2_W_1:0"
    another(shape=(3, 3, 5, 5), dtype="f4", chunks=(3, 3, 5, 5), compression="gzip")(file)
    dataset = file["block3_conv2"][name]
    dataset.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(10**6)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (huge_chunk, MORE_THAN_IT_HOLDS),
        (long_stream, "does not decompress to its size"),
    ],
)
def test_hdf5_that_expands_is_refused(
    change: Callable[[Any], None], reason: str, tmp_path: Path
) -> None:
    assert reason in refused(keras(tmp_path / "vgg16.h5", change))


@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"shuffle": True, "fletcher32": True}])
def test_compressed_weights_are_read(options: dict[str, bool], tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(3, 3, 6, 6)).astype(np.float32)

    def compress(file: Any) -> None:
        another(data=numbers, chunks=(2, 3, 5, 2), compression="gzip", **options)(file)

    weights = read_weights(keras(tmp_path / "vgg16.h5", compress))
    assert isinstance(weights, ImportedWeights)
    expected = numbers.transpose(3, 2, 0, 1)
    assert np.array_equal(weights.layers["block3_conv2"].weight, expected)


TEXT = "conv1" * 1000


def texts(count: int = 1) -> Callable[[Any], None]:
    """A list of names in which the first one is long."""

    def change(file: Any) -> None:
        del file.attrs["layer_names"]
        file.attrs["layer_names"] = [TEXT] + ["x"] * (count - 1)

    return change


def descriptor(content: bytes | bytearray, length: int) -> int:
    """Where the length, the heap address and the number of the only text of this length are."""
    heaps = [match.start() for match in re.finditer(b"GCOL", content)]
    starts = [
        match.start()
        for heap in heaps
        for match in re.finditer(re.escape(struct.pack("<IQ", length, heap)), content)
    ]
    (start,) = starts
    return start


def test_many_names_that_are_one_long_text_are_refused(tmp_path: Path) -> None:
    path = keras(tmp_path / "vgg16.h5", texts(4000))
    content = bytearray(path.read_bytes())
    start = descriptor(content, len(TEXT))
    content[start : start + 16 * 4000] = 4000 * content[start : start + 16]
    path.write_bytes(content)
    assert len(content) < 400_000 < 4000 * len(TEXT)
    assert MORE_THAN_IT_HOLDS in refused(path)


def test_a_text_of_impossible_length_is_refused_before_memory_is_allocated(tmp_path: Path) -> None:
    path = keras(tmp_path / "vgg16.h5", texts())
    content = bytearray(path.read_bytes())
    start = descriptor(content, len(TEXT))
    content[start : start + 4] = (2**32 - 1).to_bytes(4, "little")
    path.write_bytes(content)
    assert MORE_THAN_IT_HOLDS in refused(path)


@pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
@pytest.mark.parametrize("track_order", [True, False])
@pytest.mark.parametrize("others", [0, 5])
def test_texts_of_every_kind_of_header_are_measured_and_read(
    libver: str, track_order: bool, others: int, tmp_path: Path
) -> None:
    path, names = tmp_path / "net.h5", ["a", "b" * 3000, "ü"]
    with h5py.File(path, "w", libver=libver, track_order=track_order) as file:
        for number in range(others):
            file.attrs[f"number{number}"] = number
        file.attrs["names"] = names
        file.attrs["name"] = names[1]
    with open_hdf5(path) as opened:
        assert opened.text_list(opened.root, "names") == names
        assert opened.root_text("name") == names[1]


def test_texts_that_cannot_be_measured_are_refused(tmp_path: Path) -> None:
    """Of more than eight attributes the newest form of HDF5 makes a tree of its own."""
    path = tmp_path / "net.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for number in range(9):
            file.attrs[f"number{number}"] = number
        file.attrs["layer_names"] = ["a"]
    assert "texts of the attribute 'layer_names' cannot be measured" in refused(path)


@pytest.mark.parametrize("is_recorded", [True, False], ids=["both", "pickle"])
def test_a_storage_longer_than_its_file_is_refused(is_recorded: bool, tmp_path: Path) -> None:
    """Legacy files state the length of a storage in the pickle and before its numbers."""
    path, length, claimed = tmp_path / "weights.pt", 231, 2**31 - 1
    torch.save({"w": torch.zeros(length)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert content.count(b"K\xe7N") == content.count(length.to_bytes(8, "little")) == 1
    content = content.replace(b"K\xe7N", b"J" + claimed.to_bytes(4, "little") + b"N")
    if is_recorded:
        content = content.replace(length.to_bytes(8, "little"), claimed.to_bytes(8, "little"))
    path.write_bytes(content)
    assert "is damaged or truncated" in refused(path)
