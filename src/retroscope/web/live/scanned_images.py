"""The images of an atlas as the network takes them."""

from functools import cached_property
from pathlib import Path, PurePath

import torch

from retroscope.atlas.reader import Atlas
from retroscope.engine.batching import NetworkInput
from retroscope.network import Network
from retroscope.scanning.illustrate import list_scanned_images
from retroscope.scanning.image_files import read_input, refuse_moved_images
from retroscope.scanning.sources import ImageList
from retroscope.scanning.sources.paired_images import OtherSources, pair_scanned_images

_NUMBER_SUFFIXES = frozenset((".npy", ".tif", ".tiff"))
"""Of files that may hold more than their stored image shows."""


class ScannedImages:
    """Reads images of an atlas by number: photographs from the atlas, others from their files.

    A photograph is stored as the network received it. Of other images only three channels are
    stored, in 8 bits, and nothing of what comes with an image. `images`, `glob` and `inputs` are
    those of the scan, if its files have moved.
    """

    def __init__(
        self,
        atlas: Atlas,
        net: Network,
        images: str | Path | None = None,
        *,
        glob: str | None = None,
        inputs: OtherSources | None = None,
    ) -> None:
        self._atlas, self._net, self._images, self._glob = atlas, net, images, glob
        self._inputs = inputs

    def read(self, number: int) -> NetworkInput:
        """The image as the network takes it."""
        stored, preprocessing = self._atlas.images[number], self._net.preprocessing
        is_alone = not self._net.sample_names
        if is_alone and preprocessing.takes_photos and not _may_hold_numbers(stored.key):
            pixels = self._atlas.image_pixels(number)
            values = torch.from_numpy(preprocessing.to_input(pixels))
            return NetworkInput(values.to(self._net.dtype), pixels, stored.key)
        return read_input(self._net, self._list, number)[0]

    @cached_property
    def _list(self) -> ImageList:
        refuse_moved_images(self._atlas, self._images)
        images = list_scanned_images(self._atlas, self._images, glob=self._glob, labels=None)
        return pair_scanned_images(self._net, images, self._atlas, self._inputs)


def _may_hold_numbers(key: str) -> bool:
    return PurePath(key).suffix.lower() in _NUMBER_SUFFIXES
