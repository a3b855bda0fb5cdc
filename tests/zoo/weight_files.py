"""Small networks of random numbers, what they answer, and files of them in their real structures.

A network is its layers by name: filters (out, in, height, width) that are slid as they are, over
maps of channels, height and width, and fully connected weights (out, in). Each writer says how its
format has it otherwise.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Array = npt.NDArray[np.float32]
Layers = dict[str, tuple[Array, Array]]

OXFORD = (123.68, 116.779, 103.939)
BVLC = (122.67891, 116.66877, 104.00699)
COUNTS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
SIDE = 2
"""Of the maps that the first fully connected layer takes: their order matters from two on."""


def numbers(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Layers:
    """Weights that keep signals at their strength, and biases that matter."""
    random = np.random.default_rng(seed)
    return {
        name: (
            random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32),
            random.normal(0, 8, shape[0]).astype(np.float32),
        )
        for name, shape in shapes.items()
    }


def vgg(name: str = "vgg16", classes: int = 5) -> Layers:
    """A narrow VGG for pictures of 64x64."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for block, (count, width) in enumerate(zip(COUNTS[name], (4, 5, 6, 7, 6), strict=True), 1):
        for inner in range(1, count + 1):
            shapes[f"conv{block}_{inner}"] = (width, inputs, 3, 3)
            inputs = width
    shapes |= {"fc6": (9, inputs * SIDE**2), "fc7": (8, 9), "fc8": (classes, 8)}
    return numbers(shapes)


def vgg_answers(layers: Layers, pictures: Tensor) -> Tensor:
    """What a VGG answers, by its definition."""
    x = pictures
    convs = [name for name in layers if name.startswith("conv")]
    for name, after in zip(convs, [*convs[1:], "fc6"], strict=True):
        x = F.conv2d(x, *_tensors(layers[name]), padding=1).relu()
        if name.partition("_")[0] != after.partition("_")[0]:
            x = F.max_pool2d(x, 2)
    return head(layers, x)


def alexnet(classes: int = 5) -> Layers:
    """A narrow BVLC AlexNet for pictures of 99x99; filters take the channels of their group."""
    return numbers(
        {
            "conv1": (6, 3, 11, 11),
            "conv2": (8, 3, 5, 5),
            "conv3": (10, 8, 3, 3),
            "conv4": (8, 5, 3, 3),
            "conv5": (6, 4, 3, 3),
            "fc6": (9, 6 * SIDE**2),
            "fc7": (8, 9),
            "fc8": (classes, 8),
        }
    )


def alexnet_answers(layers: Layers, pictures: Tensor, *, pool_first: bool = False) -> Tensor:
    """What BVLC AlexNet answers, by its definition."""
    return head(layers, alexnet_maps(layers, pictures, pool_first=pool_first))


def alexnet_maps(layers: Layers, pictures: Tensor, *, pool_first: bool = False) -> Tensor:
    """What its convolutions give: halves are two convolutions of their own."""
    after = [_pool, _norm] if pool_first else [_norm, _pool]
    x = F.conv2d(pictures, *_tensors(layers["conv1"]), stride=4).relu()
    x = after[1](after[0](x))
    x = after[1](after[0](_halves(layers["conv2"], x, padding=2).relu()))
    x = F.conv2d(x, *_tensors(layers["conv3"]), padding=1).relu()
    x = _halves(layers["conv4"], x, padding=1).relu()
    return _pool(_halves(layers["conv5"], x, padding=1).relu())


def head(layers: Layers, x: Tensor) -> Tensor:
    x = x.flatten(1)
    for name in ("fc6", "fc7"):
        x = F.linear(x, *_tensors(layers[name])).relu()
    return F.linear(x, *_tensors(layers["fc8"]))


def _halves(layer: tuple[Array, Array], x: Tensor, *, padding: int) -> Tensor:
    weight, bias = _tensors(layer)
    parts = zip(x.chunk(2, 1), weight.chunk(2), bias.chunk(2), strict=True)
    return torch.cat([F.conv2d(maps, own, one, padding=padding) for maps, own, one in parts], 1)


def _norm(x: Tensor) -> Tensor:
    """Krizhevsky et al. 2012, 3.3, over five channels, the sum divided by five as Caffe does."""
    squares = F.pad(x.square(), (0, 0, 0, 0, 2, 2))
    sums = sum(squares[:, k : k + x.shape[1]] for k in range(5))
    return x / (1 + 1e-4 / 5 * sums) ** 0.75


def _pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 2, ceil_mode=True)


