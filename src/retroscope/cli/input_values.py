"""Other inputs of a network from the command line: `NAME=VALUE`."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import click

from retroscope.errors import ImageError

if TYPE_CHECKING:
    from retroscope.module_inputs import NumberInput
    from retroscope.network import Network

Texts = Mapping[str, str]


def parse_inputs(
    _context: click.Context, _parameter: click.Parameter, texts: Sequence[str]
) -> dict[str, str]:
    """The values by name."""
    inputs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE; write right=b.jpg, or age=40")
        if name in inputs:
            raise click.BadParameter(f"{name!r} is given twice; give it once")
        inputs[name] = value
    return inputs


def scanned_sources(inputs: Texts) -> dict[str, str]:
    """Those that have a value for each image: in a folder, or in a CSV file."""
    return {
        name: text
        for name, text in inputs.items()
        if Path(text).is_dir() or PurePath(text).suffix.lower() == ".csv"
    }


def hold_inputs(net: "Network", inputs: Texts) -> "Network":
    """The network with these values for all images."""
    return net.hold(**{name: _value(net, name, text) for name, text in inputs.items()})


def _value(net: "Network", name: str, text: str) -> object:
    """The path of an image, or the numbers in a text or in a `.npy` file."""
    from torch import Tensor

    from retroscope.module_inputs import ImageInput, NumberInput

    inputs = net.inputs
    if inputs is None or isinstance(inputs.kinds.get(name), ImageInput):
        return text
    if name not in inputs.kinds and name not in inputs.held:
        return text  # which is refused by its name
    if PurePath(text).suffix.lower() == ".npy":
        return _load_array(name, text)
    kind = inputs.kinds.get(name)
    if isinstance(kind, NumberInput):
        return _parse_numbers(name, kind, text)
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError as error:
        raise ImageError(
            f"{name} is {text!r}; write a number, several as 1,2.5, or a .npy file",
            parameter="inputs",
        ) from error
    held = inputs.held.get(name)
    if isinstance(held, Tensor):
        import torch

        return torch.tensor(numbers).reshape(held.shape[1:] if len(numbers) == held.numel() else -1)
    return numbers if len(numbers) > 1 else numbers[0]


def _parse_numbers(name: str, kind: "NumberInput", text: str) -> object:
    try:
        return kind.parse(name, text).tolist()
    except ImageError as error:
        error.parameter = "inputs"
        raise


def _load_array(name: str, path: str) -> object:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(f"{name}: cannot read {path!r} ({error})", parameter="inputs") from error
