"""Whether an atlas was made by a network: the same layers, and the same weights."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

import torch

from retroscope.errors import RetroscopeError
from retroscope.network import Network
from retroscope.results import Layer


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
    _refuse_other_weights(atlas, net)


def _refuse_other_weights(atlas: Scanned, net: Network) -> None:
    scanned = atlas.meta.get("weights")
    if scanned is not None and scanned != fingerprint(net.module):
        raise RetroscopeError(
            f"the atlas was scanned with {atlas.meta.get('model') or 'a network'}, and the weights "
            f"of {net.name} are others; give the network of the scan, or an atlas that was scanned "
            f"with {net.name}"
        )
