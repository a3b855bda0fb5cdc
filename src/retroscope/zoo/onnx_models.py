"""ONNX files as networks of torch, through the package onnx2pytorch."""

import re
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from retroscope.errors import ModelError
from retroscope.imaging.image import Fit
from retroscope.network import Network, in_words
from retroscope.zoo.architectures import imagenet

SUFFIX = ".onnx"
"""The format has no mark of its own in the file, so that its name must say it."""

USUAL = 224


def is_saved(path: Path) -> bool:
    """Whether a file says by its name that it is an ONNX graph."""
    return path.suffix.lower() == SUFFIX


def open_saved(path: Path) -> Network:
    """The network of an ONNX file; its layers are called as the file's nodes are."""
    onnx, onnx2pytorch = _packages()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # opsets newer than the converter's own are tried
            graph = onnx.load(str(path))
            onnx.checker.check_model(graph)
            module = onnx2pytorch.ConvertModel(graph)
    except Exception as error:
        raise ModelError(f"cannot open {path} as an ONNX network: {in_words(error)}") from error
    channels, size = _taken(module, path)
    _by_nodes(module)
    _without_copies(module, onnx2pytorch.constants.STANDARD_LAYERS)
    return Network(
        module.eval(),
        fit=Fit(size),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        labels=_labels(graph, module.output_names),
        name=str(path),
        decided=(
            "the file does not tell how pictures were prepared: red, green, blue from 0 to 1, "
            "unless mean and std say otherwise (--mean, --std)",
        ),
    )


def _packages() -> tuple[ModuleType, ModuleType]:
    try:
        return import_module("onnx"), import_module("onnx2pytorch")
    except ImportError as error:
        raise ModelError(
            "ONNX files need the packages onnx and onnx2pytorch; pip install 'retroscope[onnx]'"
        ) from error


def _taken(module: Any, path: Path) -> tuple[int, tuple[int, int]]:
    """The channels and the size of the pictures that the one input takes."""
    graph = module.onnx_model.graph
    shapes = [_shape(one) for one in graph.input if one.name in module.input_names]
    if len(shapes) != 1 or len(shapes[0]) != 4 or len(module.output_names) != 1:
        raise ModelError(
            f"{path} takes {shapes} and gives {len(module.output_names)} outputs; a network of "
            "pictures takes one batch of (channels, height, width) and gives one output"
        )
    _, channels, height, width = shapes[0]
    if shapes[0][3] in (1, 3) and channels not in (1, 3):
        raise ModelError(
            f"{path} takes pictures with their channels last, {shapes[0]}; export it with channels "
            "first (tf2onnx: --inputs-as-nchw)"
        )
    return channels or 3, (height or USUAL, width or USUAL)


def _shape(value: Any) -> tuple[int, ...]:
    """Zero where a length is free."""
    return tuple(one.dim_value for one in value.type.tensor_type.shape.dim)


def _by_nodes(module: Any) -> None:
    """Calls each operation as its node is called, without what an address cannot hold."""
    taken: set[str] = set()
    parts = {old: getattr(module, old) for old in module.mapping.values()}
    for old in parts:
        delattr(module, old)
    for node in module.onnx_model.graph.node:
        old = module.mapping[node.output[0]]
        name = re.sub(r"\W+", "_", node.name or old).strip("_") or old
        while name in taken or hasattr(module, name):
            name = f"{name}_"
        taken.add(name)
        setattr(module, name, parts[old])
        module.mapping[node.output[0]] = name


def _without_copies(module: Any, standard: tuple[type, ...]) -> None:
    """Takes out the copies of weights that no operation asks for: their layers have them."""
    asked = {
        name
        for node in module.onnx_model.graph.node
        if not isinstance(getattr(module, module.mapping[node.output[0]]), standard)
        for name in node.input
    }
    kept = {_buffer(name) for name in asked}
    for name in [one for one, _ in module.named_buffers(recurse=False) if one not in kept]:
        delattr(module, name)
    for tensor in module.onnx_model.graph.initializer:
        tensor.ClearField("raw_data")


def _buffer(name: str) -> str:
    return "_initializer_" + name.replace(".", "_")


def _labels(graph: Any, outputs: list[str]) -> tuple[str, ...]:
    """ImageNet's classes, where there are a thousand."""
    shapes = [_shape(one) for one in graph.graph.output if one.name in outputs]
    return imagenet() if [shape[1:] for shape in shapes] == [(1000,)] else ()
