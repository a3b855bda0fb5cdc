"""Which channels of a layer are like a channel: the same images, and the same classes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retroscope.atlas import queries
from retroscope.atlas.reader import Atlas
from retroscope.results.values import Layer
from retroscope.web.site.selectivity import Means, means_of

_CANDIDATES = 64


@dataclass(frozen=True)
class Likeness:
    """A channel like another one: how many images their hits share, and the cosine between the
    mean maxima of the classes; NaN where there are no classes.
    """

    channel: int
    shared: int
    classes: float


def similar(atlas: Atlas, layer: Layer, channel: int, *, count: int = 6) -> list[Likeness]:
    """The channels of the same layer most like this one, among those that share images with it.

    They are ordered by the share of common images, and by their classes between equals.
    """
    rows = queries.sharing(atlas, layer, channel, _CANDIDATES)
    candidates = [other for other, _ in rows]
    blobs = queries.class_means_of(atlas, layer, [channel, *candidates])
    cosines = _cosines(blobs, channel)
    found = [Likeness(other, shared, cosines.get(other, np.nan)) for other, shared in rows]
    return sorted(found, key=_alike_first)[:count]


def cosines(one: Means, other: Means) -> npt.NDArray[np.float64]:
    """Of the angle between the profiles in each row of two tables, above zero and where both are
    known; NaN where one is 0.

    >>> cosines(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [1.0, 0.0]
    """
    known = np.isfinite(one) & np.isfinite(other)
    a, b = (np.where(known, each, 0).clip(min=0) for each in (one, other))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    along = np.einsum("ij,ij->i", a, b)
    return np.where(lengths > 0, along / np.where(lengths > 0, lengths, 1), np.nan)


def _cosines(blobs: dict[int, bytes], channel: int) -> dict[int, float]:
    if channel not in blobs:
        return {}
    rows = means_of(blobs)
    own = rows[list(blobs).index(channel)]
    return dict(zip(blobs, cosines(own[None], rows).tolist(), strict=True))


def _alike_first(likeness: Likeness) -> tuple[float, int]:
    profile = 0.0 if np.isnan(likeness.classes) else likeness.classes
    return -(likeness.shared / 9 + profile), likeness.channel