def _tensors(layer: tuple[Array, Array]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(layer[0]), torch.from_numpy(layer[1])


def fed(picture: Any, *, colour: str, mean: tuple[float, ...]) -> Tensor:
    """A picture (height, width, RGB) as these networks were fed: 0 to 255, less a mean."""
    pixels = torch.from_numpy(np.asarray(picture, np.float32) - np.array(mean, np.float32)).permute(
        2, 0, 1
    )
    return (pixels.flip(0) if colour == "BGR" else pixels)[None]


# How a format has weights


def hwio(weight: Array) -> Array:
    """TensorFlow's: filters (height, width, in, out), (in, out) else."""
    return weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T


def turned(weight: Array) -> Array:
    """Theano's: filters turned by 180 degrees, (in, out) else."""
    return turn(weight) if weight.ndim == 4 else weight.T


def turn(filters: Array) -> Array:
    return filters[:, :, ::-1, ::-1]


def for_maps_last(layers: Layers) -> Layers:
    """The same network where `fc6`, if there is one, takes maps as height, width, channels."""
    if "fc6" not in layers:
        return layers
    weight, bias = layers["fc6"]
    maps = weight.reshape(len(weight), -1, SIDE, SIDE).transpose(0, 2, 3, 1)
    return {**layers, "fc6": (maps.reshape(len(weight), -1), bias)}


# HDF5


def keras_first(path: Path, layers: Layers, *, counted: bool = True) -> None:
    """Keras 0.3: groups by position, also of layers without numbers."""
    h5py = _h5py()
    with h5py.File(path, "w") as file:
        position = 0
        for weight, bias in layers.values():
            file.create_group(f"layer_{position}").attrs["nb_params"] = 0  # padding, a pool, ...
            group = file.create_group(f"layer_{position + 1}")
            group.attrs["nb_params"] = 2
            group["param_0"], group["param_1"] = turned(weight), bias
            position += 2
        if counted:
            file.attrs["nb_layers"] = position


def applications(path: Path, layers: Layers, *, kernels: str) -> None:
    """keras.applications' first files, of TensorFlow's kernels or of Theano's."""
    names = [keras_name(name) for name in layers]
    ordered = for_maps_last(layers) if kernels == "tf" else layers
    lay = hwio if kernels == "tf" else turned
    with _h5py().File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in ["input_1", *names, "flatten"]]
        for name in ("input_1", "flatten"):
            file.create_group(name).attrs["weight_names"] = np.array([], "S1")
        for name, (weight, bias) in zip(names, ordered.values(), strict=True):
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}_W_1:0".encode(), f"{name}_b_1:0".encode()]
            group[f"{name}_W_1:0"], group[f"{name}_b_1:0"] = lay(weight), bias


def keras_two(
    path: Path, layers: Layers, *, whole: bool = False, backend: str = "tensorflow"
) -> None:
    """Keras 2: `<layer>/<layer>/kernel:0`; a whole model keeps them under `model_weights`."""
    with _h5py().File(path, "w") as file:
        home = file.create_group("model_weights") if whole else file
        home.attrs["layer_names"] = [f"layer_{name}".encode() for name in layers]
        file.attrs["backend"] = backend.encode()
        for name, (weight, bias) in for_maps_last(layers).items():
            called = f"layer_{name}"
            group = home.create_group(called)
            names = [f"{called}/{part}:0" for part in ("kernel", "bias")]
            group.attrs["weight_names"] = [one.encode() for one in names]
            upright = (
                weight[:, :, ::-1, ::-1] if backend == "theano" and weight.ndim == 4 else weight
            )
            group[names[0]], group[names[1]] = hwio(upright), bias


def keras_three(path: Path, layers: Layers, *, home: str = "layers") -> None:
    """Keras 3: kinds of layers, numbered as they run; their own names are attributes."""
    with _h5py().File(path, "w") as file:
        counts = {"conv2d": 0, "dense": 0}
        for name, (weight, bias) in for_maps_last(layers).items():
            kind = "conv2d" if weight.ndim == 4 else "dense"
            number = f"_{counts[kind]}" if counts[kind] else ""
            counts[kind] += 1
            variables = file.create_group(f"{home}/{kind}{number}/vars")
            variables.attrs["name"] = keras_name(name)
            variables["0"], variables["1"] = hwio(weight), bias
        file.create_group(f"{home}/flatten/vars")


def keras_name(name: str) -> str:
    """What keras.applications calls a layer of VGG."""
    known = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}
    return "block{4}_conv{6}".format(*name) if "_" in name else known.get(name, name)


def _h5py() -> Any:
    import h5py

    return h5py


# numpy


def npz(path: Path, layers: Layers, **more: Any) -> None:
    """frossard's: NAME_W and NAME_b."""
    arrays = {
        f"{name}_{what}": one
        for name, (weight, bias) in for_maps_last(layers).items()
        for what, one in (("W", hwio(weight)), ("b", bias))
    }
    with path.open("wb") as file:
        np.savez(file, **(arrays | more))


