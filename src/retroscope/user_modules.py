"""What a user hands over as a network: the module in it, or why there is none, and what it states
about its images.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from numbers import Integral
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from retroscope.engine.input_rank import input_rank
from retroscope.engine.isolation import unwrap
from retroscope.errors import ModelError
from retroscope.geometry import AXES, IMAGE_RANK
from retroscope.imaging.image import Fit

Size = tuple[int, ...]


class NonModule(NamedTuple):
    """What a value is that is not a module, and how to get the module, if that is known."""

    name: str
    advice: str = ""

    def __str__(self) -> str:
        return "; ".join(filter(None, self))


def as_module(value: object) -> torch.nn.Module:
    """The module of a network that can be run. Raises ModelError with the way out.

    >>> as_module([1])
    Traceback (most recent call last):
    retroscope.errors.ModelError: a network is an nn.Module instance, not list
    """
    if not isinstance(value, torch.nn.Module):
        raise ModelError(f"a network is an nn.Module instance, not {describe_non_module(value)}")
    module = unwrap(value)
    for reason in filter(None, (refuse(module) for refuse in _REFUSALS)):
        raise ModelError(f"{type(module).__name__} cannot be run: {reason}")
    return module


def describe_non_module(value: object) -> NonModule:
    """What a value is that is not a module, and how to get the module.

    >>> str(describe_non_module(torch.nn.ReLU))
    'the class ReLU; create an instance: ReLU(...)'
    """
    kind = type(value).__name__
    for matches, what, advice in _NON_MODULES:
        if matches(value):
            name = getattr(value, "__name__", kind)
            return NonModule(*(text.format(name=name, value=value) for text in (what, advice)))
    if isinstance(getattr(value, "model", None), torch.nn.Module):
        return NonModule(kind, "give the module in it, its attribute model")
    return NonModule("None" if value is None else kind)


def _holds_module(value: object) -> bool:
    return isinstance(value, list | tuple) and any(
        isinstance(part, torch.nn.Module) for part in value
    )


def _is_state_dict(value: object) -> bool:
    return isinstance(value, Mapping) and any(
        isinstance(part, torch.Tensor) for part in value.values()
    )


def _is_checkpoint(value: object) -> bool:
    return isinstance(value, Mapping) and any(map(_is_state_dict, value.values()))


def _comes_from(*packages: str) -> Callable[[object], bool]:
    return lambda value: type(value).__module__.partition(".")[0] in packages


_LOAD = "load it into its module with module.load_state_dict(...), and give that"

_NON_MODULES: tuple[tuple[Callable[[object], bool], str, str], ...] = (
    (
        lambda value: isinstance(value, type),
        "the class {name}",
        "create an instance: {name}(...)",
    ),
    (
        lambda value: isinstance(value, str | Path),
        "the text {value!r}",
        "rs.open_model({value!r}) opens a network by its name or path",
    ),
    (
        lambda value: isinstance(value, torch.export.ExportedProgram),
        "an ExportedProgram, which hides its operations",
        "give the nn.Module that it was exported from",
    ),
    (_is_state_dict, "a state dict", _LOAD),
    (_is_checkpoint, "a checkpoint ({name} with a state dict)", _LOAD),
    (_holds_module, "a {name} with a module in it", "give the module alone"),
    (
        _comes_from("keras", "tensorflow", "tf_keras"),
        "a Keras model",
        "save it with model.save('model.keras') and open that file with rs.open_model",
    ),
    (
        _comes_from("onnx", "onnxruntime"),
        "an ONNX model",
        "open its file with rs.open_model('model.onnx')",
    ),
    (
        lambda value: callable(value) and hasattr(value, "__name__"),
        "the function {name}",
        "call it and give the module that it returns",
    ),
)
"""Whether a value is of a kind, what it is called, and what to do instead."""


def _refuse_operators(module: torch.nn.Module) -> str:
    """Exported and decomposed graphs call torch's operators directly, where no one sees them."""
    graph = getattr(module, "graph", None)
    nodes = graph.nodes if isinstance(graph, torch.fx.Graph) else ()
    if any(isinstance(node.target, type(torch.ops.aten.relu.default)) for node in nodes):
        return "an exported graph hides its operations; give the nn.Module that it was made from"
    return ""


def _refuse_uninitialised(module: torch.nn.Module) -> str:
    lazy = [
        name
        for name, tensor in _named_tensors(module)
        if isinstance(tensor, UninitializedParameter | UninitializedBuffer)
    ]
    if not lazy:
        return ""
    return (
        f"its lazy layers have no weights yet ({', '.join(lazy[:2])}{', ...' * (len(lazy) > 2)}); "
        "run it once on an image or load its weights, then give it"
    )


def _refuse_meta(module: torch.nn.Module) -> str:
    meta = [name for name, tensor in _named_tensors(module) if tensor.is_meta]
    if not meta:
        return ""
    return f"{meta[0]} is on the meta device, which holds no values; load its weights first"


