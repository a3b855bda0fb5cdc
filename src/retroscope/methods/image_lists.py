"""Several images where a function takes one: a list of them, or a batch in one array."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from retroscope.engine.batching import NetworkInput
from retroscope.errors import RetroscopeError
from retroscope.methods.targets import applied_fit
from retroscope.network import AnyImage, Network
from retroscope.results.heat_maps import HeatMap

if TYPE_CHECKING:
    from typing_extensions import TypeIs

AnImage = TypeVar("AnImage", bound=AnyImage)
ImageList = list[AnImage] | tuple[AnImage, ...]
"""Several images, of any kinds and sizes."""

_BATCH_DIMENSIONS = 4


def is_image_list(image: object) -> "TypeIs[Sequence[AnyImage]]":
    """Whether these are several images: a list, a tuple, or an array with a dimension for them.

    >>> is_image_list(["a.jpg"]), is_image_list("a.jpg"), is_image_list(torch.ones(1, 3, 8, 8))
    (True, False, True)
    """
    if isinstance(image, torch.Tensor | np.ndarray):
        return image.ndim == _BATCH_DIMENSIONS
    return isinstance(image, list | tuple)


def prepare_list(net: Network, images: Iterable[AnyImage]) -> Iterator[NetworkInput]:
    """The network's input for each image, one at a time. An error names the image's position."""
    for position, image in enumerate(images):
        try:
            network_input = net.prepare(image)
        except RetroscopeError as error:
            error.args = (f"images[{position}]: {error}",)
            raise
        yield network_input


def add_fits(
    net: Network, images: Iterable[AnyImage], heat_maps: Iterable[HeatMap]
) -> list[HeatMap]:
    """The heat maps of prepared images, with how each image was fitted to the network."""
    return [
        replace(heat, fit=applied_fit(net, image))
        for image, heat in zip(images, heat_maps, strict=True)
    ]
