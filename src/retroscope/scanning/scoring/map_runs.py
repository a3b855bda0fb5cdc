"""Running images through a network up to one layer: whole maps, or single activations."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from retroscope.engine.batching import NetworkInput
from retroscope.engine.forward import run_forward
from retroscope.engine.isolation import preserve_state
from retroscope.engine.memory import in_batches
from retroscope.errors import ImageError
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.scanning.image_files import read_input
from retroscope.scanning.loading import load_batches
from retroscope.scanning.one_pass import choose_batch_size
from retroscope.scanning.sources import ImageList
from retroscope.unit import Unit

_MAX_BATCH_SIZE, _CACHED_IMAGES = 32, 384
_SAMPLED_IMAGES = 64


@dataclass(frozen=True, eq=False)
class MapBatch:
    """The images of a batch, by index, and the maps of a layer for them."""

    indices: Sequence[int]
    maps: torch.Tensor


def iterate_maps(
    net: Network, layer: Layer, image_list: ImageList, *, indices: Sequence[int], workers: int
) -> Iterator[MapBatch]:
    """The maps of a layer (images, channels, height, width) for images of a list, in order.

    Raises if one cannot be read any more.
    """
    size = _batch_size(net, layer)
    batches = (indices[start : start + size] for start in range(0, len(indices), size))
    for batch in load_batches(net, image_list, batches, workers=workers):
        if batch.failures:
            raise ImageError(f"{batch.failures[0][1]}; the scan has read it, restore it")
        yield MapBatch(batch.indices, run_layer(net, layer, batch.images))


def run_layer(net: Network, layer: Layer, images: Sequence[NetworkInput]) -> torch.Tensor:
    """The maps of a layer for images (images, channels, height, width)."""

    def run(part: Sequence[NetworkInput]) -> torch.Tensor:
        return _run(net.for_images(part), layer, [image.tensor for image in part])

    return torch.cat(list(in_batches(images, _batch_size(net, layer), run)))


def unit_activations(
    net: Network, layer: Layer, requests: Sequence[tuple[torch.Tensor, Unit]]
) -> list[float]:
    """The activation of a unit, which has a position, for each input.

    The network is that for their image, if it takes several inputs.
    """

    def run(part: Sequence[tuple[torch.Tensor, Unit]]) -> list[float]:
        maps = _run(net, layer, [tensor for tensor, _ in part])
        return [_value_at(values, unit) for values, (_, unit) in zip(maps, part, strict=True)]

    batches = in_batches(requests, _batch_size(net, layer), run)
    return [value for batch in batches for value in batch]


def _value_at(maps: torch.Tensor, unit: Unit) -> float:
    assert unit.channel is not None
    assert unit.position is not None
    return float(maps[(unit.channel, *unit.position)])


def _run(net: Network, layer: Layer, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """The maps of a layer for one batch."""
    recorded: list[torch.Tensor] = []
    survey = net.survey()
    layout = torch.channels_last if survey.channels_last else torch.contiguous_format
    batch = torch.stack(list(tensors)).to(net.device, memory_format=layout)
    listener = {layer.index: lambda maps: recorded.append(maps.float().cpu().clone())}
    with preserve_state(net.module), torch.no_grad():
        run_forward(net.module, survey, batch, listener)
    return recorded[0]


def _batch_size(net: Network, layer: Layer) -> int:
    return min(choose_batch_size(net, [layer]), _MAX_BATCH_SIZE)


class InputCache:
    """The images of a list as the network takes them; the last ones used are kept."""

    def __init__(self, net: Network, image_list: ImageList, *, workers: int) -> None:
        self.net, self._image_list, self._workers = net, image_list, workers
        self._inputs: OrderedDict[int, NetworkInput] = OrderedDict()

    def read(self, images: Sequence[int]) -> dict[int, NetworkInput]:
        """These images by index, read side by side."""
        missing = [image for image in dict.fromkeys(images) if image not in self._inputs]
        with ThreadPoolExecutor(self._workers) as pool:
            self._inputs.update(zip(missing, pool.map(self._read, missing), strict=True))
        inputs = {image: self._inputs[image] for image in images}
        for image in inputs:
            self._inputs.move_to_end(image)
        while len(self._inputs) > _CACHED_IMAGES:
            self._inputs.popitem(last=False)
        return inputs

    def _read(self, image: int) -> NetworkInput:
        return read_input(self.net, self._image_list, image)[0]


def mean_colour(cache: InputCache, images: Sequence[int]) -> torch.Tensor:
    """The mean over all pixels of some of these images, as an input (channels, 1, 1); of volumes
    with one more dimension.

    Up to 64 images, evenly spaced in their list.
    """
    step = max(1, len(images) // _SAMPLED_IMAGES)
    inputs = cache.read(images[::step][:_SAMPLED_IMAGES])
    means = [image.tensor.double().flatten(1).mean(dim=1) for image in inputs.values()]
    return torch.stack(means).mean(dim=0).view(-1, *[1] * cache.net.rank)
