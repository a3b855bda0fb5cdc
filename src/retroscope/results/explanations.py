"""The explanation of an image: what is predicted, where it is seen, and unusual units."""

from dataclasses import dataclass
from math import inf

import numpy as np

from retroscope.imaging.decoding import RGB
from retroscope.results.display import ArraySummary, DrawableResult
from retroscope.results.heat_maps import HeatMap, Prediction
from retroscope.results.layers import Layer
from retroscope.results.projections import Projection
from retroscope.results.unit_numbers import UnitName
from retroscope.unit import Unit

_RULES_OF_CONTRAST = "relevance"


@dataclass(frozen=True, eq=False, repr=False)
class UnusualUnit(ArraySummary):
    """A unit that responds unusually strongly.

    `rarity` is the share of an atlas's images that excite its channel as much or more; None without
    an atlas. `z_score` then ranks it: how many standard deviations of its map the peak is above the
    map's mean. `contrast` is the projection without what all channels at the unit's position share:
    what the unit adds. It is None if it was not asked for, and in a layer of one channel. `names`
    are those that the atlas has for the channel.
    """

    unit: Unit
    activation: float
    z_score: float
    rarity: float | None
    projection: Projection
    contrast: Projection | None = None
    names: tuple[UnitName, ...] = ()

    @property
    def added_share(self) -> float | None:
        """The share of the projection, as a sum of squares, that the contrast keeps.

        None without a contrast, and for a projection by other rules than the contrast's, which are
        those of relevance.
        """
        if self.contrast is None or self.projection.rules != _RULES_OF_CONTRAST:
            return None
        size = float(np.square(self.projection.pixels, dtype=np.float64).sum())
        added = float(np.square(self.contrast.pixels, dtype=np.float64).sum())
        return added / size if 0 < size < inf else None


@dataclass(frozen=True, eq=False, repr=False)
class LayerFinding(ArraySummary):
    """The most unusual units of one layer, the most unusual first."""

    layer: Layer
    units: tuple[UnusualUnit, ...]


@dataclass(frozen=True, eq=False, repr=False)
class OtherImage(ArraySummary):
    """Another image among the inputs of a network, as the network received it."""

    name: str
    pixels: RGB


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(DrawableResult):
    """An image explained: its predictions, the heat map of one, and unusual units by layer.

    `heats` has the heat map of each prediction of a detector or a segmenter, in their order.
    `image_name` is the input that is looked back to. `others` are the other images among the
    inputs, also those that are held for all images. `save("page.html")` writes it as a web page
    that loads nothing.
    """

    predictions: tuple[Prediction, ...]
    heat: HeatMap
    findings: tuple[LayerFinding, ...]
    network: str
    compared: str
    caveats: tuple[str, ...]
    image: RGB
    source: str = ""
    remarks: tuple[str, ...] = ()
    heats: tuple[HeatMap, ...] = ()
    image_name: str = "image"
    others: tuple[OtherImage, ...] = ()
