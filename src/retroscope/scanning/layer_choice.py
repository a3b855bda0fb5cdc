"""Which layers of a network a scan ranks."""

from collections.abc import Sequence

from retroscope.atlas.layer_selection import choose_layers, split_names
from retroscope.engine.convolution_outputs import convolution_outputs
from retroscope.network import Network
from retroscope.results.layers import Layer


def scan_layers(net: Network, names: str | Sequence[str] | None = None) -> list[Layer]:
    """The layers that a scan ranks: those that `names` select, or each convolution's output.

    >>> from torch import nn
    >>> net = Network(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval())
    >>> [(layer.name, layer.note) for layer in scan_layers(net)]
    [('2', '0 (conv1) after its batch norm and ReLU')]
    """
    outputs = [] if names is not None else list(convolution_outputs(net.survey()))
    return outputs or network_layers(net, "conv" if names is None else names)


def network_layers(net: Network, names: str | Sequence[str]) -> list[Layer]:
    """The layers of a network that names, aliases, globs or kinds select, in running order.

    >>> from torch import nn
    >>> net = Network(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    >>> [layer.name for layer in network_layers(net, "relu")]
    ['1']
    """
    listing = f'"retroscope layers {net.name}" lists them'
    return choose_layers(net.layers, split_names(names), net.name, listing=listing)