def _refuse_without_forward(module: torch.nn.Module) -> str:
    if getattr(module.forward, "__name__", "") != "_forward_unimplemented":
        return ""
    return "it has no forward method; give a module that runs its parts, such as nn.Sequential"


_REFUSALS = (_refuse_uninitialised, _refuse_meta, _refuse_without_forward, _refuse_operators)
"""Why a module cannot be run, by cause; an empty text if it can."""


def _named_tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def stated_options(module: torch.nn.Module, name: str) -> dict[str, Any]:
    """The options of a Network that a module states in plain attributes: `input_size`, `mean`,
    `std`, `bands`, `value_range` and `labels`. Parameters, buffers, submodules and methods do not
    count.
    """
    registered = {*module._parameters, *module._buffers, *module._modules}  # noqa: SLF001
    settings = {name: getattr(module, name, None) for name in _PARSERS if name not in registered}
    return {
        attribute: _parse_attribute(attribute, setting, name, rank=input_rank(module))
        for attribute, setting in settings.items()
        if setting is not None and not callable(setting)
    }


USUAL_SIZE = (224, 224)
"""The images of a network that states nothing."""


def usual_fit(module: torch.nn.Module, size: Size | None = None) -> Fit:
    """How images get to a network that states no fit: to this size, if it is given.

    A detector of torchvision resizes images itself and takes them whole.
    """
    transform: Any = getattr(module, "transform", None)
    if size is not None or type(transform).__name__ != "GeneralizedRCNNTransform":
        return fit_to(size or USUAL_SIZE)
    side = int(transform.min_size[-1])
    width, height = transform.fixed_size or (side, side)
    return Fit((height, width), "whole")


def fit_to(size: Size) -> Fit:
    """The usual fit to a height and a width, for volumes with the depth in front, or to the length
    of a signal.

    >>> fit_to((16, 112, 112)).depth, fit_to((400,)).shape
    (16, (400,))
    """
    is_listed = isinstance(size, Sequence) and not isinstance(size, str | bytes)
    is_size = is_listed and all(isinstance(length, Integral) for length in size)
    if not is_size or not 1 <= len(size) <= len(AXES):
        return Fit(size)  # type: ignore[arg-type]
    *depth, height, width = size if len(size) > 1 else (0, 1, *size)
    return Fit((height, width), depth=depth[0] if depth else None)


def timm_options(module: torch.nn.Module) -> dict[str, Any]:
    """The options of a Network that a module of timm states in its configuration."""
    configuration = getattr(module, "pretrained_cfg", None)
    if not isinstance(configuration, Mapping):
        return {}
    settings = {name: configuration.get(name) for name in ("input_size", "mean", "std")}
    return {
        name: _parse_attribute(name, setting, type(module).__name__)
        for name, setting in settings.items()
        if setting is not None
    }


def _parse_attribute(attribute: str, setting: object, name: str, *, rank: int = IMAGE_RANK) -> Any:
    parse, requirement = _PARSERS[attribute]
    if parse is _parse_size and rank != IMAGE_RANK:
        parse, requirement = partial(_parse_size, rank=rank), SIZE_EXAMPLES[rank]
    try:
        return parse(setting)
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        raise ModelError(
            f"{attribute} of {name} is {setting!r}; it must be {requirement}"
        ) from error


def _parse_size(size: Any, rank: int = IMAGE_RANK) -> Size:
    """The length along each axis: one number for all, or the last ones of a shape such as
    (3, 224, 224).
    """
    if isinstance(size, Integral):
        return (int(size),) * rank

    if len(size) < min(rank, IMAGE_RANK):  # a 3-D convolution may slide over the bands of images
        raise ValueError(size)
    return tuple(map(index, size[-rank:]))


def _parse_numbers(numbers: Iterable[Any]) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers)


def _parse_bands(bands: Iterable[Any]) -> tuple[int, ...]:
    return tuple(index(band) for band in bands)


def _parse_labels(labels: Iterable[object]) -> tuple[str, ...]:
    texts = tuple(labels)
    if isinstance(labels, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError(labels)
    return tuple(map(str, texts))


SIZE_EXAMPLES = {
    1: "a length, such as (400,)",
    2: "a height and a width, such as (224, 224)",
    3: "a depth, a height and a width, such as (16, 112, 112)",
}
"""How sizes are written, by the number of axes."""

_PARSERS: dict[str, tuple[Callable[[Any], object], str]] = {
    "input_size": (_parse_size, SIZE_EXAMPLES[IMAGE_RANK]),
    "mean": (_parse_numbers, "a number for each channel, such as (0.485, 0.456, 0.406)"),
    "std": (_parse_numbers, "a number for each channel, such as (0.229, 0.224, 0.225)"),
    "bands": (_parse_bands, "the numbers of three channels, such as (4, 3, 2)"),
    "value_range": (_parse_numbers, "the values that count as 0 and 1, such as (0, 10000)"),
    "labels": (_parse_labels, "a list of texts"),
}
"""The attributes that are read, and what each must be."""
