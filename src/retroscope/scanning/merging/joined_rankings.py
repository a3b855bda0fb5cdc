"""The rankings of several atlases that not every atlas has: by minimum, by class, the sample."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from retroscope.atlas.queries import join_queries, rankings
from retroscope.atlas.queries.join_queries import LayerHitRow
from retroscope.atlas.queries.query import check_lengths, damaged_error
from retroscope.atlas.queries.rankings import RankingFacts
from retroscope.atlas.reader import Atlas
from retroscope.atlas.schema import DEFAULT_RANKINGS, Ranking
from retroscope.results.layers import Layer
from retroscope.scanning.class_ranking_request import ClassRankingRequest
from retroscope.scanning.hit_table import Array, HitTable
from retroscope.scanning.merging.joined_hits import join_hits
from retroscope.scanning.merging.joined_images import JoinedImages
from retroscope.scanning.persist import RECTIFIER_KINDS
from retroscope.scanning.plan import stored_count
from retroscope.scanning.sample_table import SampleTable
from retroscope.scanning.statistics.image_sample import SAMPLE_IMAGES


def common_rankings(atlases: Sequence[Atlas]) -> list[Ranking]:
    """The rankings of all images that every atlas has."""
    shared = [RankingFacts.from_meta(atlas.meta).rankings for atlas in atlases]
    return [
        ranking
        for ranking in (*DEFAULT_RANKINGS, Ranking.MIN)
        if all(ranking in has for has in shared)
    ]


def join_layer_hits(
    atlases: Sequence[Atlas], ranking: Ranking, layer: Layer, *, starts: Sequence[int], top: int
) -> HitTable:
    """The best `top` of each channel of a layer in a ranking."""
    parts = [
        join_queries.layer_hits(atlas, join_queries.layer_id(atlas, layer.name), ranking)
        for atlas in atlases
    ]
    if ranking is not Ranking.MIN:
        return join_hits(parts, starts, channels=layer.channels, top=top)
    depths = [
        [row._replace(score=0.0 - row.score) for row in part]
        + _zero_minima(atlas, layer, part, start=start)
        for atlas, part, start in zip(atlases, parts, starts, strict=True)
    ]
    hits = join_hits(depths, starts, channels=layer.channels, top=top)
    return HitTable(0.0 - hits.scores, hits.images, hits.ys, hits.xs)


def _zero_minima(
    atlas: Atlas, layer: Layer, rows: Sequence[LayerHitRow], *, start: int
) -> list[LayerHitRow]:
    """Rows for the minima of zero among the lowest of an atlas, which are no hits.

    After a rectifier they are not stored, and yet go before those above zero. Joined, a row is an
    empty slot: of no image.
    """
    if layer.kind not in RECTIFIER_KINDS:
        return []
    number = join_queries.layer_id(atlas, layer.name)
    images = join_queries.layer_statistics(atlas, number, layer.channels)["images"]
    stored = Counter(row.channel for row in rows)
    top = stored_count(atlas.meta, "top")
    return [
        LayerHitRow(channel, 0.0, -1 - start, 0, 0)
        for channel, count in enumerate(images)
        for _ in range(min(top, int(str(count))) - stored[channel])
    ]


@dataclass(frozen=True, eq=False)
class JoinedSample:
    """The sampled images of all atlases, in the order of their hashes.

    `places` are where each image is among the samples of all atlases, one after the other.
    """

    atlases: Sequence[Atlas]
    images: Array
    hashes: Array
    places: Array

    @classmethod
    def join(cls, atlases: Sequence[Atlas], starts: Sequence[int]) -> Self | None:
        """The lowest hashes of all; None if an atlas has no sample."""
        if not all(
            Ranking.SAMPLE in RankingFacts.from_meta(atlas.meta).rankings for atlas in atlases
        ):
            return None
        rows = [
            (row.hash, start + row.image)
            for atlas, start in zip(atlases, starts, strict=True)
            for row in rankings.sample_images(atlas)
        ]
        places = sorted(range(len(rows)), key=rows.__getitem__)[:SAMPLE_IMAGES]
        hashes, images = np.array([rows[place] for place in places], np.int64).reshape(-1, 2).T
        return cls(atlases, images, hashes, np.array(places, np.int64))

    def layer_table(self, layer: Layer) -> SampleTable:
        """The maxima of a layer in the images of the sample."""
        parts = [_read_samples(atlas, layer) for atlas in self.atlases]
        scores, positions = (
            np.concatenate(tables, axis=1)[:, self.places] for tables in zip(*parts, strict=True)
        )
        return SampleTable(self.images, scores, positions)


def _read_samples(atlas: Atlas, layer: Layer) -> tuple[Array, Array]:
    """The maxima of a layer and their positions in the sample of an atlas: (channels, images)."""
    number = join_queries.layer_id(atlas, layer.name)
    rows = rankings.channel_samples(atlas, number, range(layer.channels))
    if len(rows) != layer.channels:
        raise damaged_error("samples of channels are missing")
    count = len(rankings.sample_images(atlas))
    scores, positions = [row.scores for row in rows], [row.positions for row in rows]
    check_lengths([*scores, *positions], 4 * count, "a sample")
    maxima = np.frombuffer(b"".join(scores), "<f4").reshape(layer.channels, count)
    places = np.frombuffer(b"".join(positions), "<i4").reshape(layer.channels, count)
    return np.where(np.isnan(maxima), np.float32(-np.inf), maxima), places


@dataclass(frozen=True, eq=False)
class JoinedClassRankings:
    """The rankings by class that can be joined: those of classes that every atlas ranks.

    An atlas without images of a class need not rank it.
    """

    atlases: Sequence[Atlas]
    images: JoinedImages

    @cached_property
    def _facts(self) -> list[RankingFacts]:
        return [RankingFacts.from_meta(atlas.meta) for atlas in self.atlases]

    @property
    def per_class(self) -> int:
        """The smallest number of images that an atlas ranks of a class."""
        return min((facts.per_class for facts in self._facts if facts.labels), default=0)

    @cached_property
    def labels(self) -> list[int]:
        """The classes, by their numbers in the joined atlas."""
        return [label for label in range(len(self.images.class_names)) if self._is_ranked(label)]

    @property
    def request(self) -> ClassRankingRequest:
        """What a scan of all images would have been asked for."""
        names = [self.images.class_names[label] for label in self.labels]
        if not names:
            return ClassRankingRequest()
        is_all = all(atlas.meta.get("ranked_classes") is None for atlas in self.atlases)
        return ClassRankingRequest(self.per_class, None if is_all else tuple(sorted(names)))

    def join(self, layer: Layer, label: int) -> HitTable:
        """The best images of a class for a layer."""
        parts = [
            join_queries.layer_class_hits(atlas, join_queries.layer_id(atlas, layer.name), number)
            if number is not None
            else []
            for atlas, number in zip(self.atlases, self._numbers(label), strict=True)
        ]
        starts = self.images.starts
        return join_hits(parts, starts, channels=layer.channels, top=self.per_class)

    def _is_ranked(self, label: int) -> bool:
        """Whether some atlas ranks a class, and all that have images of it."""
        parts = list(zip(self.atlases, self._facts, self._numbers(label), strict=True))
        is_ranked = [number in facts.labels for _, facts, number in parts]
        has_images = [
            number is not None and atlas.labels[number].images > 0 for atlas, _, number in parts
        ]
        return any(is_ranked) and all(
            ranked or not present for ranked, present in zip(is_ranked, has_images, strict=True)
        )

    def _numbers(self, label: int) -> Iterator[int | None]:
        """The number of a class in each atlas; None where it has no such class."""
        for numbers in self.images.class_numbers:
            yield list(numbers).index(label) if label in numbers else None
