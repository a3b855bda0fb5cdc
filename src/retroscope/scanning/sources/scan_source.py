"""The images of a scan and what comes with each, as a call or a command names them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retroscope.network import Network
from retroscope.scanning.sources import (
    ImageList,
    ImageSource,
    ShardedSource,
    list_images,
    list_shards,
)
from retroscope.scanning.sources.paired_images import OtherSources, pair_images


@dataclass(frozen=True)
class ScanSource:
    """The images of a scan, as `scan` takes them."""

    images: ImageSource
    glob: str | None = None
    labels: str | Path | None = None
    class_folder: str | None = None
    inputs: OtherSources | None = None

    @property
    def keywords(self) -> dict[str, Any]:
        """How the images are selected and labelled: keywords of `make_plan`."""
        return {"glob": self.glob, "labels": self.labels, "class_folder": self.class_folder}

    def list_images(self, net: Network) -> ImageList:
        """The images, each with what the network takes beside it."""
        takes_volumes = net.preprocessing.takes_volumes
        images = list_images(self.images, **self.keywords, takes_volumes=takes_volumes)
        return pair_images(net, images, self.inputs)

    def list_shards(self, net: Network) -> ShardedSource:
        """The parts of the source, without what comes with their images."""
        takes_volumes = net.preprocessing.takes_volumes
        return list_shards(self.images, **self.keywords, takes_volumes=takes_volumes)
