"""The images of an atlas as the network takes them."""

from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class ScannedSource:
    """An atlas, the network that was scanned, and where the images of the scan are.

    `images`, `glob` and `inputs` are those of the scan, if its files have moved.
    """

    atlas: Atlas
    net: Network
    images: str | Path | None = None
    glob: str | None = None
    inputs: OtherSources | None = None

    def list_images(self) -> ImageList:
        """The images of the scan, with what comes with each. Raises if they have moved."""
        refuse_moved_images(self.atlas, self.images)
        images = list_scanned_images(self.atlas, self.images, glob=self.glob, labels=None)
        return pair_scanned_images(self.net, images, self.atlas, self.inputs)


class ScannedImages:
    """Reads images of an atlas by number: photographs from the atlas, others from their files.

    A photograph is stored as the network received it. Of other images only three channels are
    stored, in 8 bits, and nothing of what comes with an image.
    """

    def __init__(self, source: ScannedSource) -> None:
        self._source = source

    def read(self, number: int) -> NetworkInput:
        """The image as the network takes it."""
        atlas, net = self._source.atlas, self._source.net
        stored, preprocessing = atlas.images[number], net.preprocessing
        is_alone = not net.sample_names
        if is_alone and preprocessing.takes_photos and not _may_hold_numbers(stored.key):
            pixels = atlas.image_pixels(number)
            values = torch.from_numpy(preprocessing.to_input(pixels))
            return NetworkInput(values.to(net.dtype), pixels, stored.key)
        return read_input(net, self._list, number)[0]

    @cached_property
    def _list(self) -> ImageList:
        return self._source.list_images()


def _may_hold_numbers(key: str) -> bool:
    return PurePath(key).suffix.lower() in _NUMBER_SUFFIXES
