"""The filters of a first layer: the only ones that can be looked at without the network around."""

import torch

from retroscope.engine.forward import follow, plainly
from retroscope.engine.isolation import undisturbed
from retroscope.engine.operations import Args, Function, Kwargs, positional
from retroscope.errors import RetroscopeError, UnitError
from retroscope.network import Network, refuse_no_network
from retroscope.results.layers import Layer
from retroscope.results.projections import Filters


def filters(net: Network, layer: str | Layer | None = None) -> Filters:
    """The filters of a convolution that reads pixels; the first one, if none is named.

    >>> filters(Network(torch.nn.Conv2d(3, 8, 5), input_size=(32, 32))).weights.shape
    (8, 5, 5, 3)
    """
    refuse_no_network(net)
    found = _first(net) if layer is None else net.layer(_alone(layer))
    weights = _weights(net, found) if found.kind == "conv" else None
    if weights is None or not _reads_pixels(found, weights):
        raise RetroscopeError(
            f"{found.name} reads the maps of other layers, not pixels, so that its filters are no "
            f"pictures; {_first(net).name} has some, and 'deconv' and 'synthesize' show what "
            "deeper layers look for"
        )
    shown = weights.detach().permute(0, 2, 3, 1).float().cpu().numpy().copy()
    return Filters(found, shown, _notes(net, weights))


def _alone(layer: str | Layer) -> str | Layer:
    """The address of a layer, not of one of its units."""
    if not isinstance(layer, str):
        return layer
    name = layer.partition(":")[0]
    if name != layer:
        raise UnitError(f"filters are drawn a layer at a time; give {name!r}, not {layer!r}")
    return layer


def _first(net: Network) -> Layer:
    layers = [layer for layer in net.layers if layer.kind == "conv"]
    if not layers:
        raise RetroscopeError(f"{net.name} runs no convolution, so that it has no filters")
    return layers[0]


def _weights(net: Network, layer: Layer) -> torch.Tensor | None:
    """What the layer's convolution is called with."""
    last: list[torch.Tensor] = []
    kept: list[torch.Tensor] = []

    def execute(function: Function, args: Args, kwargs: Kwargs) -> object:
        if function is torch.nn.functional.conv2d:
            given, named = positional(args, kwargs)
            last.append(given[1] if len(given) > 1 else named["weight"])
        return plainly(function, args, kwargs)

    grey = torch.zeros(1, net.preprocessing.channels, *net.input_size, device=net.device)
    with undisturbed(net.module), torch.no_grad():
        watched = {layer.index: lambda _maps: kept.extend(last[-1:])}
        follow(net.module, net.survey(), grey.to(net.dtype), watched, execute=execute)
    return kept[0] if kept else None


def _reads_pixels(layer: Layer, weights: torch.Tensor) -> bool:
    """Whether no window stands between the layer and the picture."""
    field = layer.field
    return not field.whole and (field.y.size, field.x.size) == tuple(weights.shape[2:])


def _notes(net: Network, weights: torch.Tensor) -> tuple[str, ...]:
    channels = net.preprocessing.channels
    if weights.shape[1] == channels:
        return net.remarks
    return (
        *net.remarks,
        f"each filter reads {weights.shape[1]} of the {channels} channels that the picture has",
    )
