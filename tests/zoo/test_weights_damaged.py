"""Weight files that are damaged, or of no network: one clear line each."""

import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from retroscope.zoo.weights import read_weights
from retroscope.zoo.weights.imported_weights import StateDict
from tests.zoo import weight_files as w
from tests.zoo.test_weights_answers import ALEXNET_FILES, VGG_FILES, named, pair
from tests.zoo.test_weights_refused import keras, refused

h5py: Any = pytest.importorskip("h5py")


ALL_FILES: dict[str, Callable[[Path], None]] = {
    **{
        name: partial(lambda write, path: write(path, w.vgg()), write)
        for name, (_, write) in VGG_FILES.items()
    },
    **{
        f"alexnet_{name}": partial(lambda write, path: write(path, w.alexnet()), write)
        for name, write in ALEXNET_FILES.items()
    },
    "torch": lambda path: torch.save({"w": torch.zeros(3000)}, path),
    "torch_legacy": lambda path: torch.save(
        {"w": torch.zeros(3000)}, path, _use_new_zipfile_serialization=False
    ),
}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("file", ALL_FILES)
def test_a_download_that_was_cut_off_is_said_to_be(file: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    ALL_FILES[file](path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "truncated" in refused(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html>\n<html><title>404</title>", "it is a web page"),
        (b"\xef\xbb\xbf\r\n  <html>Quota exceeded</html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a git-lfs pointer"),
        (b"", "is empty; download it again"),
        (
            b"no weights at all",
            "is not in a supported weight format; supported are Keras up to 0.3",
        ),
        (b"\x00" * 5000, "is not in a supported weight format"),
        (b"\x89PNG\r\n\x1a\n", "it is an image"),
        (b"\x1f\x8b\x08", "it is compressed"),
        (b"PK\x05\x06" + bytes(18), "it is a zip archive"),
        (b"\x93NUMPY\x09\x00", "npy version (9, 0)"),
        (b"\x89HDF\r\n\x1a\n", "is damaged or truncated"),
    ],
)
@pytest.mark.parametrize("name", ["vgg16.h5", "vgg16.npy", "net.caffemodel"])
def test_what_holds_no_weights_is_called_by_its_name(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert said in refused(path)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    assert "no file" in refused(tmp_path / "vgg16.h5")
    (tmp_path / "folder.h5").mkdir()
    assert "no file" in refused(tmp_path / "folder.h5")


def test_a_plain_array_is_no_network(tmp_path: Path) -> None:
    path = tmp_path / "mean.npy"
    np.save(path, np.zeros((3, 4)))
    assert "is one array of shape (3, 4)" in refused(path)


def test_an_archive_of_other_arrays_is_no_network(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros(3))
    assert "'x' belongs to no layer" in refused(path)
    np.savez(path, x_W=np.zeros(3))
    assert "'x_W' of shape (3,)" in refused(path)


def test_hdf5_of_something_else_is_of_no_known_format(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)
    assert "is not in a supported weight format" in refused(path)


# A layer is missing, or has the wrong shape


def without(layers: w.Layers, *names: str) -> w.Layers:
    return {name: one for name, one in layers.items() if name not in names}


@pytest.mark.parametrize("file", ["keras_0_3", "keras_3", "npy", "npz", "caffe", "caffe_v1"])
def test_a_missing_layer_is_noticed(file: str, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    VGG_FILES[file][1](path, without(w.vgg(), "conv4_2"))
    assert "a layer is missing" in refused(path)
    assert "12 convolutions of 3x3, 3 fully connected layers" in refused(path)
    VGG_FILES[file][1](path, without(w.vgg(), "fc7"))
    assert "takes 8 channels, but" in refused(path)


def test_a_missing_layer_that_is_listed_is_named(tmp_path: Path) -> None:
    def remove(file: Any) -> None:
        del file["block4_conv2"]

    assert "lists the layer 'block4_conv2' but does not contain it" in refused(
        keras(tmp_path / "vgg16.h5", remove)
    )

    def remove_bias(file: Any) -> None:
        del file["block4_conv2"]["block4_conv2_b_1:0"]

    assert "lists the array 'block4_conv2_b_1:0'" in refused(keras(tmp_path / "a.h5", remove_bias))

    def remove_list(file: Any) -> None:
        del file["block4_conv2"].attrs["weight_names"]

    assert "'block4_conv2' does not list" in refused(keras(tmp_path / "b.h5", remove_list))


@pytest.mark.parametrize(
    ("layer", "shape", "said"),
    [
        ("conv3_2", (6, 5, 3, 3), "takes 5 channels"),
        ("conv3_2", (7, 6, 3, 3), "takes 6 channels"),
        ("conv3_2", (6, 6, 5, 5), "12 convolutions of 3x3, 1 convolutions of 5x5"),
        ("conv3_2", (6, 6, 3, 5), "1 convolutions that are not square"),
        ("fc6", (9, 25), "takes 25 numbers, which cannot be square maps of 6 channels"),
        ("fc6", (9, 48), "takes 48 numbers"),
        ("fc8", (5, 9), "takes 9 channels"),
    ],
)
def test_a_wrong_shape_is_noticed(
    layer: str, shape: tuple[int, ...], said: str, tmp_path: Path
) -> None:
    layers, path = w.vgg(), tmp_path / "net.caffemodel"
    layers[layer] = np.zeros(shape, np.float32), np.zeros(shape[0], np.float32)
    w.caffemodel(path, layers, old=True)
    assert said in refused(path)


def test_a_bias_of_another_length_is_noticed(tmp_path: Path) -> None:
    layers, path = w.vgg(), tmp_path / "weights.npz"
    layers["conv2_1"] = layers["conv2_1"][0], np.zeros(3, np.float32)
    w.npz(path, layers)
    assert "'conv2_1' has weights for 5 outputs but a bias of shape (3,)" in refused(path)


def test_a_layer_without_its_bias_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    w.npz(path, w.vgg())
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    del parts["conv2_1_b.npy"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert "'conv2_1' has no bias, but conv2_1 of the network takes a bias of (5,)" in (
        refused(path)
    )


@pytest.mark.parametrize("value", [pair, named])
def test_other_things_in_the_place_of_weights_are_noticed(
    value: Callable[..., object], tmp_path: Path
) -> None:
    path = tmp_path / "net.npy"
    zeros = np.zeros((3, 3, 3, 4), np.float32)
    for wrong in (value(None, zeros), value(zeros, "text"), 5, [zeros, zeros[0, 0, 0], zeros]):
        w.npy_that_holds(path, wrong)
        assert "layer 'conv1' is not the weights and biases" in refused(path)


def test_layers_of_other_kinds_are_named(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    scale = w.new_layer("bn1", "BatchNorm", np.zeros(4, np.float32))
    w.caffemodel(path, w.vgg(), old=False, extra=[scale])
    assert "layer 'bn1' is a BatchNorm with 1 blobs" in refused(path)


def test_a_blob_whose_shape_is_not_its_length_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    w.caffemodel(path, w.vgg(), old=False)
    shape = b"\x3a\x06\x0a\x04\x04\x03\x03\x03"
    assert shape in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(shape, b"\x3a\x06\x0a\x04\x04\x03\x03\x02"))
    assert "a blob of shape [4, 3, 3, 2] has 108 numbers" in refused(path)


# safetensors


def safetensors(path: Path, header: bytes, numbers: bytes = bytes(16)) -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + numbers)
    return path


ENTRY = '{"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}'


@pytest.mark.parametrize(
    "header",
    [
        '{"a": {"dtype": "F32", "shape": [5], "data_offsets": [0, 20]}}',
        '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [-4, 12]}}',
        '{"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}',
        '{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 16]}}',
        '{"a": {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]}}',
        '{"a": {"dtype": "F32", "shape": [4611686018427387904, 4, 4], "data_offsets": [0, 16]}}',
        '{"a": {"dtype": "F33", "shape": [4], "data_offsets": [0, 16]}}',
        '{"a": {"shape": [4], "data_offsets": [0, 16]}}',
        '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}',
        f'{{"a": {ENTRY}, "b": {ENTRY}}}',
        '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, '
        '"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}',
        '{"a": 5}',
        '{"a": ',
        '{"a": ' + "[" * 10_000,
    ],
    ids=["outside", "negative", "backwards", "short", "negative shape", "overflow", "dtype",
         "no dtype", "bytes left over", "overlap", "repeated", "no entry", "cut", "nested"],
)  # fmt: skip
def test_a_safetensors_file_that_contradicts_itself_is_refused(header: str, tmp_path: Path) -> None:
    line = refused(safetensors(tmp_path / "a.safetensors", header.encode()))
    assert "is damaged or truncated (SafetensorError: " in line


@pytest.mark.parametrize("length", [2**40, 2**47])
def test_a_safetensors_header_is_not_longer_than_its_file(length: int, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b'{"a": 1}')
    assert "is damaged or truncated (SafetensorError: " in refused(path)


@pytest.mark.parametrize(
    ("dtype", "bytes_per_number"),
    [("F64", 8), ("F32", 4), ("F16", 2), ("BF16", 2), ("I64", 8), ("U8", 1), ("BOOL", 1)],
)
def test_safetensors_of_every_dtype_are_read(
    dtype: str, bytes_per_number: int, tmp_path: Path
) -> None:
    size = 6 * bytes_per_number
    header = f'{{"a": {{"dtype": "{dtype}", "shape": [2, 3], "data_offsets": [0, {size}]}}}}'
    path = safetensors(tmp_path / "a.safetensors", header.encode(), bytes(size))
    state = read_weights(path)
    assert isinstance(state, StateDict)
    assert state.tensors["a"].shape == (2, 3)
    assert state.tensors["a"].element_size() == bytes_per_number
    assert not state.tensors["a"].any()
