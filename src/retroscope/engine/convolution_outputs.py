"""For each convolution the output that goes on: after its norm and its rectifier.

```
conv ── norm ── dropout ── relu ── pool        ranked: relu
conv ── norm ──────────────┐
image ─────────────────────add ── relu         ranked: norm, since add reads it with another map
conv ──┬── relu                                ranked: conv, since two steps read it
       └── sigmoid
```

In a transformer it is also the hidden layer of each perceptron, after its rectifier: those channels
respond to patterns that people recognise, which queries and keys do not (Ghiasi et al. 2022).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from retroscope.engine.operations import Role, name_of
from retroscope.engine.program import Argument, ParameterArgument, Step, Survey
from retroscope.results.layers import Layer

_TITLES = {
    "relu": "ReLU",
    "leaky_relu": "leaky ReLU",
    "prelu": "PReLU",
    "rrelu": "RReLU",
    "elu": "ELU",
    "celu": "CELU",
    "selu": "SELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "hardswish": "Hardswish",
}
_NAMED_ALIASES = 2
_BELOW_ZERO, _ABOVE_ZERO = (-1e4, -100.0, -1.0), (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)


def convolution_outputs(survey: Survey) -> tuple[Layer, ...]:
    """The output of each convolution that goes on, as a layer, in running order.

    It is the layer of the last step on the way, and has the names of the convolution and a note.
    Where nothing is on the way, it is the convolution itself.
    """
    layers = {layer.index: layer for layer in survey.layers}
    convolutions = [layer for layer in survey.layers if layer.kind == "conv"]
    outputs = [_output_of(survey, convolution, layers) for convolution in convolutions]
    outputs += _hidden_layers(survey, layers)
    return tuple(sorted(outputs, key=lambda layer: layer.index))


def layers_with_outputs(survey: Survey) -> tuple[Layer, ...]:
    """All layers in running order, with the outputs of convolutions described as such."""
    outputs = {layer.index: layer for layer in convolution_outputs(survey)}
    return tuple(outputs.get(layer.index, layer) for layer in survey.layers)


def _hidden_layers(survey: Survey, layers: dict[int, Layer]) -> list[Layer]:
    """Of a network with attention, what goes on from linear layers at positions to a rectifier."""
    if not survey.has_attention:
        return []
    linear = [layer for layer in survey.layers if layer.kind == "linear" and min(layer.size) > 1]
    outputs = [_output_of(survey, layer, layers) for layer in linear]
    return [output for output, layer in zip(outputs, linear, strict=True) if output != layer]


def _output_of(survey: Survey, convolution: Layer, layers: dict[int, Layer]) -> Layer:
    output, titles = convolution, list[str]()
    for number in () if survey.has_hidden_calls else _single_readers(survey, convolution.index):
        step = survey.steps[number]
        if step.operation is not None and step.operation.keeps_values:
            continue
        is_norm, layer = _is_norm(step) and not titles, layers.get(number)
        if layer is None or not _has_same_maps(layer, convolution):
            break
        if not is_norm and not is_order_preserving_rectifier(step):
            break
        output = layer
        titles.append(_title(step))
        if not is_norm:
            break
    return _name_by_convolution(output, convolution, titles) if titles else convolution


def _name_by_convolution(output: Layer, convolution: Layer, titles: Sequence[str]) -> Layer:
    """The layer with the convolution's names, and a note that says what it is."""
    aliases = ", ".join(convolution.aliases[:_NAMED_ALIASES])
    names = f"{convolution.name} ({aliases})" if aliases else convolution.name
    note = f"{names} after its {' and '.join(titles)}"
    return replace(
        output,
        convolution=(convolution.name, *convolution.aliases),
        note="; ".join(filter(None, (note, output.note))),
    )


def _single_readers(survey: Survey, step: int) -> Iterator[int]:
    """The step that alone reads a step's result and reads nothing else, then that one's, ..."""
    while len(readers := survey.readers[step]) == 1:
        (reader,) = readers
        if survey.steps[reader].inputs != (step,):
            return
        step = reader
        yield step


def _is_norm(step: Step) -> bool:
    return step.operation is not None and step.operation.kind == "norm"


def _has_same_maps(layer: Layer, convolution: Layer) -> bool:
    return (layer.channels, layer.size) == (convolution.channels, convolution.size)


def is_order_preserving_rectifier(step: Step) -> bool:
    """Whether it is a rectifier that keeps what fires, and the order of all that fires.

    A rectifier with a ceiling, such as ReLU6, does not: images tie at the ceiling. Nor does
    softplus, after which everything is above zero. It is tested on some numbers.
    """
    operation = step.operation
    args, kwargs = _fill_in(step.arguments, torch.zeros(1, device="cpu"))
    if operation is None or operation.role_of(args, kwargs) is not Role.RECTIFIER:
        return False
    below, above = (_apply(step, values) for values in (_BELOW_ZERO, _ABOVE_ZERO))
    return max(below) <= 0 < above[0] and above == sorted(set(above))


def _apply(step: Step, values: Sequence[float]) -> list[float]:
    """What the step's function makes of each of these values."""
    results: list[float] = []
    for value in values:
        args, kwargs = _fill_in(step.arguments, torch.tensor([value], device="cpu"))
        result = step.function(*args, **kwargs)
        assert isinstance(result, torch.Tensor)
        results.append(float(result))
    return results


def _fill_in(signature: Any, value: torch.Tensor) -> Any:
    """The arguments of a call, with this tensor in place of the image's, and parameters of 1."""
    if signature is Argument.TENSOR:
        return value
    if isinstance(signature, ParameterArgument):
        return torch.ones(1, device="cpu")
    if isinstance(signature, tuple):
        return tuple(_fill_in(element, value) for element in signature)
    if isinstance(signature, dict):
        return {key: _fill_in(element, value) for key, element in signature.items()}
    return signature


def _title(step: Step) -> str:
    """What an operation is called in a sentence: `batch norm`, `ReLU`."""
    name = name_of(step.function).rpartition(".")[2].removesuffix("_")
    assert step.operation is not None
    if _is_norm(step):
        return name.replace("_", " ")
    return _TITLES.get(name) or _TITLES.get(step.operation.kind, step.operation.kind)
