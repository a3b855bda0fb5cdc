"""`open_model`: from a name to a network that is ready to be looked through."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from retroscope.errors import ModelError, did_you_mean
from retroscope.imaging.image import Fit
from retroscope.network import MAKES_A_NETWORK, Network, in_words
from retroscope.zoo import (
    caffe_models,
    demo_networks,
    factory,
    keras_models,
    timm_models,
    torchvision_models,
    weight_file_networks,
)

Opener = Callable[[str, bool], Network]
"""A network from the rest of its name; with trained weights, or as it is initialised."""

SOURCES: dict[str, Opener] = {
    "torchvision": torchvision_models.open_named,
    "timm": timm_models.open_named,
    "caffe": caffe_models.open_named,
    "keras": keras_models.open_named,
}
"""What stands before the slash in a model's name."""

DEVICES = ("auto", "cpu", "cuda", "mps")


def open_model(
    name: str | Path,
    *,
    arch: str | None = None,
    random_weights: int | None = None,
    device: str = "auto",
    resize: str = "network",
    input_size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Network:
    """The network of this name, with its weights, preprocessing and labels.

    `torchvision/NAME` or the bare name, `timm/NAME`, `keras/NAME`, `package.module:factory`,
    `file.py:factory`, or the path of a weight file, whose network `arch` names where the file does
    not tell it.
    `random_weights` is a seed: the network is initialised by it, and nothing is downloaded.
    `resize` says how pictures get to the input size, as `Fit` does. `input_size`, `mean` and `std`,
    of pixels from 0 to 1, take the place of the network's own.

    >>> open_model("squeezenet1_1", random_weights=0, device="cpu")
    <Network squeezenet1_1: 224x224 on cpu>
    """
    if not isinstance(name, str | Path):
        raise ModelError(_no_name(name))
    name = str(name)
    place = _device(device)
    _check_asked(name, arch, random_weights)
    if random_weights is None:
        net = _open(name, arch, trained=True)
    else:
        with _seeded(random_weights):
            net = _open(name, None, trained=False)
    net = _refed(net, input_size, mean=mean, std=std)
    own = net.preprocessing.fit
    fit = own if resize == "network" else replace(own, mode=resize)
    untrained = random_weights is not None and ":" not in name
    remarks = (f"random weights, seed {random_weights}",) if untrained else ()
    return net.of_module(_channels_last(net.module.to(place)), fit, remarks=remarks)


def _no_name(given: object) -> str:
    kind = type(given).__name__
    known = isinstance(given, torch.nn.Module)
    advice = MAKES_A_NETWORK if known else "write torchvision/NAME or the path of a weight file"
    return f"a network is opened by its name, not a {kind}; {advice}"


def _check_asked(name: str, arch: str | None, seed: int | None) -> None:
    weights = weight_file_networks.is_file(name)
    if arch is not None and not weights:
        raise ModelError(f"{name!r} is no weight file; arch (--arch) says whose network one is")
    if seed is not None and weights:
        raise ModelError(
            f"{name!r} is a weight file, which has its weights; leave out random_weights "
            "(--random-weights), or give the name of a network"
        )


def _refed(net: Network, size: int | tuple[int, int] | None, **numbers: Any) -> Network:
    """The same network for pictures of another size, mean or std, where they are given."""
    given = {key: value for key, value in numbers.items() if value is not None}
    if size is None and not given:
        return net
    own = net.preprocessing
    fit = own.fit if size is None else _resized(own.fit, size)
    resize: Any = getattr(net.module, "set_input_size", None)
    if size is not None and callable(resize):
        resize(fit.size)  # timm's transformers are built for one size
    return Network(
        net.module,
        fit=fit,
        labels=net.labels,
        name=net.name,
        remarks=net.remarks,
        decided=net.decided,
        **{"mean": own.mean, "std": own.std, **given},
    )


def _resized(own: Fit, size: int | tuple[int, int]) -> Fit:
    """The same share of a picture at another size."""
    other = replace(own, size=(size, size) if isinstance(size, int) else size)
    share = min(other.size) / min(own.size)
    return replace(other, shorter=own.shorter and max(1, round(own.shorter * share)))


def _channels_last(module: torch.nn.Module) -> torch.nn.Module:
    """The same module with its filters stored as processors like them."""
    ranks = {one.dim() for one in (*module.parameters(), *module.buffers())}
    return module if 5 in ranks else module.to(memory_format=torch.channels_last)


def _open(name: str, arch: str | None, *, trained: bool) -> Network:
    if weight_file_networks.is_file(name):
        return weight_file_networks.open_file(name, arch, _initialised)
    base = name.partition("?")[0]
    if ":" in base or base.endswith(".py"):
        return factory.open_named(name, trained)
    if demo_networks.is_ours(name):
        return demo_networks.open_named(name, trained)
    source, slash, rest = name.partition("/")
    if not slash:
        _check_known(base)
        return torchvision_models.open_named(name, trained)
    if source not in SOURCES:
        hint = did_you_mean(source, SOURCES) or (
            "there are torchvision/NAME and timm/NAME, caffe/NAME and keras/NAME"
        )
        raise ModelError(f"no source {source!r} of models in {name!r}; {hint}")
    return SOURCES[source](rest, trained)


def _check_known(name: str) -> None:
    """A bare name is torchvision's; a wrong one may have been meant for any source."""
    known = torchvision_models.names()
    if name not in known:
        ours = [one for one in demo_networks.names() if "@" not in one]
        every = [*ours, *known, *(f"caffe/{one}" for one in caffe_models.names())]
        hint = did_you_mean(name, every) or torchvision_models.FORMS
        raise ModelError(f"no model {name!r}; {hint}")


def _initialised(name: str) -> Network:
    """A named network whose numbers will all be replaced; nobody's random numbers move."""
    if weight_file_networks.is_file(name):
        raise ModelError(f"{name!r} is a weight file; arch (--arch) names a network")
    with _seeded(0):
        return _open(name, None, trained=False)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random numbers by a seed, without disturbing anybody else's."""
    if not -(2**63) <= seed < 2**64:
        raise ModelError(f"a seed of 64 bits is asked for; {seed} is longer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _device(name: str) -> torch.device:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _has_mps()}
    if name == "auto":
        return torch.device(next(one for one in ("cuda", "mps", "cpu") if there[one]))
    kind = name.partition(":")[0]
    if kind not in there:
        raise ModelError(f"no device {name!r}; there are {', '.join(DEVICES)}")
    if not there[kind]:
        have = ", ".join(one for one, found in there.items() if found)
        raise ModelError(f"torch finds no {kind} device here; there is {have}")
    try:
        return torch.zeros((), device=name).device
    except RuntimeError as error:
        raise ModelError(f"torch finds no device {name!r} here: {in_words(error)}") from error


def _has_mps() -> bool:
    return torch.backends.mps.is_available()
