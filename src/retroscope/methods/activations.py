"""The maps of a layer for one image, and the layer that heat maps use by default."""

import torch

from retroscope.engine.batching import Size
from retroscope.engine.forward import run_forward
from retroscope.engine.isolation import preserve_state
from retroscope.errors import ModelError
from retroscope.network import AnyImage, Network, require_network
from retroscope.results.layers import Layer
from retroscope.results.projections import Activations


def activations(net: Network, layer: str | Layer, image: AnyImage) -> Activations:
    """The maps of a layer for one image.

    >>> net = Network(torch.nn.Conv2d(3, 8, 3), input_size=(32, 32))
    >>> activations(net, "conv1", torch.zeros(3, 32, 32)).maps.shape
    (8, 30, 30)
    """
    require_network(net)
    network_input = net.prepare(image)
    layer = net.layer(layer, network_input.size)
    recorded: list[torch.Tensor] = []
    with preserve_state(net.module), torch.no_grad():
        survey = net.survey(network_input.size)
        batch = network_input.tensor[None].to(net.device, copy=True)
        run_forward(net.module, survey, batch, {layer.index: recorded.append})
        maps = recorded[0][0].float().cpu().numpy().copy()
    return Activations(layer, maps, network_input.source)


def resolve_spatial_layer(net: Network, layer: str | Layer | None, size: Size) -> Layer:
    """The layer of this name, which must have maps; the last spatial layer, if none is given."""
    if layer is None:
        return last_spatial_layer(net, size)
    layer = net.layer(layer, size)
    if not _is_spatial(layer):
        raise ModelError(
            f"no heat map of {layer.name}: it has {layer.channels} channels of "
            f"{layer.size[0]}x{layer.size[1]}; {last_spatial_layer(net, size).name} is the last "
            "layer with maps"
        )
    return layer


def last_spatial_layer(net: Network, size: Size) -> Layer:
    """The last layer whose maps have the size of the last convolution's maps.

    It includes the batch norm, the skip connection and the rectifier that follow the convolution,
    but not the pool that shrinks its maps.
    """
    layers = net.survey(size).layers
    convolutions = [layer for layer in layers if layer.kind == "conv" and _is_spatial(layer)]
    if not convolutions:
        raise ModelError(
            f"no heat map of {net.name}: it has no convolution with maps larger than 1x1; "
            "saliency works on any network"
        )
    last = convolutions[-1]
    return [layer for layer in layers if layer.size == last.size and layer.index >= last.index][-1]


def _is_spatial(layer: Layer) -> bool:
    return min(layer.size) > 1 or (max(layer.size) > 1 and layer.kind == "conv")
