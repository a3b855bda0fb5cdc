"""How much memory and disk space the numbers of a scan take."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from retroscope.results.layers import Layer
from retroscope.scanning.class_ranking_request import ClassRankingRequest
from retroscope.scanning.persist import RECTIFIER_KINDS
from retroscope.scanning.sources import ImageList
from retroscope.scanning.statistics.class_sums import CLASS_BYTES
from retroscope.scanning.statistics.exact_sums import DIGITS
from retroscope.scanning.statistics.image_sample import SAMPLE_BYTES, SAMPLE_HITS, SAMPLE_IMAGES
from retroscope.scanning.statistics.topk import HIT_BYTES

_RANKINGS = 3
_COUNTS_BYTES, _SUM_BYTES = 64 * 4 + 64, 4 * DIGITS * 8
"""Of the histogram and counts of a channel, and of its four exact sums, in memory."""

_HIT_ROW, _CLASS_HIT_ROW, _CHANNEL_ROW, _NUMBER_ROW = 52, 31, 660, 180
"""What a row takes on disk, with those of its indexes, as measured: `dbstat` of SQLite."""
_IMAGE_ROW, _PROJECTION_ROW, _KEY_ROW, _BLOB_ROW, _CLASS_STATISTICS = 60, 120, 22, 9, 8
"""Of an image without its name, of a projection without its pixels, of an index by layer and
channel, of a row with one blob without that, and of a class in the statistics of a channel."""
_PAGE, _USABLE, _CELL, _LONGEST = 4096, 4088, 7, 4061
_CUT_ROW = 1080
"""What rows that are cut take more than their bytes, on average over their lengths."""
_EMPTY_ATLAS = 26 * _PAGE
"""Each table and each index has a page at least."""


def stored_row_bytes(payload: float) -> float:
    """What a row takes in a table of SQLite, on average over rows of about so many bytes.

    A page of 4,096 bytes holds whole rows, so those of more than half a page have one each. Longer
    ones are cut: one piece shares a page with others, and the rest has pages of its own.

    >>> stored_row_bytes(3000)
    4096.0
    """
    if payload > _LONGEST:
        return payload + _CUT_ROW
    return _PAGE / max(_USABLE / (payload + _CELL) - 0.5, 1.0)


def _alike_row_bytes(payload: int) -> float:
    """The same of rows that are all as long."""
    return _PAGE / (_USABLE // (payload + _CELL)) if payload <= _LONGEST else payload + _CUT_ROW


def stored_image_bytes(blob: float) -> float:
    """What an image takes on disk, encoded in so many bytes."""
    return stored_row_bytes(blob + _BLOB_ROW)


def stored_projection_bytes(blob: float) -> float:
    """What a projection takes on disk, encoded in so many bytes."""
    return stored_row_bytes(blob + _PROJECTION_ROW / 2) + _PROJECTION_ROW / 2


@dataclass(frozen=True)
class TableSizes:
    """What is accumulated for each channel.

    `hits` of each ranking, the maxima in `sampled` images, the sums of `classes`, and `class_hits`
    in the rankings of all classes together, of which `stored_class_hits` are those of images that
    there are. After a rectifier, a minimum of zero is no hit, so `rectified` channels have none by
    minimum. The names of the `images` have `key_bytes` each.
    """

    channels: int = 0
    hits: int = 0
    sampled: int = 0
    classes: int = 0
    class_hits: int = 0
    stored_class_hits: int = 0
    rectified: int = 0
    images: int = 0
    key_bytes: float = 0.0

    @property
    def rows(self) -> int:
        """How many rows the atlas has of them."""
        per_channel = SAMPLE_HITS + 2 + bool(self.classes) + self.stored_class_hits
        return self.ranked_hits + self.channels * per_channel

    @property
    def ranked_hits(self) -> int:
        """How many hits there are by maximum, by mean and by minimum."""
        return self.hits * (_RANKINGS * self.channels - self.rectified)

    @property
    def class_bytes(self) -> int:
        """The memory that the sums of classes take, if all occur."""
        return self.channels * self.classes * CLASS_BYTES

    @property
    def class_hit_bytes(self) -> int:
        """The memory that the rankings by class take, if all occur."""
        return self.channels * self.class_hits * HIT_BYTES

    @property
    def class_hit_disk(self) -> int:
        """What the rankings by class take on disk."""
        return self.channels * self.stored_class_hits * _CLASS_HIT_ROW

    @property
    def memory_bytes(self) -> int:
        """The memory that all of it takes."""
        per_channel = _RANKINGS * self.hits * HIT_BYTES + self.sampled * SAMPLE_BYTES
        per_channel += _COUNTS_BYTES + _SUM_BYTES
        return self.channels * per_channel + self.class_bytes + self.class_hit_bytes

    @property
    def disk_bytes(self) -> int:
        """What all of it takes on disk, without images and projections."""
        hits = (self.ranked_hits + SAMPLE_HITS * self.channels) * _HIT_ROW + self.class_hit_disk
        per_channel = _CHANNEL_ROW + _blob_row(self.sampled * SAMPLE_BYTES)
        if self.classes:
            per_channel += _blob_row(self.classes * _CLASS_STATISTICS) + _NUMBER_ROW
        images = self.images * (_IMAGE_ROW + self.key_bytes)
        return round(_EMPTY_ATLAS + hits + self.channels * per_channel + images)


def _blob_row(blob: int) -> float:
    """Of a channel, with its row in the index."""
    return _alike_row_bytes(blob + _BLOB_ROW) + _KEY_ROW


def table_sizes(
    layers: Sequence[Layer],
    image_list: ImageList,
    *,
    images: int,
    top: int,
    classes: bool = True,
    class_rankings: ClassRankingRequest | None = None,
) -> TableSizes:
    """Of a scan of so many images, of which the list may be the first; with their `classes`."""
    ranked = class_rankings or ClassRankingRequest()
    names = image_list.class_names if classes else ()
    labels = ranked.labels(names)
    counts, listed = Counter(image_list.labels), max(len(image_list.keys), 1)
    stored = sum(min(ranked.per_class, counts[label] * images // listed) for label in labels)
    return TableSizes(
        sum(layer.channels for layer in layers),
        hits=min(top, images),
        sampled=min(SAMPLE_IMAGES, images),
        classes=len(names),
        class_hits=ranked.per_class * len(labels),
        stored_class_hits=stored,
        rectified=sum(layer.channels for layer in layers if layer.kind in RECTIFIER_KINDS),
        images=images,
        key_bytes=_mean_length(image_list.keys),
    )


_FEW_KEYS = 1000


def _mean_length(keys: Sequence[str]) -> float:
    step = max(len(keys) // _FEW_KEYS, 1)
    return fmean(len(key) for key in keys[::step]) if keys else 0.0
