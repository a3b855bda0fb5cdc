"""The statistics of an atlas's channels, read one layer at a time."""

from collections.abc import Mapping
from functools import lru_cache

from retroscope.atlas.queries import channel_queries
from retroscope.atlas.reader import Atlas
from retroscope.atlas.row_decoding import stats_from_cells
from retroscope.errors import UnitError
from retroscope.results.layers import Layer
from retroscope.results.statistics import ChannelStats
from retroscope.results.unit_numbers import UnitName
from retroscope.unit import Unit, as_unit

_MAX_LAYERS = 256


class ChannelStatsCache:
    """Answers many requests for statistics of single channels.

    Only what rarity is computed from is read: the images, the maximum and the histogram.
    """

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas
        self._layer_stats = lru_cache(maxsize=_MAX_LAYERS)(self._read)

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self._atlas.layers

    @property
    def meta(self) -> Mapping[str, object]:
        return self._atlas.meta

    def stats(self, unit: Unit | str) -> ChannelStats:
        unit = as_unit(unit)
        stats = self._layer_stats(unit.layer).get(unit.channel or 0)
        if stats is None:
            raise UnitError(f"no statistics of {unit} in the atlas")
        return stats

    def _read(self, layer: str) -> dict[int, ChannelStats]:
        rows = channel_queries.channel_histograms(self._atlas, self._atlas.layer(layer))
        return {row.channel: stats_from_cells(row._asdict()) for row in rows}

    def names(self, unit: Unit | str) -> tuple[UnitName, ...]:
        """What a channel is called."""
        return self._atlas.names(unit)
