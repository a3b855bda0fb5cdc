"""Loads weights into a module, or raises an error that names the first tensor that does not fit."""

from collections.abc import Mapping

import torch
from torch import nn

from retroscope.errors import ModelError, did_you_mean
from retroscope.zoo.weights.imported_weights import LayerWeights


def load_layers(
    module: nn.Module,
    layers: Mapping[str, LayerWeights],
    layer_names: Mapping[str, str],
    *,
    path: str,
) -> None:
    """Loads layers into the submodules that `layer_names` maps to them."""
    for submodule, name in layer_names.items():
        _check_shapes(module, submodule, layers[name], source=f"{path}: {name!r}")
    tensors = {
        f"{submodule}.{parameter}": torch.from_numpy(array)
        for submodule, name in layer_names.items()
        for parameter, array in vars(layers[name]).items()
        if array is not None
    }
    module.load_state_dict(tensors, assign=True)


def _check_shapes(module: nn.Module, submodule: str, layer: LayerWeights, *, source: str) -> None:
    parameters = module.get_submodule(submodule).named_parameters()
    expected = {name: tuple(parameter.shape) for name, parameter in parameters}
    actual = {name: array.shape for name, array in vars(layer).items() if array is not None}
    for name in {**expected, **actual}:
        if expected.get(name) != actual.get(name):
            raise ModelError(
                f"{source} has {_describe_shape(name, actual)}, but {submodule} of the network "
                f"takes {_describe_shape(name, expected)}; check that the network is the right one"
            )


def _describe_shape(name: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    return f"a {name} of {shapes[name]}" if name in shapes else f"no {name}"


def load_tensors(module: nn.Module, tensors: Mapping[str, torch.Tensor], *, path: str) -> None:
    """Loads a state dict, which must have exactly the names and shapes of the module's."""
    state_dict = module.state_dict()
    for name, parameter in state_dict.items():
        if name not in tensors:
            if name.endswith("num_batches_tracked"):  # not stored before torch 0.4.1
                continue
            hint = did_you_mean(name, tensors) or "check that the network is the right one"
            raise ModelError(f"{path} has no {name!r}, which the network takes; {hint}")
        if tensors[name].shape != parameter.shape:
            raise ModelError(
                f"{path}: {name!r} has the shape {tuple(tensors[name].shape)}, but the network "
                f"takes {tuple(parameter.shape)}; check that the network is the right one"
            )
    if extra := [name for name in tensors if name not in state_dict]:
        raise ModelError(
            f"{path} has {extra[0]!r}, which the network does not take; check that the network is "
            "the right one"
        )
    state_dict.update(tensors)  # keeps the version metadata, which a plain dictionary lacks
    module.load_state_dict(state_dict)
