"""Caffe's `.caffemodel`: old (V1, field `layers`, numbered types) and new (field `layer`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np

from retroscope.errors import ModelError
from retroscope.zoo.weights.imported_weights import (
    CAFFE,
    AnyArray,
    ImportedWeights,
    RawLayer,
    convert_layers,
)
from retroscope.zoo.weights.protobuf_wire import (
    Field,
    decode_fields,
    decode_varint,
    decode_varints,
)

# Field numbers of caffe.proto
NET_NAME, OLD_LAYERS, NEW_LAYERS = 1, 2, 100
NET_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 100}
LEGACY_SHAPE = (1, 2, 3, 4)
DATA, SHAPE, DOUBLE_DATA = 5, 7, 8


@dataclass(frozen=True)
class _LayerFields:
    """Field numbers of a layer message."""

    name: int
    type: int
    blobs: int


_LAYER_FIELDS = {
    OLD_LAYERS: _LayerFields(name=4, type=5, blobs=6),
    NEW_LAYERS: _LayerFields(name=1, type=2, blobs=7),
}

V1_TYPES = {
    3: "Concat", 4: "Convolution", 5: "Data", 6: "Dropout", 8: "Flatten", 14: "InnerProduct",
    15: "LRN", 17: "Pooling", 18: "ReLU", 20: "Softmax", 21: "SoftmaxWithLoss", 22: "Split",
}  # fmt: skip
DENSE, CONVOLUTION = "InnerProduct", "Convolution"


@dataclass(frozen=True, eq=False)
class CaffeLayer:
    """A layer message: its name, its type and its weight arrays."""

    name: str
    type: str
    blobs: tuple[AnyArray, ...]


def is_caffemodel(_path: Path, head: bytes) -> bool:
    """A net name followed by a layer or an input, or a layer at once: the format has no magic."""
    try:
        tag, offset = decode_varint(memoryview(head), 0)
        if tag == NET_NAME << 3 | 2:
            length, offset = decode_varint(memoryview(head), offset)
            name = head[offset : offset + length]
            if len(name) < length or not name.decode("utf-8").isprintable():
                return False
            tag, offset = decode_varint(memoryview(head), offset + length)
    except ValueError:
        return False
    return tag >> 3 in NET_FIELDS - {NET_NAME} and tag & 7 in (0, 2)


def read_caffemodel(path: Path) -> ImportedWeights:
    """The layers with weights, and the types of all layers in running order."""
    with path.open("rb") as file:
        net = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
    caffe_layers = list(_decode_layers(net))
    raw_layers = [_raw_layer(layer, path) for layer in caffe_layers if layer.blobs]
    return ImportedWeights(
        str(path),
        convert_layers(raw_layers, CAFFE, str(path)),
        colour_order="BGR",
        operations=tuple(layer.type for layer in caffe_layers),
        inferred=(f"a Caffe model of {len(caffe_layers)} layers, {len(raw_layers)} with weights",),
    )


def _decode_layers(net: memoryview) -> Iterator[CaffeLayer]:
    for number, value in decode_fields(net):
        if number in _LAYER_FIELDS and isinstance(value, memoryview):
            yield _decode_layer(list(decode_fields(value)), _LAYER_FIELDS[number])


def _decode_layer(fields: list[Field], numbers: _LayerFields) -> CaffeLayer:
    types = [value for number, value in fields if number == numbers.type]
    names = [_to_text(value) for number, value in fields if number == numbers.name]
    blobs = [
        _decode_blob(list(decode_fields(_to_bytes(value))))
        for number, value in fields
        if number == numbers.blobs
    ]
    return CaffeLayer("".join(names[-1:]), _type_name(*types[-1:]), tuple(blobs))


def _type_name(value: int | memoryview = 0) -> str:
    """The type of a layer; V1 files store a number, whose new name is returned."""
    if isinstance(value, int):
        return V1_TYPES.get(value, f"number {value}")
    return _to_text(value)


def _decode_blob(fields: list[Field]) -> AnyArray:
    """The array of a blob. V1 blobs always have four axes."""
    shape = [
        length
        for number, value in fields
        if number == SHAPE
        for shape_field, packed in decode_fields(_to_bytes(value))
        if shape_field == 1
        for length in ([packed] if isinstance(packed, int) else decode_varints(packed))
    ]
    if not shape:
        lengths = {number: value for number, value in fields if isinstance(value, int)}
        shape = [lengths.get(axis, 1) for axis in LEGACY_SHAPE]
    single = any(number == DATA for number, _ in fields)
    array = _decode_floats(fields, *((DATA, "<f4") if single else (DOUBLE_DATA, "<f8")))
    if prod(shape) != len(array):
        raise ValueError(f"a blob of shape {shape} has {len(array)} numbers")
    return array.reshape(shape)


def _decode_floats(fields: list[Field], number: int, dtype: str) -> AnyArray:
    """The numbers of a repeated field: packed, as Caffe writes them, or one field per number."""
    parts = [
        np.frombuffer(_to_bytes(value), dtype)
        for field_number, value in fields
        if field_number == number
    ]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])


def _raw_layer(layer: CaffeLayer, path: Path) -> RawLayer:
    if layer.type not in (CONVOLUTION, DENSE) or len(layer.blobs) > 2:
        raise ModelError(
            f"{path}: layer {layer.name!r} is a {layer.type} with {len(layer.blobs)} blobs; only "
            "the weights of convolutions and fully connected layers can be read"
        )
    weight, *biases = layer.blobs
    if layer.type == DENSE:
        weight = weight.reshape(weight.shape[-2:])
    elif weight.ndim != 4:
        raise ModelError(
            f"{path}: the weights of {layer.name!r} have the shape {weight.shape}; a convolution "
            "has four axes"
        )
    return RawLayer(layer.name, weight, biases[0].reshape(-1) if biases else None)


def _to_bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise TypeError("an integer in place of bytes")
    return value


def _to_text(value: int | memoryview) -> str:
    return bytes(_to_bytes(value)).decode("utf-8", "replace")
