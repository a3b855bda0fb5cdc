"""What is scored, from what, and what is still missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from retroscope.atlas.reader import Atlas
from retroscope.atlas.schema import ImageStatus
from retroscope.atlas.writer import AtlasWriter
from retroscope.methods.activations import last_spatial_layer
from retroscope.methods.atlas_match import fingerprint
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.results.unit_numbers import NUMBERS
from retroscope.scanning.scoring.concept_masks import ConceptMasks
from retroscope.scanning.scoring.image_numbers import (
    ScoredImages,
    Values,
    embed_images,
    images_with_mask,
)
from retroscope.scanning.scoring.map_runs import InputCache
from retroscope.scanning.sources import ImageList

HIT_GROUPS = ("faithfulness", "dependence", "patch")
"""Numbers from the best hits of each channel; the others are from all images."""
DISSECTION = "dissection"


@dataclass(frozen=True, eq=False)
class ScoreRequest:
    """What a call of `score` is to compute. `hits` is how many of each channel are looked at."""

    atlas: Atlas
    writer: AtlasWriter
    net: Network
    image_list: ImageList
    layers: Sequence[Layer]
    groups: Sequence[str]
    hits: int
    workers: int
    embedding: Network | None = None
    masks: ConceptMasks | None = None

    @cached_property
    def cache(self) -> InputCache:
        return InputCache(self.net, self.image_list, workers=self.workers)

    @cached_property
    def images(self) -> ScoredImages:
        """The images that the scan has read."""
        indices = [row.id for row in self.atlas.images if row.status == ImageStatus.OK]
        return ScoredImages(self.net, self.image_list, indices, self.workers)

    @cached_property
    def masked_images(self) -> ScoredImages:
        """Those with a mask."""
        assert self.masks is not None
        indices = images_with_mask(self.images, self.masks)
        return ScoredImages(self.net, self.image_list, indices, self.workers)

    @property
    def embedded_images(self) -> ScoredImages:
        """The images for the network that says how similar they are."""
        net, images = self.embedding or self.net, self.images
        return ScoredImages(net, images.image_list, images.indices, images.workers)

    @cached_property
    def embeddings(self) -> Values:
        """A unit vector for each image."""
        return embed_images(self.embedded_images)

    def basis(self, group: str) -> str:
        """What the numbers of a group are computed from."""
        if group not in self._bases:
            self._bases[group] = self._describe_basis(group)
        return self._bases[group]

    @cached_property
    def _bases(self) -> dict[str, str]:
        return {}

    def _describe_basis(self, group: str) -> str:
        images = f"{len(self.images.indices)} images"
        if group == DISSECTION:
            assert self.masks is not None
            masked = self.masked_images.indices
            version = self.masks.fingerprint(self.image_list.keys[index] for index in masked)
            concepts = f"masks of {len(self.masks.names)} concepts (version {version})"
            return f"{concepts} in {len(masked)} of {images}"
        if group in HIT_GROUPS:
            projections = "" if group == "patch" else f", projections by {self.atlas.rules}"
            return f"the {self.hits} best hits{projections}"
        return f"{images}, embedding: {self._embedding_name()}"

    def _embedding_name(self) -> str:
        net = self.embedding or self.net
        name = f"{net.name} {last_spatial_layer(net, net.input_size).name}"
        if self.embedding is None:
            return f"{name}, of the scored network itself"
        return f"{name} (weights {fingerprint(net.module)[:8]})"

    def missing_channels(self, group: str, layer: Layer) -> list[int]:
        """The channels of a layer that lack a number of a group, computed from the same."""
        basis, complete = self.basis(group), set(range(layer.channels))
        for name in number_names(group):
            complete &= self.writer.channels_with_number(layer.name, name, basis)
        return sorted(set(range(layer.channels)) - complete)


def number_names(group: str) -> list[str]:
    """The numbers of a group."""
    return [kind.name for kind in NUMBERS if kind.group == group]
