"""A layer by any of its names, and units that are known to lie inside their layer."""

from collections.abc import Sequence
from dataclasses import replace

from retroscope.errors import UnitError, did_you_mean
from retroscope.results.layers import Layer
from retroscope.unit import Unit


def find_layer(
    layers: Sequence[Layer], name: str, network: str, *, listing: str | None = None
) -> Layer:
    """The layer of this name or alias among those of a network.

    `listing` says where all of them can be seen.
    """
    for layer in layers:
        if name == layer.name or name in layer.aliases:
            return layer
    if not layers:
        raise UnitError(f"no layer {name!r} in {network}; it runs no operation that is a layer")
    known = [known for layer in layers for known in (layer.name, *layer.aliases)]
    where = listing or f'"retroscope layers {network}" lists them.'
    hint = " ".join(filter(None, (did_you_mean(name, known), where)))
    raise UnitError(f"no layer {name!r} in {network}; {hint}")


def check_unit(unit: Unit, layer: Layer) -> Unit:
    """The unit under its layer's own name, known to lie inside the layer."""
    height, width = layer.size
    if unit.channel is not None and not 0 <= unit.channel < layer.channels:
        raise UnitError(
            f"no channel {unit.channel} in {unit.layer}; it has {layer.channels}, "
            f"0 to {layer.channels - 1}"
        )
    if unit.position is not None and not (
        0 <= unit.position[0] < height and 0 <= unit.position[1] < width
    ):
        raise UnitError(
            f"no position {unit.position[0]},{unit.position[1]} in {unit.layer}; its maps are "
            f"{height}x{width}, so that y,x goes from 0,0 to {height - 1},{width - 1}"
        )
    return replace(unit, layer=layer.name)
