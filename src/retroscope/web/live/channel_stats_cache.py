"""How the channels of a layer respond over all images of an atlas, read a layer at a time."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from retroscope.atlas import queries
from retroscope.atlas.reader import Atlas
from retroscope.errors import UnitError
from retroscope.results.layers import Layer
from retroscope.results.statistics import ChannelStats
from retroscope.unit import Unit

_LAYERS_KEPT = 256


class Remembered:
    """An atlas to compare an image with, asked for thousands of channels at once."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas
        self._of_layer = lru_cache(maxsize=_LAYERS_KEPT)(self._read)

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self._atlas.layers

    @property
    def meta(self) -> Mapping[str, object]:
        return self._atlas.meta

    def stats(self, unit: Unit | str) -> ChannelStats:
        """How a channel responds over all images, its classes left out."""
        asked = Unit.parse(unit) if isinstance(unit, str) else unit
        found = self._of_layer(asked.layer).get(asked.channel or 0)
        if found is None:
            raise UnitError(f"the atlas has nothing on {asked}")
        return found

    def _read(self, layer: str) -> dict[int, ChannelStats]:
        rows = queries.histograms(self._atlas, self._atlas.layer(layer))
        return {
            channel: ChannelStats(
                images=images,
                positions=0,
                mean=float("nan"),
                std=float("nan"),
                maximum=float("nan") if maximum is None else maximum,
                fired_images=fired,
                fired_positions=0,
                non_finite=0,
                histogram=np.frombuffer(histogram, "<i8").astype(np.int64),
            )
            for channel, images, maximum, fired, histogram in rows
        }
