"""Puts weights into a network, or says in one line which of them does not fit."""

from collections.abc import Mapping

import torch
from torch import nn

from retroscope.errors import ModelError, did_you_mean
from retroscope.zoo.weights.foreign import Filters


def fill(
    module: nn.Module, layers: Mapping[str, Filters], places: Mapping[str, str], *, path: str
) -> None:
    """Puts layers into the modules that `places` names for them."""
    for place, name in places.items():
        _check(module, place, layers[name], f"{path}: {name!r}")
    numbers = {
        f"{place}.{what}": torch.from_numpy(array)
        for place, name in places.items()
        for what, array in vars(layers[name]).items()
        if array is not None
    }
    module.load_state_dict(numbers, assign=True)


def _check(module: nn.Module, place: str, filters: Filters, said: str) -> None:
    taken = {name: tuple(one.shape) for name, one in module.get_submodule(place).named_parameters()}
    given = {name: one.shape for name, one in vars(filters).items() if one is not None}
    for name in {**taken, **given}:
        if taken.get(name) != given.get(name):
            raise ModelError(
                f"{said} has {_shape(name, given)}, where {place} of the network takes "
                f"{_shape(name, taken)}"
            )


def _shape(name: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    return f"a {name} of {shapes[name]}" if name in shapes else f"no {name}"


def fill_by_name(module: nn.Module, tensors: Mapping[str, torch.Tensor], *, path: str) -> None:
    """Puts a state dict into a network; all of it must fit."""
    wanted = module.state_dict()
    for name, one in wanted.items():
        if name not in tensors:
            if name.endswith("num_batches_tracked"):  # not kept before torch 0.4.1
                continue
            hint = did_you_mean(name, tensors)
            raise ModelError(
                f"{path} has no {name!r}, which the network takes; {hint}".rstrip("; ")
            )
        if tensors[name].shape != one.shape:
            raise ModelError(
                f"{path}: {name!r} is of shape {tuple(tensors[name].shape)}, where the network "
                f"takes {tuple(one.shape)}"
            )
    if odd := [name for name in tensors if name not in wanted]:
        raise ModelError(f"{path} has {odd[0]!r}, which the network does not take")
    wanted.update(tensors)  # with the versions of its parts, which a plain dictionary lacks
    module.load_state_dict(wanted)
