"""`open_model`: from a name to a network that is ready to be looked through."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from retroscope.errors import ModelError, did_you_mean
from retroscope.network import Network, in_words
from retroscope.zoo import factory, timm_models, torchvision_models

Opener = Callable[[str, bool], Network]
"""A network from the rest of its name; with trained weights, or as it is initialised."""

SOURCES: dict[str, Opener] = {
    "torchvision": torchvision_models.open_named,
    "timm": timm_models.open_named,
}
"""What stands before the slash in a model's name."""

DEVICES = ("auto", "cpu", "cuda", "mps")


def open_model(
    name: str,
    *,
    random_weights: int | None = None,
    device: str = "auto",
    resize: str = "network",
) -> Network:
    """The network of this name, with its weights, preprocessing and labels.

    `torchvision/NAME` or the bare name, `timm/NAME`, `package.module:factory` or
    `file.py:factory`. `random_weights` is a seed: the network is initialised by it, and nothing is
    downloaded. `resize` says how pictures get to the input size, as `Fit` does.

    >>> open_model("squeezenet1_1", random_weights=0, device="cpu")
    <Network squeezenet1_1: 224x224 on cpu>
    """
    place = _device(device)
    if random_weights is None:
        net = _open(name, trained=True)
    else:
        with _seeded(random_weights):
            net = _open(name, trained=False)
    own = net.preprocessing.fit
    fit = own if resize == "network" else replace(own, mode=resize)
    untrained = random_weights is not None and ":" not in name
    remarks = (f"random weights, seed {random_weights}",) if untrained else ()
    return net.of_module(_channels_last(net.module.to(place)), fit, remarks=remarks)


def _channels_last(module: torch.nn.Module) -> torch.nn.Module:
    """The same module with its filters stored as processors like them."""
    ranks = {one.dim() for one in (*module.parameters(), *module.buffers())}
    return module if 5 in ranks else module.to(memory_format=torch.channels_last)


def _open(name: str, *, trained: bool) -> Network:
    if ":" in name or name.endswith(".py"):
        return factory.open_named(name, trained)
    source, slash, rest = name.partition("/")
    if not slash:
        return torchvision_models.open_named(name, trained)
    if source not in SOURCES:
        hint = did_you_mean(source, SOURCES) or "there are torchvision/NAME and timm/NAME"
        raise ModelError(f"no source {source!r} of models in {name!r}; {hint}")
    return SOURCES[source](rest, trained)


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