def npy(path: Path, layers: Layers, *, value: Callable[[Array, Array], object]) -> None:
    """A dictionary as numpy saves it today."""
    found = {
        name: value(np.ascontiguousarray(hwio(weight)), bias)
        for name, (weight, bias) in for_maps_last(layers).items()
    }
    _save(path, found)


def _save(path: Path, found: object) -> None:
    with path.open("wb") as file:
        np.save(file, np.array(found, dtype=object), allow_pickle=True)


def npy_of_python_two(path: Path, layers: Layers) -> None:
    """A dictionary as Python 2 saved it: in no order, its numbers a string of its own kind."""
    items = sorted(for_maps_last(layers).items(), key=lambda item: hash(item[1][0].tobytes()))
    body = b"".join(
        _text(name.encode()) + b"]" + b"(" + _array(hwio(weight)) + _array(bias) + b"e"
        for name, (weight, bias) in items
    )
    pickled = _array_of(b"(t", "O8", b"(l" + b"}(" + body + b"u" + b"a")
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (-(10 + len(header) + 1) % 16) + b"\n"
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    path.write_bytes(start + header + b"\x80\x02" + pickled + b".")


def _array(array: Array) -> bytes:
    raw = np.ascontiguousarray(array, "<f4").tobytes()
    shape = b"(" + b"".join(b"I%d\n" % side for side in array.shape) + b"t"
    return _array_of(shape, "f4", b"T" + len(raw).to_bytes(4, "little") + raw)


def _array_of(shape: bytes, kind: str, content: bytes) -> bytes:
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + _text(b"b") + b"tR"
    order = _text(b"<" if kind == "f4" else b"|")
    dtype = b"cnumpy\ndtype\n(" + _text(kind.encode()) + b"I0\nI1\ntR"
    dtype += b"(I3\n" + order + b"NNNI-1\nI-1\nI0\ntb"
    return made + b"(I1\n" + shape + dtype + b"I00\n" + content + b"tb"


def _text(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


# Caffe


def caffemodel(
    path: Path,
    layers: Layers,
    *,
    old: bool,
    pool_first: bool = False,
    extra: Iterable[bytes] = (),
    packed: bool = True,
) -> None:
    """A net of the old kind (V1, shapes of four numbers) or of the new one."""
    parts = [_message(1, b"A net")]
    for name, (weight, bias) in layers.items():
        blobs = [_blob(weight, old=old, packed=packed), _blob(bias, old=old, packed=packed)]
        kind = "Convolution" if weight.ndim == 4 else "InnerProduct"
        parts.append(_layer(name, kind, blobs, old=old))
        if name in ("conv1", "conv2"):
            between = ("Pooling", "LRN") if pool_first else ("LRN", "Pooling")
            parts += [_layer(one.lower(), one, [], old=old) for one in between]
    path.write_bytes(b"".join([*parts, *extra]))


V1_KINDS = {"Convolution": 4, "InnerProduct": 14, "LRN": 15, "Pooling": 17, "BatchNorm": 99}


def _layer(name: str, kind: str, blobs: list[bytes], *, old: bool) -> bytes:
    if old:
        inner = [_message(2, b"below"), _message(4, name.encode()), _integer(5, V1_KINDS[kind])]
        return _message(2, b"".join([*inner, *(_message(6, blob) for blob in blobs)]))
    inner = [_message(1, name.encode()), _message(2, kind.encode())]
    return _message(100, b"".join([*inner, *(_message(7, blob) for blob in blobs)]))


def new_layer(name: str, kind: str, *arrays: Array) -> bytes:
    blobs = [_blob(array, old=False, packed=True) for array in arrays]
    return _layer(name, kind, blobs, old=False)


def _blob(array: Array, *, old: bool, packed: bool) -> bytes:
    raw = np.ascontiguousarray(array, "<f4").tobytes()
    if packed:
        data = _message(5, raw)
    else:
        data = b"".join(_varint(5 << 3 | 5) + raw[k : k + 4] for k in range(0, len(raw), 4))
    if old:
        shape = (1,) * (4 - array.ndim) + array.shape
        return b"".join(_integer(axis, side) for axis, side in enumerate(shape, 1)) + data
    return data + _message(7, _message(1, b"".join(map(_varint, array.shape))))


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    if value < 128:
        return bytes([value])
    return bytes([value & 127 | 128]) + _varint(value >> 7)


# Attacks


class Asks:
    """Pickled, it asks for a function to be called."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.asked = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.asked


def npy_that_holds(path: Path, thing: object) -> None:
    _save(path, {"conv1": thing})


def npy_of_opcodes(path: Path, opcodes: bytes) -> None:
    """A pickle written by hand, behind the header of an array of objects."""
    _save(path, {})
    written = path.read_bytes()
    path.write_bytes(written[: written.index(b"\n") + 1] + opcodes)
