"""`.npy` files with a pickled dictionary of layers, from TensorFlow ports of Caffe networks.

`vgg19.npy` and `vgg16.npy` (machrisaa) map a name to [weights, biases]. `bvlc_alexnet.npy`
(guerzhoy) does the same, or maps to {'weights': ..., 'biases': ...}.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from retroscope.errors import ModelError
from retroscope.zoo.weights.file_limits import UNCOMPRESSED_EXPANSION, ByteBudget
from retroscope.zoo.weights.imported_weights import (
    TENSORFLOW,
    ImportedWeights,
    RawLayer,
    convert_layers,
    sort_convolutions_first,
)
from retroscope.zoo.weights.restricted_unpickler import unpickle_arrays

MAGIC = b"\x93NUMPY"
FLOAT32_BYTES = 4
HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""By format version; shared with `.npz` archives."""


def is_npy(_path: Path, head: bytes) -> bool:
    return head.startswith(MAGIC)


def read_npy(path: Path) -> ImportedWeights:
    """The layers, convolutions first, in the order of the numbers in their names."""
    with path.open("rb") as file:
        _skip_header(file, path)
        content = unpickle_arrays(file, path)
    if not isinstance(content, Mapping) or not content:
        raise ModelError(
            f"{path} contains a {type(content).__name__}; weights in .npy format are a dictionary "
            "of layers"
        )
    raw_layers = [_raw_layer(str(name), value, path) for name, value in content.items()]
    _check_converted_size(raw_layers, path)
    return ImportedWeights(
        str(path),
        convert_layers(sort_convolutions_first(raw_layers), TENSORFLOW, str(path)),
        colour_order="BGR",
        maps_last=True,
        inferred=(f"a dictionary of {len(raw_layers)} layers in TensorFlow's layout: H, W, I, O",),
    )


def _skip_header(file: IO[bytes], path: Path) -> None:
    version = np.lib.format.read_magic(file)
    if version not in HEADER_READERS:
        raise ModelError(f"{path} has npy version {version}; versions 1.0 and 2.0 can be read")
    shape, _, dtype = HEADER_READERS[version](file)
    if not dtype.hasobject:
        raise ModelError(
            f"{path} is one array of shape {shape}; weights in .npy format are a dictionary of "
            "layers"
        )


def _check_converted_size(raw_layers: Sequence[RawLayer], path: Path) -> None:
    """Raises if the copies in float32 exceed the file's budget, as of one array with many names."""
    budget = ByteBudget(path, UNCOMPRESSED_EXPANSION)
    for layer in raw_layers:
        bias_size = 0 if layer.bias is None else layer.bias.size
        budget.spend((layer.weight.size + bias_size) * FLOAT32_BYTES, layer.name)


def _raw_layer(name: str, value: object, path: Path) -> RawLayer:
    if isinstance(value, Mapping):
        value = [value.get("weights"), value.get("biases")]
    arrays = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    weight, bias = (*arrays, None)[:2]
    plain = isinstance(weight, np.ndarray) and isinstance(bias, np.ndarray | None)
    if len(arrays) > 2 or not plain or weight.ndim not in (2, 4):  # type: ignore[union-attr]
        raise ModelError(
            f"{path}: layer {name!r} is not the weights and biases of a convolution or a fully "
            "connected layer; only networks made of these can be read from this format"
        )
    return RawLayer(name, weight, bias)  # type: ignore[arg-type]
