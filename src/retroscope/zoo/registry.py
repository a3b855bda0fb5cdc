"""`open_model` opens a network by its name, whatever source it comes from."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from retroscope.argument_types import check_arguments
from retroscope.engine.input_rank import input_rank
from retroscope.engine.isolation import EXCLUSIVE_USE
from retroscope.errors import ImageError, ModelError, choose, describe_error
from retroscope.geometry import IMAGE_RANK
from retroscope.imaging.image import Fit
from retroscope.network import Network
from retroscope.user_modules import SIZE_EXAMPLES, describe_non_module, fit_to
from retroscope.zoo import (
    caffe_models,
    demo_networks,
    factory,
    imagenet_network,
    keras_models,
    smp_models,
    timm_models,
    torchvision_models,
    ultralytics_models,
    weight_file_networks,
)
from retroscope.zoo.source_conventions import NAME_FORMS

Opener = Callable[[str, bool], Network]
"""Opens a network by its name within a source; with trained weights, or initialised at random."""

SOURCES: dict[str, Opener] = {
    "torchvision": torchvision_models.open_named,
    "timm": timm_models.open_named,
    "ultralytics": ultralytics_models.open_named,
    "smp": smp_models.open_named,
    "caffe": caffe_models.open_named,
    "keras": keras_models.open_named,
}
"""By the prefix of a name, as in `timm/resnet10t`."""

DEVICES = ("auto", "cpu", "cuda", "mps")
DEVICE_SYNONYMS = {"gpu": "cuda", "nvidia": "cuda", "metal": "mps"}
"""What users call devices, and the names that torch has for them."""


@check_arguments
def open_model(
    name: str | Path,
    *,
    arch: str | None = None,
    random_weights: int | None = None,
    device: str = "auto",
    resize: str = "network",
    input_size: int | tuple[int, ...] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    bands: Sequence[int] | None = None,
    value_range: Sequence[float] | None = None,
) -> Network:
    """The network of this name, with its weights, preprocessing and labels, in evaluation mode.

    `name` is `torchvision/NAME` or just `NAME`, `timm/NAME`, `ultralytics/NAME`,
    `smp/ARCHITECTURE/ENCODER`, `keras/NAME`, `caffe/NAME`, `demo`, `imagenet`,
    `package.module:factory`, `file.py:factory`, or the path of a weight file. `arch` names
    the network of a weight file that does not identify it. `random_weights` is a seed: the network
    is initialised from it and nothing is downloaded. `resize` is the mode of `Fit`.
    `input_size`, `mean` and `std` (for pixels from 0 to 1), `bands` and `value_range` are those of
    `Network` and replace the network's.

    >>> open_model("squeezenet1_1", random_weights=0, device="cpu")
    <Network squeezenet1_1: 224x224 on cpu>
    """
    if not isinstance(name, str | Path):
        raise ModelError(_describe_wrong_type(name))
    name = str(name)
    target_device = _resolve_device(device)
    _check_options(name, arch, random_weights)
    if random_weights is None:
        net = _open_by_name(name, arch, trained=True)
    else:
        with _seed_torch(random_weights):
            net = _open_by_name(name, None, trained=False)
    net = _replace_preprocessing(
        net, input_size, mean=mean, std=std, bands=bands, value_range=value_range
    )
    fit = net.preprocessing.fit
    if resize != "network":
        fit = replace(fit, mode=resize)
    untrained = random_weights is not None and ":" not in name
    remarks = (f"random weights, seed {random_weights}",) if untrained else ()
    module = _use_channels_last(net.module.to(target_device))
    for part in module.modules():  # not eval(), which exported programs refuse
        part.training = False
    return net.with_module(module, fit, remarks=remarks)


def _describe_wrong_type(name: object) -> str:
    """The error for what is not a name: a module need not be opened, and has no name."""
    kind = type(name).__name__
    if isinstance(name, torch.nn.Module):
        advice = "wrap it with rs.Network(module, input_size=(H, W))"
        return f"a network is opened by its name, not {kind}; {advice}"
    if _is_torchvision_weights(name):
        advice = "give the name of the network, such as 'resnet18'"
        return f"a network is opened by its name, not by its weights {name}; {advice}"
    description = describe_non_module(name)
    advice = description.advice or NAME_FORMS
    return f"a network is opened by its name, not {description.name}; {advice}"


def _is_torchvision_weights(name: object) -> bool:
    if "torchvision" not in sys.modules:
        return False
    from torchvision.models import WeightsEnum

    return isinstance(name, WeightsEnum)


def _check_options(name: str, arch: str | None, seed: int | None) -> None:
    is_weight_file = weight_file_networks.is_weight_file(name)
    if arch is not None and not is_weight_file:
        raise ModelError(
            f"{name!r} is not a weight file; leave out arch, which applies to weight files only",
            parameter="arch",
        )
    if seed is not None and is_weight_file:
        raise ModelError(
            f"{name!r} is a weight file, which contains its weights; leave out random_weights, or "
            "give the name of a network",
            parameter="random_weights",
        )


def _replace_preprocessing(
    net: Network, size: int | tuple[int, ...] | None, **statistics: Any
) -> Network:
    """The same network with what is stated about its images, where it is not None."""
    replaced = {name: numbers for name, numbers in statistics.items() if numbers is not None}
    if size is None and not replaced:
        return net
    preprocessing = net.preprocessing
    fit = preprocessing.fit if size is None else _scale_fit(preprocessing.fit, size)
    if len(fit.shape) != net.rank and input_rank(net.module) == net.rank:
        raise ImageError(f"a size is {SIZE_EXAMPLES[net.rank]}, not {size!r}")
    set_input_size: Any = getattr(net.module, "set_input_size", None)
    if size is not None and callable(set_input_size):
        set_input_size(fit.size)  # timm's transformers are built for one size
    return Network(
        net.module,
        fit=fit,
        labels=net.labels,
        name=net.name,
        remarks=net.remarks,
        inferred=net.inferred,
        **{**preprocessing.stated(replaced.get("value_range")), **replaced},
    )


def _scale_fit(fit: Fit, size: int | tuple[int, ...]) -> Fit:
    """A fit to another size that crops the same share of an image; of volumes, of each slice."""
    sides = len(fit.shape[-IMAGE_RANK:])
    stated = fit_to((size,) * sides if isinstance(size, int) else size)
    depth = fit.depth if stated.depth is None else stated.depth
    resized = replace(fit, size=stated.size, depth=depth)
    if fit.mode == "whole":
        return replace(resized, shorter=min(resized.size))
    scale = min(resized.size) / min(fit.size)
    return replace(resized, shorter=fit.shorter and max(1, round(fit.shorter * scale)))


def _use_channels_last(module: torch.nn.Module) -> torch.nn.Module:
    """The same module with its filters in the memory format that runs fastest."""
    ranks = {tensor.dim() for tensor in (*module.parameters(), *module.buffers())}
    return module if 5 in ranks else module.to(memory_format=torch.channels_last)


def _open_by_name(name: str, arch: str | None, *, trained: bool) -> Network:
    if weight_file_networks.is_weight_file(name):
        return weight_file_networks.open_weight_file(name, arch, _open_untrained)
    base = name.partition("?")[0]
    if "://" in base:
        raise ModelError(f"{name!r} is an address; download the file and give its path")
    if ":" in base or base.endswith(".py"):
        return factory.open_named(name, trained)
    if demo_networks.is_demo_name(base):
        return demo_networks.open_named(name, trained)
    if base == imagenet_network.NAME:
        return imagenet_network.open_named(name, trained)
    source, slash, name_in_source = name.partition("/")
    if not slash:
        _check_bare_name(base)
        return torchvision_models.open_named(name, trained)
    if source not in SOURCES:
        weight_file_networks.refuse_location(name)
    open_named = choose("model source", source, SOURCES, error=ModelError, advice=NAME_FORMS)
    return open_named(name_in_source, trained)


def _check_bare_name(name: str) -> None:
    """Raises unless torchvision has this network; the hint covers the other sources."""
    torchvision_names = torchvision_models.names()
    if name in torchvision_names or name in torchvision_models.other_names():
        return
    torchvision_models.refuse_other_task(name)
    weight_file_networks.refuse_location(name)
    demo_names = [demo for demo in demo_networks.names() if "@" not in demo]
    caffe_names = [f"caffe/{model}" for model in caffe_models.CAFFE_MODELS]
    bare_names = [*demo_names, imagenet_network.NAME, *torchvision_names]
    names = dict.fromkeys([*bare_names, *caffe_names])
    choose("model", name, names, error=ModelError, advice=NAME_FORMS)


def _open_untrained(name: str) -> Network:
    """A network for weights from a file; leaves torch's random state alone."""
    if weight_file_networks.is_weight_file(name):
        raise ModelError(
            f"{name!r} is a weight file; give the name of a network as arch", parameter="arch"
        )
    with _seed_torch(0):
        return _open_by_name(name, None, trained=False)


@contextmanager
def _seed_torch(seed: int) -> Iterator[None]:
    """Seeds torch's random numbers inside the context and restores their state afterwards."""
    if not -(2**63) <= seed < 2**64:
        raise ModelError(f"the seed {seed} is longer than 64 bits; give a smaller one")
    with EXCLUSIVE_USE, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _resolve_device(name: str) -> torch.device:
    availability = (True, True, torch.cuda.is_available(), torch.backends.mps.is_available())
    available = dict(zip(DEVICES, availability, strict=True))
    devices = [device for device in available if available[device]]
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind = name.partition(":")[0]
    if kind in DEVICE_SYNONYMS:
        device = DEVICE_SYNONYMS[kind]
        raise ModelError(f"no device {kind!r}; did you mean {device!r}?", parameter="device")
    if not choose("device", kind, available, error=ModelError):
        raise ModelError(
            f"torch finds no {kind} device; choose from {', '.join(devices)}", parameter="device"
        )
    try:
        return torch.zeros((), device=name).device
    except RuntimeError as error:
        raise ModelError(
            f"torch finds no device {name!r} ({describe_error(error)}); choose from "
            f"{', '.join(devices)}",
            parameter="device",
        ) from error
