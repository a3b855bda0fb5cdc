"""Damaged copies of small files of every weight format: opened, or refused in one clear line."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import retroscope as rs
from retroscope.errors import RetroscopeError
from retroscope.zoo import keras_models
from retroscope.zoo.weights import read_weights
from tests.zoo import weight_files as w
from tests.zoo.test_weights_damaged import ALL_FILES

pytest.importorskip("h5py")

MUTATIONS, HDF5_MUTATIONS = 200, 50
"""Of each file. HDF5 files are opened several times, which takes longer."""

TENSORS = {"conv.weight": torch.zeros(4, 3, 3, 3), "conv.bias": torch.zeros(4)}

FILES: dict[str, Callable[[Path], None]] = {
    **ALL_FILES,
    "torch": lambda path: torch.save(TENSORS, path),
    "torch_legacy": lambda path: torch.save(TENSORS, path, _use_new_zipfile_serialization=False),
    "safetensors": lambda path: save_file(TENSORS, path),
    "keras_2": lambda path: w.keras_two(path, w.vgg()),
    "keras_2_model": lambda path: w.keras_two(path, w.vgg(), whole=True),
}


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """Flips some bytes, cuts the end off, or fills a region with zeros."""
    damaged = bytearray(content)
    start = int(random.integers(len(content)))
    match random.integers(4):
        case 0:
            for position in random.integers(len(content), size=int(random.integers(1, 9))):
                damaged[position] ^= int(random.integers(1, 256))
        case 1:
            del damaged[start:]
        case 2:
            stop = min(start + int(random.integers(1, 200)), len(content))
            damaged[start:stop] = bytes(stop - start)
        case _:  # the header, where a byte matters most
            damaged[start % 2048] ^= int(random.integers(1, 256))
    return bytes(damaged)


def write_onnx(path: Path) -> None:
    """A convolution and a global pool."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weights = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    shapes = {"x": (1, 3, 8, 8), "y": (1, 4, 1, 1)}
    image, answer = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("GlobalAveragePool", ["c"], ["y"], name="pool"),
    ]
    graph = helper.make_graph(nodes, "net", [image], [answer], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), str(path))


def write_keras(path: Path) -> None:
    """A convolution, a global pool and a fully connected layer."""
    keras: Any = keras_models._import_keras()
    layers = keras.layers
    with torch.random.fork_rng(devices=[]):
        model = keras.Sequential(
            [
                *(keras.Input((8, 8, 3)), layers.Conv2D(4, 3, activation="relu")),
                *(layers.GlobalAveragePooling2D(), layers.Dense(5)),
            ]
        )
    model.save(str(path))


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_read_or_refused_in_one_line(file: str, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    FILES[file](path)
    content = path.read_bytes()
    lines = []
    is_hdf5 = content.startswith(b"\x89HDF")
    for seed in range(HDF5_MUTATIONS if is_hdf5 else MUTATIONS):
        path.write_bytes(mutate(content, np.random.default_rng(seed)))
        try:
            if not keras_models.is_keras_model(path):
                read_weights(path)
        except RetroscopeError as error:
            lines.append(str(error))
    assert lines
    assert all(str(path) in line and "\n" not in line for line in lines)


@pytest.mark.parametrize("file", ["applications_tf", "npz", "caffe_v1", "npy"])
def test_a_damaged_file_is_opened_or_refused_in_one_line(file: str, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    FILES[file](path)
    content = path.read_bytes()
    lines = []
    for seed in range(10):
        path.write_bytes(mutate(content, np.random.default_rng(seed)))
        try:
            rs.open_model(str(path), device="cpu")
        except RetroscopeError as error:
            lines.append(str(error))
    assert all(str(path) in line and "\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("name", "write", "mutations"),
    [("net.onnx", write_onnx, 200), ("net.keras", write_keras, 50)],
)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_model_is_opened_or_refused_in_one_line(
    name: str, write: Callable[[Path], None], mutations: int, tmp_path: Path
) -> None:
    if find_spec("onnx2pytorch" if write is write_onnx else "keras") is None:
        pytest.skip("not installed")
    path = tmp_path / name
    write(path)
    content = path.read_bytes()
    lines = []
    for seed in range(mutations):
        path.write_bytes(mutate(content, np.random.default_rng(seed)))
        try:
            assert rs.open_model(str(path), device="cpu").layers
        except RetroscopeError as error:
            lines.append(str(error))
    assert lines
    assert all(str(path) in line and "\n" not in line for line in lines)


def test_the_name_of_an_onnx_node_may_be_no_text(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    write_onnx(path)
    content = path.read_bytes()
    assert content.count(b"conv") == 1
    path.write_bytes(content.replace(b"conv", b"c\xffnv"))
    with pytest.raises(RetroscopeError, match=r"cannot open .* as an ONNX network") as caught:
        rs.open_model(str(path), device="cpu")
    assert "\n" not in str(caught.value)


def test_an_archive_that_spans_disks_is_refused_in_one_line(tmp_path: Path) -> None:
    """`zipfile.is_zipfile` raises on it instead of answering."""
    path = tmp_path / "weights.pt"
    torch.save(TENSORS, path)
    content = bytearray(path.read_bytes())
    locator = content.rindex(b"PK\x06\x07")
    content[locator + 16] = 7  # disks in all
    path.write_bytes(content)
    with pytest.raises(RetroscopeError, match=r"is damaged or truncated .*; download it again"):
        rs.open_model(str(path), device="cpu")


def test_the_message_of_a_damaged_file_is_short(tmp_path: Path) -> None:
    """The names in an archive, which zipfile repeats, may be as long as the file."""
    path = tmp_path / "weights.npz"
    np.savez(path, conv1_W=np.zeros((3, 3, 3, 4), np.float32))
    content = bytearray(path.read_bytes())
    content[27] = 2  # the length of the first name, in 256
    path.write_bytes(content)
    with pytest.raises(RetroscopeError, match="BadZipFile") as caught:
        read_weights(path)
    assert len(str(caught.value)) < 500 + len(str(path))
