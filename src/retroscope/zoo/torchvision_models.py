"""torchvision's networks: classifiers of images and of videos, detectors and segmenters.

torchvision is imported when one is asked for: that takes as long as importing torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from retroscope.engine.isolation import EXCLUSIVE_USE
from retroscope.errors import ModelError, choose, describe_error
from retroscope.imaging.image import Fit
from retroscope.network import Network
from retroscope.user_modules import usual_fit
from retroscope.zoo.source_conventions import (
    NAME_FORMS,
    build_error,
    download_error,
    split_arguments,
)

UNTRAINED_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
    "vit_h_14": {"image_size": 518},
}
"""Arguments for random weights. Without `init_weights`, these builders take half a minute; without
`image_size`, they build a network for other images than that with the default weights.
"""


def open_named(name: str, trained: bool) -> Network:
    """A torchvision network with its default weights, or initialised at random.

    The arguments in `resnet18?num_classes=10` are passed to its builder.
    """
    name, arguments = split_arguments(name)
    refuse_other_task(name)
    every_name = dict.fromkeys([*names(), *other_names()])
    choose("torchvision model", name, every_name, error=ModelError, advice=NAME_FORMS)
    weights = _models().get_model_weights(name).DEFAULT
    if trained:
        module = _build_trained(name, weights, **arguments)
    elif _LEAVE_WEIGHTS_ZERO.get():
        module = _build_zero(name, **arguments)
    else:
        module = _build_untrained(name, **arguments)
    labels = weights.meta["categories"]
    return Network(
        module,
        **_preprocessing(name, module, weights.transforms(), arguments),
        labels=labels if arguments.get("num_classes", len(labels)) == len(labels) else (),
        name=name,
    )


def _preprocessing(
    name: str, module: torch.nn.Module, transforms: Any, arguments: dict[str, Any]
) -> dict[str, Any]:
    """Fit, mean and std. Detectors resize and normalise images themselves; segmenters take images
    of any proportions.
    """
    if _task(name) == "detection":
        return {"fit": usual_fit(module)}
    statistics = {"mean": transforms.mean, "std": transforms.std}
    shorter = transforms.resize_size[0]
    resample = transforms.interpolation.value
    if _task(name) == "segmentation":
        return {"fit": Fit((shorter, shorter), "whole", shorter, resample), **statistics}
    size = transforms.crop_size[0]
    size = arguments.get("image_size", size)
    depth = CLIP_LENGTH if _task(name) == "video" else None
    fit = Fit((size, size), shorter=max(shorter, size), resample=resample, depth=depth)
    return {"fit": fit, **statistics}


def names() -> list[str]:
    """All of torchvision's classification networks."""
    return list(_models().list_models(module=_models()))


LOCALISERS = ("detection", "segmentation")
"""torchvision's packages of networks that say where things are."""

CLIP_LENGTH = 16
"""The frames of a clip that torchvision's classifiers of videos were trained on."""


def localiser_names() -> list[str]:
    """All of torchvision's detectors and segmenters."""
    return _names_in(LOCALISERS)


def other_names() -> list[str]:
    """All of torchvision's networks that are opened, but for the classifiers of images."""
    return _names_in((*LOCALISERS, "video"))


def _names_in(packages: Sequence[str]) -> list[str]:
    models = _models()
    modules = [getattr(models, package) for package in packages]
    return [name for module in modules for name in models.list_models(module=module)]


def _task(name: str) -> str:
    """The package of torchvision's models that a network is in; empty for classifiers."""
    parts = _models().get_model_builder(name).__module__.split(".")
    return parts[2] if len(parts) > 3 else ""


def _models() -> Any:
    from torchvision import models

    return models


OTHER_TASKS = {
    "optical_flow": "for pairs of images; retroscope looks at single images",
    "quantization": "in int8, which has no gradients; open the network that it was made from",
}
"""What torchvision's other networks are, by their package, and what to do instead."""


def refuse_other_task(name: str) -> None:
    """Raises if torchvision has a network of this name for something else than single images."""
    if name not in _models().list_models() or _task(name) not in OTHER_TASKS:
        return
    raise ModelError(f"torchvision's {name} is {OTHER_TASKS[_task(name)]}")


@cache
def state_dict_shapes(name: str) -> Mapping[str, tuple[int, ...]]:
    """The shapes of a network's state dict, without initialising or allocating its weights.

    >>> state_dict_shapes("squeezenet1_1")["features.0.weight"]
    (64, 3, 3, 3)
    """
    with EXCLUSIVE_USE, torch.random.fork_rng(devices=[]), _WithoutWeights():
        module = _build_untrained(name)
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


class _WithoutWeights(TorchFunctionMode):
    """Creates parameters on the meta device and skips their initialisation.

    A plain `torch.device("meta")` would also move the numbers that builders compute with.
    """

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


_LEAVE_WEIGHTS_ZERO = ContextVar("_LEAVE_WEIGHTS_ZERO", default=False)


@contextmanager
def leave_weights_zero(*, enabled: bool = True) -> Iterator[None]:
    """Random weights of torchvision's networks are zero, for what does not depend on their values.

    Drawing them takes seconds, and the layers of a network are the same without. Not for code of
    users, which may look at weights.

    >>> with leave_weights_zero():
    ...     net = open_named("squeezenet1_1", trained=False)
    >>> bool(net.module.features[0].weight.any())
    False
    """
    token = _LEAVE_WEIGHTS_ZERO.set(enabled)
    try:
        yield
    finally:
        _LEAVE_WEIGHTS_ZERO.reset(token)


def _build_zero(name: str, **arguments: Any) -> torch.nn.Module:
    with _WithoutWeights():
        module = _build_untrained(name, **arguments)
    tensors = module.state_dict()  # has version metadata, which a plain dictionary lacks
    for key, tensor in tensors.items():
        if tensor.is_meta:
            tensors[key] = _untouched_zeros(tensor)
    module.load_state_dict(tensors, assign=True)
    return module


def _untouched_zeros(like: torch.Tensor) -> torch.Tensor:
    """Zeros of a tensor's shape and type; the system provides their memory when it is used.

    `torch.zeros` writes them, which takes a quarter of a second for the half gigabyte of VGG16.
    """
    memory = np.zeros(like.numel() * like.itemsize, np.uint8)
    return torch.from_numpy(memory).view(like.dtype).view(like.shape)


def _build_untrained(name: str, **arguments: Any) -> torch.nn.Module:
    backbone = {"weights_backbone": None} if _task(name) in LOCALISERS else {}
    defaults = UNTRAINED_ARGUMENTS.get(name, backbone)
    try:
        module: torch.nn.Module = _models().get_model(
            name, weights=None, **{**defaults, **arguments}
        )
    except (TypeError, ValueError) as error:
        raise build_error(name, arguments, error) from error
    return module


def _build_trained(name: str, weights: object, **arguments: Any) -> torch.nn.Module:
    try:
        module: torch.nn.Module = _models().get_model(name, weights=weights, **arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"cannot build {name} with {arguments} and its trained weights: "
            f"{describe_error(error)}; give a seed as random_weights, or a weight file",
            parameter="random_weights",
        ) from error
    except (URLError, OSError, RuntimeError) as error:
        raise download_error(name, str(error)) from error
    return module
