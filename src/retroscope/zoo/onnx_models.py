"""ONNX files as torch networks, converted by the package onnx2pytorch."""

import re
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from retroscope.errors import ModelError, RetroscopeError, describe_error
from retroscope.imaging.image import Fit
from retroscope.network import Network
from retroscope.zoo.source_conventions import UNKNOWN_PREPROCESSING, imagenet_labels

SUFFIX = ".onnx"
"""ONNX files have no magic number, so the name decides."""

DEFAULT_SIDE = 224


def is_onnx(path: Path) -> bool:
    """Whether the name of a file says that it is an ONNX graph."""
    return path.suffix.lower() == SUFFIX


def open_onnx(path: Path) -> Network:
    """The network of an ONNX file; its layers are named after the nodes of the graph."""
    onnx, onnx2pytorch = _import_packages()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # opsets newer than the converter's
            graph = onnx.load(str(path))
            onnx.checker.check_model(graph)
            module = onnx2pytorch.ConvertModel(graph)
            channels, size = _input_shape(module, path)
            _name_after_nodes(module)
    except RetroscopeError:
        raise
    except Exception as error:  # protobuf, onnx and the converter have no common error class
        raise ModelError(
            f"cannot open {path} as an ONNX network: {describe_error(error)}"
        ) from error
    _drop_weight_copies(module, onnx2pytorch.constants.STANDARD_LAYERS)
    return Network(
        module.eval(),
        fit=Fit(size),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        labels=_infer_labels(graph, module.output_names),
        name=str(path),
        inferred=(UNKNOWN_PREPROCESSING,),
    )


def _import_packages() -> tuple[ModuleType, ModuleType]:
    try:
        return import_module("onnx"), import_module("onnx2pytorch")
    except ImportError as error:
        raise ModelError(
            "ONNX files need the packages onnx and onnx2pytorch; pip install 'retroscope[onnx]'"
        ) from error


def _input_shape(module: Any, path: Path) -> tuple[int, tuple[int, int]]:
    """The channels and the size of the images that the only input takes."""
    graph = module.onnx_model.graph
    shapes = [_shape(value) for value in graph.input if value.name in module.input_names]
    if len(shapes) != 1 or len(shapes[0]) != 4 or len(module.output_names) != 1:
        raise ModelError(
            f"{path} has inputs of {shapes} and {len(module.output_names)} outputs; export a "
            "network with one input of (batch, channels, height, width) and one output"
        )
    _, channels, height, width = shapes[0]
    if shapes[0][3] in (1, 3) and channels not in (1, 3):
        raise ModelError(
            f"{path} takes images with channels last, {shapes[0]}; export it with channels first "
            "(tf2onnx: --inputs-as-nchw)"
        )
    return channels or 3, (height or DEFAULT_SIDE, width or DEFAULT_SIDE)


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of an input or output, with 0 for a length that is not fixed."""
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)


def _name_after_nodes(module: Any) -> None:
    """Renames each operation after its node, in characters that a layer's address can hold."""
    names: set[str] = set()
    operations = {name: getattr(module, name) for name in module.mapping.values()}
    for name in operations:
        delattr(module, name)
    for node in module.onnx_model.graph.node:
        converter_name = module.mapping[node.output[0]]
        name = re.sub(r"\W+", "_", node.name or converter_name).strip("_") or converter_name
        while name in names or hasattr(module, name):
            name = f"{name}_"
        names.add(name)
        setattr(module, name, operations[converter_name])
        module.mapping[node.output[0]] = name


def _drop_weight_copies(module: Any, standard_layers: tuple[type, ...]) -> None:
    """Removes the copies of weights that no operation reads: the standard layers have them."""
    inputs = {
        name
        for node in module.onnx_model.graph.node
        if not isinstance(getattr(module, module.mapping[node.output[0]]), standard_layers)
        for name in node.input
    }
    required = {_buffer_name(name) for name in inputs}
    buffers = [name for name, _ in module.named_buffers(recurse=False)]
    for name in buffers:
        if name not in required:
            delattr(module, name)
    for tensor in module.onnx_model.graph.initializer:
        tensor.ClearField("raw_data")


def _buffer_name(initializer: str) -> str:
    return "_initializer_" + initializer.replace(".", "_")


def _infer_labels(graph: Any, output_names: list[str]) -> tuple[str, ...]:
    shapes = [_shape(value) for value in graph.graph.output if value.name in output_names]
    is_classifier = len(shapes) == 1 and len(shapes[0]) == 2
    return imagenet_labels(shapes[0][1]) if is_classifier else ()
