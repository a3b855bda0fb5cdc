"""The maps of a layer for one image, and the layer that heat maps use by default."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import overload

import numpy as np
import numpy.typing as npt
import torch

from retroscope.engine.batching import NetworkInput, Size, max_batch_size
from retroscope.engine.forward import run_forward
from retroscope.engine.heat_layer import layer_for_heat
from retroscope.engine.isolation import preserve_state
from retroscope.engine.memory import in_batches, memory_budget
from retroscope.errors import ModelError
from retroscope.geometry import IMAGE_RANK, format_size
from retroscope.methods.image_lists import (
    AnImage,
    AnyImageList,
    ImageList,
    OneOrMany,
    is_image_list,
    prepare_list,
)
from retroscope.methods.network_parts import layers_for_heat
from retroscope.methods.targets import stack_inputs
from retroscope.network import (
    AnyArray,
    AnyImage,
    AnyLayer,
    AnyNetwork,
    Network,
    OneImage,
    as_network,
)
from retroscope.results.layers import Layer
from retroscope.results.projections import Activations


@overload
def activations(net: AnyNetwork, layer: AnyLayer, image: OneImage) -> Activations: ...
@overload
def activations(
    net: AnyNetwork, layer: AnyLayer, image: ImageList[AnImage]
) -> list[Activations]: ...
@overload
def activations(net: AnyNetwork, layer: AnyLayer, image: AnyArray) -> OneOrMany: ...
def activations(
    net: AnyNetwork, layer: AnyLayer, image: AnyImage | AnyImageList
) -> Activations | list[Activations]:
    """The maps of a layer for one image.

    A list of images, a batch of them in one array, or a data set gives a list of results. Images
    of one size run together.

    >>> net = Network(torch.nn.Conv2d(3, 8, 3), input_size=(32, 32))
    >>> activations(net, "conv1", torch.zeros(3, 32, 32)).maps.shape
    (8, 30, 30)
    """
    net = as_network(net)
    if is_image_list(image, net.rank):
        return _activations_of_list(net, layer, list(prepare_list(net, image)))
    network_input = net.prepare(image)
    resolved = net.layer(layer, network_input.size)
    return _activations_of_batch(net, resolved, [network_input])[0]


def _activations_of_list(
    net: Network, layer: AnyLayer, inputs: Sequence[NetworkInput]
) -> list[Activations]:
    by_size: dict[Size, list[int]] = defaultdict(list)
    for position, network_input in enumerate(inputs):
        by_size[network_input.size].append(position)
    results: dict[int, Activations] = {}
    for size, positions in by_size.items():
        resolved = net.layer(layer, size)
        max_bytes = memory_budget(net.device)
        batch_size = max_batch_size(net.survey(size), resolved.index, size, max_bytes)
        images = [inputs[position] for position in positions]
        batches = in_batches(images, batch_size, partial(_activations_of_batch, net, resolved))
        results |= zip(positions, chain.from_iterable(batches), strict=True)
    return [results[position] for position in range(len(inputs))]


def _activations_of_batch(
    net: Network, layer: Layer, inputs: Sequence[NetworkInput]
) -> list[Activations]:
    """The maps of a layer for images of one size, which run together."""
    net = net.for_images(inputs)
    recorded: list[npt.NDArray[np.float32]] = []
    with preserve_state(net.module), torch.no_grad():
        survey = net.survey(inputs[0].size)
        batch = stack_inputs(net, inputs, channels_last=survey.channels_last)
        listener = {layer.index: lambda maps: recorded.extend(maps.float().cpu().numpy().copy())}
        run_forward(net.module, survey, batch, listener)
    return [
        Activations(
            layer,
            maps.copy(),
            network_input.source,
            notes=(*net.remarks, *network_input.caveats),
        )
        for maps, network_input in zip(recorded, inputs, strict=True)
    ]


def resolve_spatial_layer(net: Network, layer: AnyLayer | None, size: Size) -> Layer:
    """The layer of this name, which must have maps; the last spatial layer, if none is given."""
    if layer is None:
        return last_spatial_layer(net, size)
    resolved = net.layer(layer, size)
    if not _is_spatial(resolved):
        raise ModelError(
            f"no heat map of {resolved.name}: it has {resolved.channels} channels of "
            f"{format_size(resolved.size)}; {last_spatial_layer(net, size).name} is the "
            "last layer with maps"
        )
    return resolved


def last_spatial_layer(net: Network, size: Size) -> Layer:
    """The last layer whose maps have the size of the last convolution's maps.

    It includes the batch norm, the skip connection and the rectifier that follow the convolution,
    but not the pool that shrinks its maps. Of a known detector or segmenter, it is the last one of
    the backbone: what follows has maps of several sizes, or of single boxes. Of a detector with a
    pyramid, it is the finest one that is read from stride 8. Of a transformer, it is the last one
    that the output reads.
    """
    survey = net.survey(size)
    layers = layers_for_heat(net, survey)
    of_transformer = layer_for_heat(survey) if layers is survey.layers else None
    if of_transformer is not None:
        return of_transformer
    convolutions = [layer for layer in layers if layer.kind == "conv" and _is_spatial(layer)]
    if not convolutions:
        raise ModelError(
            f"no heat map of {net.name}: it has no convolution with maps larger than 1x1; "
            "saliency works on any network"
        )
    last = convolutions[-1]
    return [layer for layer in layers if layer.size == last.size and layer.index >= last.index][-1]


def _is_spatial(layer: Layer) -> bool:
    long_axes = sum(length > 1 for length in layer.size)
    needed = 1 if layer.kind == "conv" else min(len(layer.size), IMAGE_RANK)
    return long_axes >= needed
