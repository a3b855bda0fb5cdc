"""Which channels of a layer are like a channel: the same images, and the same classes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retroscope.atlas.reader import Atlas
from retroscope.results import Layer
from retroscope.web import queries
from retroscope.web.selectivity import means_of

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


def cosine(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Of the angle between two profiles, above zero and where both are known; NaN where one is 0.

    >>> cosine(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    1.0
    """
    known = np.isfinite(one) & np.isfinite(other)
    a, b = one[known].clip(min=0), other[known].clip(min=0)
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths > 0 else float("nan")


def _cosines(blobs: dict[int, bytes], channel: int) -> dict[int, float]:
    if channel not in blobs:
        return {}
    rows = dict(zip(blobs, means_of(blobs), strict=True))
    return {other: cosine(rows[channel], row) for other, row in rows.items()}


def _alike_first(likeness: Likeness) -> tuple[float, int]:
    profile = 0.0 if np.isnan(likeness.classes) else likeness.classes
    return -(likeness.shared / 9 + profile), likeness.channel
