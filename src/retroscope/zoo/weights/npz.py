"""`.npz` archives with arrays `conv1_1_W`, `conv1_1_b`, ..., `fc8_W`, `fc8_b`.

`vgg16_weights.npz` (frossard) is such a file; it takes red, green, blue.
"""

from pathlib import Path
from typing import IO
from zipfile import ZipFile, ZipInfo, is_zipfile

import numpy as np
import numpy.typing as npt

from retroscope.errors import ModelError
from retroscope.zoo.weights.bounds import Allowance
from retroscope.zoo.weights.foreign import TENSORFLOW, Foreign, Raw, by_number, canonical

ENDING = ".npy"


def recognises(path: Path, head: bytes) -> bool:
    if not head.startswith(b"PK") or not is_zipfile(path):
        return False
    with ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(ENDING) for name in names)


def read(path: Path) -> Foreign:
    """The layers, convolutions first, each in the order of its numbers."""
    allowance = Allowance(path)
    with ZipFile(path) as archive:
        arrays = {
            info.filename.removesuffix(ENDING): _array(archive, info, allowance)
            for info in archive.infolist()
        }
    raws = sorted(_raws(arrays, path), key=lambda raw: (-raw.weight.ndim, by_number(raw.name)))
    return Foreign(
        str(path),
        canonical(raws, TENSORFLOW, str(path)),
        colour="RGB",
        maps_last=True,
        decided=(f"an archive of {len(arrays)} arrays, laid out as TensorFlow does: H, W, I, O",),
    )


def _raws(arrays: dict[str, npt.NDArray[np.generic]], path: Path) -> list[Raw]:
    weights = [name for name in arrays if name.endswith("_W")]
    used = {*weights, *(f"{name[:-2]}_b" for name in weights)}
    if odd := [name for name in arrays if name not in used]:
        raise ModelError(
            f"{path}: {odd[0]!r} belongs to no layer; weights in this format are NAME_W and "
            "NAME_b for every layer"
        )
    for name in weights:
        if arrays[name].ndim not in (2, 4):
            raise ModelError(
                f"{path}: {name!r} of shape {arrays[name].shape} is of no convolution and of no "
                "fully connected layer"
            )
    return [Raw(name[:-2], arrays[name], arrays.get(f"{name[:-2]}_b")) for name in weights]


def _array(archive: ZipFile, info: ZipInfo, allowance: Allowance) -> npt.NDArray[np.generic]:
    """One member. Its header must agree with its size before anything is reserved for it."""
    allowance.take(info.file_size, info.filename)
    with archive.open(info) as file:
        shape, fortran, kind = _header(file)
        if kind.kind != "f":
            raise ModelError(
                f"{allowance.path}: {info.filename!r} holds {kind}, not numbers of weights; it is "
                "not read"
            )
        numbers = np.frombuffer(file.read(info.file_size), kind)
    return numbers.reshape(shape, order="F" if fortran else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[np.lib.format.read_magic(file)]
    return read(file)
