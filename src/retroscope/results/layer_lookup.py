"""Finds a layer by any of its names, and checks that a unit exists."""

from collections.abc import Sequence
from dataclasses import replace

from retroscope.errors import UnitError, did_you_mean
from retroscope.results.layers import Layer
from retroscope.unit import Unit


def find_layer(
    layers: Sequence[Layer], name: str, network: str, *, listing: str | None = None
) -> Layer:
    """The layer of this name or alias among those of a network, or the output of a convolution.

    `listing` ends the error if there is no such layer: it says where all of them are listed.
    """
    for layer in layers:
        if name == layer.name or name in layer.aliases:
            return layer
    for layer in layers:
        if name in layer.convolution:
            return layer
    if not layers:
        raise UnitError(f"no layer {name!r} in {network}; it has no layers")
    names = [known for layer in layers for known in layer.search_names]
    listing = listing or f'"retroscope layers {network}" lists them.'
    hint = " ".join(filter(None, (did_you_mean(name, names, by_number=True), listing)))
    raise UnitError(f"no layer {name!r} in {network}; {hint}")


def check_unit(unit: Unit, layer: Layer) -> Unit:
    """The unit under its layer's own name. A channel or position outside the layer is refused."""
    height, width = layer.size
    if unit.channel is not None and not 0 <= unit.channel < layer.channels:
        raise UnitError(
            f"no channel {unit.channel} in {unit.layer}; it has {layer.channels}, "
            f"0 to {layer.channels - 1}"
        )
    if unit.position is not None:
        y, x = unit.position
        if not (0 <= y < height and 0 <= x < width):
            raise UnitError(
                f"no position {y},{x} in {unit.layer}; its maps are {height}x{width}, so y,x goes "
                f"from 0,0 to {height - 1},{width - 1}"
            )
    return replace(unit, layer=layer.name)
