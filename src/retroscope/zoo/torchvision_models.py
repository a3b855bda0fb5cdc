"""torchvision's classification networks."""

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch.overrides import TorchFunctionMode

from retroscope.errors import ModelError, did_you_mean
from retroscope.imaging.image import Fit
from retroscope.network import Network, in_words
from retroscope.zoo.arguments import split

UNTRAINED: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
}
"""What a builder must be told besides: these two would draw their numbers for half a minute."""

FORMS = (
    "write torchvision/NAME, timm/NAME, package.module:factory or file.py:factory, or give the "
    "path of a weight file"
)


def open_named(name: str, trained: bool) -> Network:
    """A torchvision network, with its default weights or as it is initialised.

    `resnet18?num_classes=10` hands arguments to its builder.
    """
    name, arguments = split(name)
    known = names()
    if name not in known:
        hint = did_you_mean(name, known) or FORMS
        raise ModelError(f"no model {name!r} in torchvision; {hint}")
    weights = torchvision.models.get_model_weights(name).DEFAULT
    module = _downloaded(name, weights, **arguments) if trained else _initialised(name, **arguments)
    prepare = weights.transforms()
    (size,), (shorter,) = prepare.crop_size, prepare.resize_size
    labels = weights.meta["categories"]
    return Network(
        module,
        fit=Fit((size, size), shorter=shorter, resample=prepare.interpolation.value),
        mean=prepare.mean,
        std=prepare.std,
        labels=labels if arguments.get("num_classes", len(labels)) == len(labels) else (),
        name=name,
    )


def names() -> list[str]:
    """All of torchvision's classification networks."""
    return list(torchvision.models.list_models(module=torchvision.models))


@cache
def shapes(name: str) -> Mapping[str, tuple[int, ...]]:
    """The shapes of a network's state dict. No numbers are drawn, and hardly any memory is taken.

    >>> shapes("squeezenet1_1")["features.0.weight"]
    (64, 3, 3, 3)
    """
    with torch.random.fork_rng(devices=[]), _Weightless():
        module = _initialised(name)
    return {name: tuple(one.shape) for name, one in module.state_dict().items()}


class _Weightless(TorchFunctionMode):
    """Inside, parameters are made without numbers, which are not drawn; builders may compute."""

    def __torch_function__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if func is torch.empty:
            return func(*args, **{**(kwargs or {}), "device": "meta"})
        name = getattr(func, "__name__", "")
        in_place = name.endswith("_") and not name.endswith("__")
        if in_place and args and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


def _initialised(name: str, **arguments: Any) -> torch.nn.Module:
    given = {**UNTRAINED.get(name, {}), **arguments}
    try:
        module: torch.nn.Module = torchvision.models.get_model(name, weights=None, **given)
    except (TypeError, ValueError) as error:
        raise ModelError(f"cannot build {name} with {arguments}: {in_words(error)}") from error
    return module


def _downloaded(name: str, weights: object, **arguments: Any) -> torch.nn.Module:
    try:
        module: torch.nn.Module = torchvision.models.get_model(name, weights=weights, **arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"cannot build {name} with {arguments} and its trained weights: {in_words(error)}; "
            "give random_weights (--random-weights SEED), or a weight file"
        ) from error
    except (URLError, OSError, RuntimeError) as error:
        raise ModelError(
            f"cannot get the trained weights of {name} ({error}); check the connection, or give "
            "random_weights (--random-weights SEED) to go on without them"
        ) from error
    return module
