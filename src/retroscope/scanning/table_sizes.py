"""How much memory and disk space the numbers of a scan take."""

from collections.abc import Sequence
from dataclasses import dataclass

from retroscope.results.layers import Layer
from retroscope.scanning.class_ranking_request import ClassRankingRequest
from retroscope.scanning.statistics.class_sums import CLASS_BYTES
from retroscope.scanning.statistics.exact_sums import DIGITS
from retroscope.scanning.statistics.image_sample import SAMPLE_BYTES, SAMPLE_HITS, SAMPLE_IMAGES
from retroscope.scanning.statistics.topk import HIT_BYTES

_RANKINGS = 3
_COUNTS_BYTES, _SUM_BYTES = 64 * 4 + 64, 4 * DIGITS * 8
"""Of the histogram and counts of a channel, and of its four exact sums, in memory."""
_HIT_ROW, _CLASS_HIT_ROW, _CHANNEL_ROW, _NUMBER_ROW, _CLASS_STATISTICS = 64, 32, 700, 160, 8
"""What a row takes on disk, with those of its indexes, and the statistics of a class."""


@dataclass(frozen=True)
class TableSizes:
    """What is accumulated for each channel.

    `hits` of each ranking, the maxima in `sampled` images, the sums of `classes`, and `class_hits`
    in the rankings of all classes together.
    """

    channels: int = 0
    hits: int = 0
    sampled: int = 0
    classes: int = 0
    class_hits: int = 0

    @property
    def rows(self) -> int:
        """How many rows the atlas has of them."""
        per_channel = _RANKINGS * self.hits + SAMPLE_HITS + 2 + bool(self.classes)
        return self.channels * (per_channel + self.class_hits)

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
        return self.channels * self.class_hits * _CLASS_HIT_ROW

    @property
    def memory_bytes(self) -> int:
        """The memory that all of it takes."""
        per_channel = _RANKINGS * self.hits * HIT_BYTES + self.sampled * SAMPLE_BYTES
        per_channel += _COUNTS_BYTES + _SUM_BYTES
        return self.channels * per_channel + self.class_bytes + self.class_hit_bytes

    @property
    def disk_bytes(self) -> int:
        """What all of it takes on disk."""
        per_channel = (_RANKINGS * self.hits + SAMPLE_HITS) * _HIT_ROW + _CHANNEL_ROW
        per_channel += self.sampled * SAMPLE_BYTES
        if self.classes:
            per_channel += self.classes * _CLASS_STATISTICS + _NUMBER_ROW
        return self.channels * per_channel + self.class_hit_disk


def table_sizes(
    layers: Sequence[Layer],
    class_names: Sequence[str],
    *,
    images: int,
    top: int,
    class_rankings: ClassRankingRequest | None = None,
) -> TableSizes:
    """Of a scan of so many images, with statistics of these classes."""
    ranked = class_rankings or ClassRankingRequest()
    return TableSizes(
        sum(layer.channels for layer in layers),
        hits=min(top, images),
        sampled=min(SAMPLE_IMAGES, images),
        classes=len(class_names),
        class_hits=ranked.per_class * ranked.count(class_names),
    )
