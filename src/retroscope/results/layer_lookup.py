"""Finds a layer by any of its names, and checks that a unit exists."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from retroscope.errors import UnitError, did_you_mean
from retroscope.geometry import axis_names, format_size
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
    if unit.channel is not None and not 0 <= unit.channel < layer.channels:
        raise UnitError(
            f"no channel {unit.channel} in {unit.layer}; it has {layer.channels}, "
            f"0 to {layer.channels - 1}"
        )
    if unit.position is not None:
        pairs = zip(unit.position, layer.size, strict=False)
        is_known = len(unit.position) == len(layer.size)
        if not is_known or not all(0 <= index < length for index, length in pairs):
            names, last = axis_names(len(layer.size)), [length - 1 for length in layer.size]
            raise UnitError(
                f"no position {_listed(unit.position)} in {unit.layer}; its maps are "
                f"{format_size(layer.size)}, so {_listed(names)} goes from "
                f"{_listed([0] * len(last))} to {_listed(last)}"
            )
    return replace(unit, layer=layer.name)


def _listed(values: Iterable[object]) -> str:
    return ",".join(map(str, values))


def layers_scanned(layers: Sequence[Layer]) -> str:
    """Which layers an atlas has, for errors.

    >>> layers_scanned([])
    'the scan has not stored any layers yet'
    >>> from retroscope.geometry import Field, ReceptiveField
    >>> layers_scanned([Layer("conv", "conv", 6, (30, 30), ReceptiveField(Field(5), Field(5)))])
    'it has one layer, conv'
    """
    if not layers:
        return "the scan has not stored any layers yet"
    first, last = layers[0].name, layers[-1].name
    if len(layers) == 1:
        return f"it has one layer, {first}"
    return f"it has {len(layers)} layers, {first} to {last}"
