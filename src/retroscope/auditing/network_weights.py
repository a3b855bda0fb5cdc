"""The weights that an audit looks at, from the network of the scan."""

from retroscope.atlas.reader import Atlas
from retroscope.auditing.layer_evidence import ConvolutionWeights, NetworkWeights
from retroscope.errors import RetroscopeError
from retroscope.methods.atlas_match import check_same_network
from retroscope.methods.convolution_weights import convolution_weights
from retroscope.methods.filters import filters
from retroscope.network import AnyNetwork, as_network
from retroscope.results.layers import Layer


def read_weights(atlas: Atlas, net: AnyNetwork) -> NetworkWeights:
    """The filters that read pixels, and the weights of the convolution behind each layer.

    Refuses a network that was not the scanned one.
    """
    net = as_network(net)
    check_same_network(atlas, net, net.layers)
    names = {layer.name: _convolution_of(layer) for layer in atlas.layers}
    by_name = {layer.name: layer for layer in net.layers}
    calls = convolution_weights(net, [by_name[name] for name in names.values() if name in by_name])
    weights = {
        layer: ConvolutionWeights(
            calls[name].weights.detach().float().cpu().numpy(), calls[name].groups
        )
        for layer, name in names.items()
        if name in calls
    }
    try:
        return NetworkWeights(weights, filters(net))
    except RetroscopeError as error:
        return NetworkWeights(weights, None, str(error))


def _convolution_of(layer: Layer) -> str:
    """The name of the convolution of which the layer is the output that goes on, or is itself."""
    return layer.convolution[0] if layer.convolution else layer.name
