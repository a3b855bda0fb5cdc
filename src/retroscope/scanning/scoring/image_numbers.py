"""Numbers of the channels of a layer from all images: similarity of images, and dissection."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
import torch

from retroscope.geometry import ReceptiveField
from retroscope.methods.activations import last_spatial_layer
from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.scanning.scoring.concept_masks import ConceptMasks, refuse_other_shape
from retroscope.scanning.scoring.dissection import (
    BestConcept,
    ConceptCounts,
    LabelMap,
    LargestValues,
    best_concepts,
    concept_planes,
    partners,
    upsample,
)
from retroscope.scanning.scoring.map_runs import MapBatch, iterate_maps
from retroscope.scanning.scoring.similarity_numbers import (
    Score,
    interpretability,
    unit_vectors,
)
from retroscope.scanning.sources import ImageList

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoredImages:
    """The images of a list that numbers are computed from, and the network that sees them."""

    net: Network
    image_list: ImageList
    indices: Sequence[int]
    workers: int


def embed_images(images: ScoredImages) -> Values:
    """A unit vector for each image: the means of the network's last maps."""
    layer = last_spatial_layer(images.net, images.net.input_size)
    means = [batch.maps.double().flatten(2).mean(dim=2) for batch in _iterate(images, layer)]
    return unit_vectors(torch.cat(means).numpy())


@dataclass(frozen=True, eq=False)
class LayerSummary:
    """The maximum of each channel in each image (images, channels), and the values above which its
    strongest positions are.
    """

    maxima: Values
    thresholds: torch.Tensor


def summarise_layer(images: ScoredImages, layer: Layer) -> LayerSummary:
    """One pass over the images."""
    positions = len(images.indices) * prod(layer.size)
    largest = LargestValues(layer.channels, positions)
    maxima = np.zeros((len(images.indices), layer.channels))
    start = 0
    for batch in _iterate(images, layer):
        finite = torch.where(batch.maps.isfinite(), batch.maps, -torch.inf)
        maxima[start : start + len(batch.indices)] = finite.flatten(2).amax(dim=2).double().numpy()
        largest.add(batch.maps)
        start += len(batch.indices)
    return LayerSummary(maxima, largest.thresholds())


def interpretability_scores(maxima: Values, embeddings: Values) -> list[Score]:
    """The machine interpretability score of each channel."""
    return [interpretability(column, embeddings) for column in maxima.T]


def dissect_layer(
    images: ScoredImages, layer: Layer, masks: ConceptMasks, thresholds: torch.Tensor
) -> list[BestConcept]:
    """The concept that each channel matches best, by a pass over the images with a mask."""
    count, concepts = len(images.indices), len(masks.names)
    counts = ConceptCounts.empty(count, layer.channels, concepts)
    chance = ConceptCounts.empty(count, layer.channels, concepts) if count > 1 else None
    reader, others = MaskReader(images, masks), partners(count)
    order = 0
    for batch in _iterate(images, layer):
        for maps in batch.maps:
            strong = _strong_pixels(maps, layer.field, reader.size, thresholds)
            counts.add(order, strong, reader.planes(order))
            if chance is not None:
                chance.add(order, strong, reader.planes(others[order]))
            order += 1
    return best_concepts(counts, chance)


def _strong_pixels(
    maps: torch.Tensor, field: ReceptiveField, size: tuple[int, int], thresholds: torch.Tensor
) -> torch.Tensor:
    """Where each channel is above its threshold (channels, pixels); NaN never is."""
    return upsample(maps, field, size).flatten(1) > thresholds[:, None]


class MaskReader:
    """The concepts under the pixels of the scored images, by the place of an image among them."""

    def __init__(self, images: ScoredImages, masks: ConceptMasks) -> None:
        self._images, self._masks = images, masks
        height, width = images.net.input_size
        self.size = height, width

    def planes(self, order: int) -> torch.Tensor:
        """Where each concept is (pixels, concepts)."""
        return concept_planes(self.labels(order), self._masks.numbers)

    def labels(self, order: int) -> LabelMap:
        index, image_list = self._images.indices[order], self._images.image_list
        key = image_list.keys[index]
        refuse_other_shape(image_list, index, self._masks.path(key))
        return self._masks.read(key, self._images.net.preprocessing.fit)


def images_with_mask(images: ScoredImages, masks: ConceptMasks) -> list[int]:
    """The images among these that have a mask."""
    keys = images.image_list.keys
    return [index for index in images.indices if masks.path(keys[index]) is not None]


def _iterate(images: ScoredImages, layer: Layer) -> Iterator[MapBatch]:
    return iterate_maps(
        images.net, layer, images.image_list, indices=images.indices, workers=images.workers
    )
