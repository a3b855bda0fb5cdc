"""Which layer a heat map is made of, where none is named: the last map before the head."""

from retroscope.engine.batching import Size
from retroscope.errors import ModelError
from retroscope.network import Network
from retroscope.results.layers import Layer


def last_map(net: Network, size: Size) -> Layer:
    """The last layer whose maps are as large as those of the last convolution.

    So that it holds what becomes of that convolution (its norm, its sum with a skip, its
    rectifier) before a pool makes it smaller.
    """
    layers = net.survey(size).layers
    convolutions = [one for one in layers if one.kind == "conv" and _is_spatial(one)]
    if not convolutions:
        raise ModelError(
            f"{net.name} has no convolution whose maps are larger than 1x1, so that it has no "
            "heat map; saliency works on any network"
        )
    last = convolutions[-1]
    return [one for one in layers if one.size == last.size and one.index >= last.index][-1]


def map_named(net: Network, name: str | Layer | None, size: Size) -> Layer:
    """The layer of this name, which must have maps; the last map, if none is named."""
    if name is None:
        return last_map(net, size)
    layer = net.layer(name, size)
    if not _is_spatial(layer):
        raise ModelError(
            f"{layer.name} has no map to make heat of: {layer.channels} channels of "
            f"{layer.size[0]}x{layer.size[1]}; {last_map(net, size).name} is the last that has one"
        )
    return layer


def _is_spatial(layer: Layer) -> bool:
    return min(layer.size) > 1 or (max(layer.size) > 1 and layer.kind == "conv")
