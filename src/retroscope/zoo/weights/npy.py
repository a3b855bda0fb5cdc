"""`.npy` files with a dictionary inside, as TensorFlow's ports of Caffe's networks have them.

`vgg19.npy` and `vgg16.npy` (machrisaa): a name to [weights, biases]. `bvlc_alexnet.npy`
(guerzhoy): the same, or to {'weights': ..., 'biases': ...}.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from retroscope.errors import ModelError
from retroscope.zoo.weights.foreign import TENSORFLOW, Foreign, Raw, by_number, canonical
from retroscope.zoo.weights.pickles import unpickled

MAGIC = b"\x93NUMPY"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def recognises(_path: Path, head: bytes) -> bool:
    return head.startswith(MAGIC)


def read(path: Path) -> Foreign:
    """The layers, convolutions first, each in the order of its numbers."""
    with path.open("rb") as file:
        _skip_header(file, path)
        found = unpickled(file, str(path))
    if not isinstance(found, Mapping) or not found:
        raise ModelError(
            f"{path} holds no dictionary of layers, as weights in this format do, but a "
            f"{type(found).__name__}"
        )
    raws = sorted(
        (_raw(str(name), value, path) for name, value in found.items()),
        key=lambda raw: (-raw.weight.ndim, by_number(raw.name)),
    )
    return Foreign(
        str(path),
        canonical(raws, TENSORFLOW, str(path)),
        colour="BGR",
        maps_last=True,
        decided=(f"a dictionary of {len(raws)} layers, laid out as TensorFlow does: H, W, I, O",),
    )


def _skip_header(file: IO[bytes], path: Path) -> None:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ModelError(f"{path} is of version {version} of npy; weights are of 1.0 or 2.0")
    shape, _, kind = _HEADERS[version](file)
    if not kind.hasobject:
        raise ModelError(
            f"{path} is one array of shape {shape}; weights are a dictionary of layers"
        )


def _raw(name: str, value: object, path: Path) -> Raw:
    if isinstance(value, Mapping):
        value = [value.get("weights"), value.get("biases")]
    arrays = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    weight, bias = (*arrays, None)[:2]
    plain = isinstance(weight, np.ndarray) and isinstance(bias, np.ndarray | None)
    if len(arrays) > 2 or not plain or weight.ndim not in (2, 4):  # type: ignore[union-attr]
        raise ModelError(
            f"{path}: the layer {name!r} is no weights and biases of a convolution or of a fully "
            "connected layer"
        )
    return Raw(name, weight, bias)  # type: ignore[arg-type]
