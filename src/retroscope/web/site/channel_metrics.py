"""How selective a channel is for one class, and which channels of a layer are similar to it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retroscope.atlas.queries import channel_queries
from retroscope.atlas.reader import Atlas
from retroscope.results.layers import Layer

ClassMeans = npt.NDArray[np.float64]
"""The mean maximum of every class, a row for each channel; NaN for a class without images."""
_CANDIDATES = 64
_HITS = 9


@dataclass(frozen=True)
class SimilarChannel:
    """A channel similar to a given one.

    `shared_images` counts the images among the hits of both. `class_similarity` is the cosine
    between their mean maxima over the classes, NaN without classes.
    """

    channel: int
    shared_images: int
    class_similarity: float


def decode_class_means(blobs: Mapping[int, bytes]) -> ClassMeans:
    """The class means of channels as the atlas stores them, in the order of the mapping."""
    if not blobs:
        return np.zeros((0, 0))
    values = np.frombuffer(b"".join(blobs.values()), "<f4")
    return values.reshape(len(blobs), -1).astype(np.float64)


def class_selectivity(means: ClassMeans) -> npt.NDArray[np.float64]:
    """The class selectivity index, (a - b) / (a + b), of each channel (Morcos et al. 2018).

    `a` is the mean maximum of the strongest class, `b` the mean over the other classes: 0 if all
    classes are equal, 1 if only one class excites the channel. NaN if no class does, or with fewer
    than two classes.

    >>> class_selectivity(np.array([[3.0, 1.0, 1.0], [2.0, 2.0, 2.0]])).tolist()
    [0.5, 0.0]
    """
    has_images = np.isfinite(means)
    positive = np.where(has_images, means, 0).clip(min=0)
    class_count = has_images.sum(axis=1)
    strongest = positive.max(axis=1, initial=0)
    rest = (positive.sum(axis=1) - strongest) / np.maximum(class_count - 1, 1)
    total = strongest + rest
    index = (strongest - rest) / np.where(total > 0, total, 1)
    return np.where((total > 0) & (class_count > 1), index, np.nan)


def cosine_similarity(first: ClassMeans, second: ClassMeans) -> npt.NDArray[np.float64]:
    """The cosine between the rows of two tables; NaN if a row has no positive value.

    Negative values count as 0; classes without images in either table are left out.

    >>> cosine_similarity(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [1.0, 0.0]
    """
    has_images = np.isfinite(first) & np.isfinite(second)
    a, b = (np.where(has_images, means, 0).clip(min=0) for means in (first, second))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = np.einsum("ij,ij->i", a, b)
    return np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1), np.nan)


def find_similar_channels(
    atlas: Atlas, layer: Layer, channel: int, *, count: int = 6
) -> list[SimilarChannel]:
    """The channels of the same layer most similar to this one, among those that share images."""
    rows = channel_queries.channels_sharing_images(atlas, layer, channel, count=_CANDIDATES)
    candidates = [row.channel for row in rows]
    blobs = channel_queries.class_means(atlas, layer, [channel, *candidates])
    similarities = _class_similarities(blobs, channel)
    channels = [
        SimilarChannel(row.channel, row.shared, similarities.get(row.channel, np.nan))
        for row in rows
    ]
    return sorted(channels, key=_similarity_order)[:count]


def _class_similarities(blobs: dict[int, bytes], channel: int) -> dict[int, float]:
    if channel not in blobs:
        return {}
    means = decode_class_means(blobs)
    row = means[list(blobs).index(channel)]
    return dict(zip(blobs, cosine_similarity(row[None], means).tolist(), strict=True))


def _similarity_order(similar: SimilarChannel) -> tuple[float, int]:
    """By the share of common images plus the similarity over the classes, highest first."""
    profile = 0.0 if np.isnan(similar.class_similarity) else similar.class_similarity
    return -(similar.shared_images / _HITS + profile), similar.channel
