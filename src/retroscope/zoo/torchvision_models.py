"""torchvision's classification networks."""

from typing import Any
from urllib.error import URLError

import torch
import torchvision

from retroscope.errors import ModelError, did_you_mean
from retroscope.image import Fit
from retroscope.network import Network

UNTRAINED: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
}
"""What a builder must be told besides: these two would draw their numbers for half a minute."""


def open_named(name: str, trained: bool) -> Network:
    """A torchvision network, with its default weights or as it is initialised."""
    known = names()
    if name not in known:
        hint = did_you_mean(name, known) or (
            "write torchvision/NAME, timm/NAME, package.module:factory or file.py:factory"
        )
        raise ModelError(f"no model {name!r} in torchvision; {hint}")
    weights = torchvision.models.get_model_weights(name).DEFAULT
    module = _downloaded(name, weights) if trained else _initialised(name)
    prepare = weights.transforms()
    (size,), (shorter,) = prepare.crop_size, prepare.resize_size
    return Network(
        module,
        fit=Fit((size, size), shorter=shorter, resample=prepare.interpolation.value),
        mean=prepare.mean,
        std=prepare.std,
        labels=weights.meta["categories"],
        name=name,
    )


def names() -> list[str]:
    """All of torchvision's classification networks."""
    return list(torchvision.models.list_models(module=torchvision.models))


def _initialised(name: str) -> torch.nn.Module:
    module: torch.nn.Module = torchvision.models.get_model(
        name, weights=None, **UNTRAINED.get(name, {})
    )
    return module


def _downloaded(name: str, weights: object) -> torch.nn.Module:
    try:
        module: torch.nn.Module = torchvision.models.get_model(name, weights=weights)
    except (URLError, OSError, RuntimeError) as error:
        raise ModelError(
            f"cannot get the trained weights of {name} ({error}); check the connection, or give "
            "random_weights (--random-weights SEED) to go on without them"
        ) from error
    return module
