"""`.npz` archives with arrays `conv1_1_W`, `conv1_1_b`, ..., `fc8_W`, `fc8_b`.

`vgg16_weights.npz` (frossard) is such a file; it takes red, green, blue.
"""

from pathlib import Path
from typing import IO
from zipfile import ZipFile, ZipInfo, is_zipfile

import numpy as np

from retroscope.errors import ModelError
from retroscope.zoo.weights.file_limits import ByteBudget
from retroscope.zoo.weights.imported_weights import (
    TENSORFLOW,
    AnyArray,
    ImportedWeights,
    RawLayer,
    convert_layers,
    sort_convolutions_first,
)
from retroscope.zoo.weights.npy_dictionary import HEADER_READERS

SUFFIX = ".npy"
"""Of every member."""


def is_npz(path: Path, head: bytes) -> bool:
    """A zip archive that contains only arrays."""
    if not head.startswith(b"PK") or not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(SUFFIX) for name in names)


def read_npz(path: Path) -> ImportedWeights:
    """The layers, convolutions first, in the order of the numbers in their names."""
    arrays = read_arrays(path)
    raw_layers = sort_convolutions_first(_raw_layers(arrays, path))
    return ImportedWeights(
        str(path),
        convert_layers(raw_layers, TENSORFLOW, str(path)),
        colour_order="RGB",
        maps_last=True,
        inferred=(f"an archive of {len(arrays)} arrays in TensorFlow's layout: H, W, I, O",),
    )


def read_arrays(path: Path) -> dict[str, AnyArray]:
    """The arrays of an archive by their names, within the file's byte budget."""
    budget = ByteBudget(path)
    with ZipFile(path) as archive:
        return {
            member.filename.removesuffix(SUFFIX): _read_array(archive, member, budget)
            for member in archive.infolist()
        }


def _raw_layers(arrays: dict[str, AnyArray], path: Path) -> list[RawLayer]:
    weights = [name for name in arrays if name.endswith("_W")]
    layer_arrays = {*weights, *(f"{name[:-2]}_b" for name in weights)}
    if extra := [name for name in arrays if name not in layer_arrays]:
        raise ModelError(
            f"{path}: {extra[0]!r} belongs to no layer; weights in .npz format are NAME_W and "
            "NAME_b for every layer"
        )
    for name in weights:
        if arrays[name].ndim not in (2, 4):
            raise ModelError(
                f"{path}: {name!r} of shape {arrays[name].shape} does not belong to a convolution "
                "or a fully connected layer; only networks made of these can be read"
            )
    return [RawLayer(name[:-2], arrays[name], arrays.get(f"{name[:-2]}_b")) for name in weights]


def _read_array(archive: ZipFile, member: ZipInfo, budget: ByteBudget) -> AnyArray:
    """The array of a member, whose header must agree with its size before memory is allocated."""
    budget.spend(member.file_size, member.filename)
    with archive.open(member) as file:
        shape, fortran, dtype = _read_header(file)
        if dtype.kind != "f":
            raise ModelError(
                f"{budget.path}: {member.filename!r} contains {dtype}; weights are floating-point "
                "numbers"
            )
        array = np.frombuffer(file.read(member.file_size), dtype)
    return array.reshape(shape, order="F" if fortran else "C")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    return HEADER_READERS[np.lib.format.read_magic(file)](file)
