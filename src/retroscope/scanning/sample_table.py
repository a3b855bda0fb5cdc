"""The sample of a scan as an atlas stores it, and the hits that are chosen from it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from retroscope.atlas.schema import Ranking
from retroscope.atlas.writer import AtlasWriter
from retroscope.results.layers import Layer
from retroscope.scanning.hit_table import Array, HitTable
from retroscope.scanning.statistics.image_sample import ImageSample, choose_strata


@dataclass(frozen=True, eq=False)
class SampleTable:
    """The images of a sample in the order of their hashes, and of each channel the maxima in them.

    `images` are their numbers, `scores` and `positions` (channels, images); a score without
    a finite value is minus infinity.
    """

    images: Array
    scores: Array
    positions: Array

    @classmethod
    def of_sample(cls, sample: ImageSample) -> Self:
        """The sample of some channels."""
        tensors = sample.to_tensors()
        images, scores, positions = (
            tensors[name].cpu().numpy() for name in ("number", "score", "position")
        )
        return cls(images, scores.T, positions.T)

    def put_layer(self, writer: AtlasWriter, layer: Layer) -> HitTable:
        """Writes the sample of a layer, and the hits that an atlas shows of it; returns these."""
        scores = np.where(self.scores > -np.inf, self.scores, np.float32(np.nan))
        writer.put_sample(layer.name, scores, self.positions)
        hits = self.hits(layer)
        writer.put_hits(layer.name, Ranking.SAMPLE, hits.scores, **hits.columns)
        return hits

    def hits(self, layer: Layer) -> HitTable:
        """The images at some quantiles of each channel, and a random one.

        A score of zero is a hit, too: it shows what does not excite the channel.
        """
        strata = choose_strata(self.scores)
        places = np.maximum(strata, 0)
        positions = np.take_along_axis(self.positions, places, axis=1)
        return HitTable(
            np.take_along_axis(self.scores, places, axis=1).astype(np.float64),
            np.where(strata >= 0, self.images[places], -1),
            *np.divmod(positions, layer.size[-1]),
        )
