"""Caffe's `.caffemodel`, old (`layers`, by the numbers of their kinds) and new (`layer`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retroscope.errors import ModelError
from retroscope.zoo.weights.foreign import CAFFE, Foreign, Raw, canonical
from retroscope.zoo.weights.wire import Field, fields, varint, varints

NET_NAME, OLD_LAYERS, NEW_LAYERS = 1, 2, 100
NET_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 100}
LEGACY_SHAPE = (1, 2, 3, 4)
DATA, SHAPE, DOUBLES = 5, 7, 8


@dataclass(frozen=True)
class _Fields:
    """Where the two kinds of layers keep what is read of them."""

    name: int
    kind: int
    blobs: int


_OF = {OLD_LAYERS: _Fields(name=4, kind=5, blobs=6), NEW_LAYERS: _Fields(name=1, kind=2, blobs=7)}

OLD_KINDS = {
    3: "Concat", 4: "Convolution", 5: "Data", 6: "Dropout", 8: "Flatten", 14: "InnerProduct",
    15: "LRN", 17: "Pooling", 18: "ReLU", 20: "Softmax", 21: "SoftmaxWithLoss", 22: "Split",
}  # fmt: skip
DENSE, CONV = "InnerProduct", "Convolution"


@dataclass(frozen=True, eq=False)
class _Layer:
    name: str
    kind: str
    blobs: tuple[npt.NDArray[np.generic], ...]


def recognises(_path: Path, head: bytes) -> bool:
    """A net's own name and then a layer or an input, or a layer at once: there is no magic."""
    try:
        tag, at = varint(memoryview(head), 0)
        if tag == NET_NAME << 3 | 2:
            length, at = varint(memoryview(head), at)
            name = head[at : at + length]
            if len(name) < length or not name.decode("utf-8").isprintable():
                return False
            tag, at = varint(memoryview(head), at + length)
    except ValueError:
        return False
    return tag >> 3 in NET_FIELDS - {NET_NAME} and tag & 7 in (0, 2)


def read(path: Path) -> Foreign:
    """The layers with numbers, and the kinds of all in running order."""
    with path.open("rb") as file:
        layers = list(_layers(memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))))
    raws = [_raw(layer, path) for layer in layers if layer.blobs]
    return Foreign(
        str(path),
        canonical(raws, CAFFE, str(path)),
        colour="BGR",
        kinds=tuple(layer.kind for layer in layers),
        decided=(f"a Caffe model of {len(layers)} layers, {len(raws)} of which have weights",),
    )


def _layers(net: memoryview) -> Iterator[_Layer]:
    for number, value in fields(net):
        if number in _OF and isinstance(value, memoryview):
            yield _layer(list(fields(value)), _OF[number])


def _layer(found: list[Field], of: _Fields) -> _Layer:
    kinds = [value for number, value in found if number == of.kind]
    names = [_text(value) for number, value in found if number == of.name]
    blobs = [_blob(list(fields(_bytes(value)))) for number, value in found if number == of.blobs]
    return _Layer("".join(names[-1:]), _kind(*kinds[-1:]), tuple(blobs))


def _kind(kind: int | memoryview = 0) -> str:
    """The kind of a layer, by its new name; a number in old files."""
    if isinstance(kind, int):
        return OLD_KINDS.get(kind, f"number {kind}")
    return _text(kind)


def _blob(found: list[Field]) -> npt.NDArray[np.generic]:
    """The numbers of a blob. Old ones have four axes, however many there are."""
    shape = [
        one
        for number, value in found
        if number == SHAPE
        for inner, packed in fields(_bytes(value))
        if inner == 1
        for one in ([packed] if isinstance(packed, int) else varints(packed))
    ]
    if not shape:
        axes = {number: value for number, value in found if isinstance(value, int)}
        shape = [axes.get(axis, 1) for axis in LEGACY_SHAPE]
    numbers = _floats(found, DATA, "<f4") if _has(found, DATA) else _floats(found, DOUBLES, "<f8")
    if prod(shape) != len(numbers):
        raise ValueError(f"a blob of shape {shape} has {len(numbers)} numbers")
    return numbers.reshape(shape)


def _has(found: list[Field], wanted: int) -> bool:
    return any(number == wanted for number, _ in found)


def _floats(found: list[Field], wanted: int, kind: str) -> npt.NDArray[np.generic]:
    """All at once, as Caffe writes them, or one by one, as a field may also be written."""
    parts = [np.frombuffer(_bytes(value), kind) for number, value in found if number == wanted]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, kind), *parts])


def _raw(layer: _Layer, path: Path) -> Raw:
    if layer.kind not in (CONV, DENSE) or len(layer.blobs) > 2:
        raise ModelError(
            f"{path}: the layer {layer.name!r} is of the kind {layer.kind}, with "
            f"{len(layer.blobs)} blobs; no network known here has such layers with weights"
        )
    weight, *biases = layer.blobs
    if layer.kind == DENSE:
        weight = weight.reshape(weight.shape[-2:])
    elif weight.ndim != 4:
        raise ModelError(
            f"{path}: the filters of {layer.name!r} have the shape {weight.shape}, not four axes"
        )
    return Raw(layer.name, weight, biases[0].reshape(-1) if biases else None)


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise TypeError("there is a number where bytes belong")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode("utf-8", "replace")
