"""The maps of a layer for one picture."""

import torch

from retroscope.engine.forward import follow
from retroscope.engine.isolation import undisturbed
from retroscope.network import AnyImage, Network, refuse_no_network
from retroscope.results.layers import Layer
from retroscope.results.projections import Activations


def activations(net: Network, layer: str | Layer, image: AnyImage) -> Activations:
    """The maps of a layer for one picture.

    >>> net = Network(torch.nn.Conv2d(3, 8, 3), input_size=(32, 32))
    >>> activations(net, "conv1", torch.zeros(3, 32, 32)).maps.shape
    (8, 30, 30)
    """
    refuse_no_network(net)
    prepared = net.prepare(image)
    found = net.layer(layer, prepared.size)
    kept: list[torch.Tensor] = []
    with undisturbed(net.module), torch.no_grad():
        survey = net.survey(prepared.size)
        follow(
            net.module,
            survey,
            prepared.numbers[None].to(net.device, copy=True),
            {found.index: kept.append},
        )
        return Activations(found, kept[0][0].float().cpu().numpy().copy(), prepared.source)
