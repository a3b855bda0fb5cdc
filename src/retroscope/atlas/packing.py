"""Arrays and results as rows of an atlas."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from retroscope.atlas.database import Row, as_text
from retroscope.atlas.pictures import encode_projection
from retroscope.atlas.schema import PENDING
from retroscope.results.values import Projection

Array = npt.NDArray[Any]

CHANNEL_NUMBERS = (
    *("images", "positions", "mean", "std", "maximum"),
    *("fired_images", "fired_positions", "non_finite"),
)
"""The columns of `channels` that are numbers, in the order of the table."""


def label_rows(names: Sequence[str], labels: Sequence[int]) -> Iterator[Row]:
    """Every class with its number of images."""
    own = np.array([label for label in labels if label >= 0], np.int64)
    counts = np.bincount(own, minlength=len(names)).tolist()
    return zip(range(len(names)), map(as_text, names), counts, strict=True)


def image_rows(keys: Sequence[str], labels: Sequence[int]) -> Iterator[Row]:
    """Every image of a list, pending. A label below 0 is none, and so is an empty list."""
    known = labels if len(labels) else [-1] * len(keys)
    for number, (key, label) in enumerate(zip(keys, known, strict=True)):
        yield number, as_text(key), None if label < 0 else int(label), PENDING


def channel_rows(layer: int, count: int, arrays: Mapping[str, Array]) -> Iterator[Row]:
    """The statistics of every channel of a layer. SQLite keeps NULL for NaN."""
    numbers = [np.broadcast_to(arrays[name], count).tolist() for name in CHANNEL_NUMBERS]
    histograms = [row.tobytes() for row in arrays["histogram"].astype("<i8")]
    fired = numbers[CHANNEL_NUMBERS.index("fired_images")]
    tops = np.broadcast_to(arrays.get("top_label", np.array(-1)), count).tolist()
    labels = [None if top < 0 else top for top in tops]
    dead = [images == 0 for images in fired]
    for channel, row in enumerate(zip(*numbers, histograms, dead, labels, strict=True)):
        yield layer, channel, *row


def hit_rows(
    layer: int, ranked_by: str, scores: Array, *, images: Array, places: tuple[Array, Array]
) -> Iterator[Row]:
    """The taken slots of (channels, ranks); ranks count from 0 without a gap."""
    taken = images >= 0
    ranks = np.cumsum(taken, axis=1) - 1
    channels = np.broadcast_to(np.arange(len(taken))[:, None], taken.shape)
    columns = (array[taken].tolist() for array in (channels, ranks, scores, images, *places))
    for row in zip(*columns, strict=True):
        yield layer, ranked_by, *row


def class_rows(layer: int, mean_maximum: Array, fired_share: Array) -> Iterator[Row]:
    """Two blobs for each channel, of (labels, channels) turned round."""
    columns = (np.ascontiguousarray(array.T, "<f4") for array in (mean_maximum, fired_share))
    for channel, (own, share) in enumerate(zip(*columns, strict=True)):
        yield layer, channel, own.tobytes(), share.tobytes()


def projection_row(layer: int, image: int, projection: Projection) -> Row:
    """A projection of a unit with a channel and a position."""
    unit, pixels = projection.unit, projection.pixels
    assert unit.position is not None
    blob, peak = encode_projection(pixels)
    broken = int(pixels.size - np.isfinite(pixels).sum())
    notes = [*projection.notes]
    if broken:
        notes.append(f"{broken} values that were no finite number are kept as zero")
    return (
        *(layer, unit.channel, image, *unit.position, projection.rules),
        *(projection.activation, blob, peak, *pixels.shape, "\n".join(notes)),
    )
