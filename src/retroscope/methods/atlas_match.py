"""Whether an atlas was made by a network: the same layers, and the same weights."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

import torch

from retroscope.errors import RetroscopeError
from retroscope.network import Network
from retroscope.results.layers import Layer


class Scanned(Protocol):
    """What an atlas tells of the network that it was made by."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that it knows."""

    @property
    def meta(self) -> Mapping[str, object]:
        """What it remembers of its scan; an atlas made by hand may remember nothing."""


def fingerprint(module: torch.nn.Module) -> str:
    """Changes with any weight or buffer of the network.

    >>> len(fingerprint(torch.nn.Conv2d(3, 8, 5)))
    32
    """
    digest = blake2b(digest_size=16)
    for name, tensor in module.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return digest.hexdigest()


def refuse_another(atlas: Scanned, net: Network, layers: Sequence[Layer]) -> None:
    """An atlas of another network would call everything unusual, and its channels mean other
    things.
    """
    known = {layer.name: layer for layer in layers}
    for own in atlas.layers:
        here = known.get(own.name)
        if here is None or here.channels != own.channels:
            there = "has no such layer" if here is None else f"has {here.channels}"
            raise RetroscopeError(
                f"the atlas is of another network than {net.name}: its {own.name} has "
                f"{own.channels} channels, {net.name} {there}; give an atlas that was scanned "
                f"with {net.name}"
            )
    _refuse_weights(atlas, net, "the atlas")


def refuse_other_weights(atlas: Scanned, net: Network, name: str = "the atlas") -> None:
    """What is put into an atlas, or compared with it, is of the weights and the preprocessing of
    its scan.
    """
    _refuse_weights(atlas, net, name)
    if atlas.meta.get("preprocessing") not in (None, repr(net.preprocessing)):
        raise RetroscopeError(f"{name} was scanned with another preprocessing; give the same")


def _refuse_weights(atlas: Scanned, net: Network, name: str) -> None:
    if atlas.meta.get("weights") in (None, fingerprint(net.module)):
        return
    model = atlas.meta.get("model")
    if model == net.name:
        raise RetroscopeError(
            f"{name} was scanned with other weights than {model} has now; where they are random "
            "each time, random_weights (--random-weights SEED) makes them the same, for the scan "
            "and for all that follows"
        )
    raise RetroscopeError(
        f"{name} was scanned with {model or 'a network'}, and the weights of {net.name} are "
        "others; give the network of the scan, or scan the other weights into another atlas"
    )
