"""Damaged copies of small files of every weight format: opened, or refused in one clear line."""

from collections.abc import Callable
from pathlib import Path

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

MUTATIONS = 30
"""Of each file."""

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


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_read_or_refused_in_one_line(file: str, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    FILES[file](path)
    content = path.read_bytes()
    lines = []
    for seed in range(MUTATIONS):
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
