"""The filters of a first convolution, which read pixels and can be displayed as images."""

import torch

from retroscope.errors import RetroscopeError, UnitError
from retroscope.geometry import INPUTS
from retroscope.methods.convolution_weights import convolution_weights
from retroscope.network import AnyLayer, AnyNetwork, Network, as_network
from retroscope.results.layers import Layer
from retroscope.results.projections import Filters


def filters(net: AnyNetwork, layer: AnyLayer | None = None) -> Filters:
    """The filters of a convolution that reads pixels; the first convolution, if none is given.

    >>> filters(Network(torch.nn.Conv2d(3, 8, 5), input_size=(32, 32))).weights.shape
    (8, 5, 5, 3)
    """
    net = as_network(net)
    conv = _first_convolution(net) if layer is None else net.layer(_require_layer_address(layer))
    call = convolution_weights(net, [conv]).get(conv.name)
    if call is None or not _reads_pixels(conv, call.weights):
        raise RetroscopeError(
            f"the filters of {conv.name} read the maps of other layers, not pixels, and cannot be "
            f"displayed; {_first_convolution(net).name} reads pixels, and 'deconv' and "
            "'synthesize' show what deeper layers respond to"
        )
    displayed = call.weights.detach().movedim(1, -1).float().cpu().numpy().copy()
    reads_all = displayed.shape[-1] == net.preprocessing.channels
    bands = net.preprocessing.shown_bands if reads_all else ()
    return Filters(conv, displayed, _notes(net, call.weights), bands)


def _require_layer_address(layer: AnyLayer) -> AnyLayer:
    """Filters belong to a layer, not to one of its units."""
    if not isinstance(layer, str):
        return layer
    name = layer.partition(":")[0]
    if name != layer:
        raise UnitError(f"filters are shown for a whole layer; give {name!r}, not {layer!r}")
    return layer


def _first_convolution(net: Network) -> Layer:
    layers = [layer for layer in net.layers if layer.kind == "conv"]
    if not layers:
        raise RetroscopeError(f"{net.name} has no filters: it does not run a convolution")
    return layers[0]


def _reads_pixels(layer: Layer, weights: torch.Tensor) -> bool:
    """Whether no other window operation lies between the image and the layer."""
    sizes = [field.size for field in layer.field.axes(weights.dim() - 2)]
    return not layer.field.whole and sizes == list(weights.shape[2:])


def _notes(net: Network, weights: torch.Tensor) -> tuple[str, ...]:
    channels = net.preprocessing.channels
    if weights.shape[1] == channels:
        return net.remarks
    note = (
        f"each filter reads {weights.shape[1]} of the {channels} channels of the {INPUTS[net.rank]}"
    )
    return (*net.remarks, note)
