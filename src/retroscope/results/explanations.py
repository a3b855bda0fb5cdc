"""The explanation of an image: its classes, where one is seen, and its unusual units."""

from dataclasses import dataclass

from retroscope.imaging.decoding import RGB
from retroscope.results.display import ArraySummary
from retroscope.results.heat_maps import HeatMap, Prediction
from retroscope.results.layers import Layer
from retroscope.results.projections import Projection
from retroscope.unit import Unit


@dataclass(frozen=True, eq=False, repr=False)
class UnusualUnit(ArraySummary):
    """A unit that responds unusually strongly.

    `rarity` is the share of an atlas's images that excite its channel as much or more; None without
    an atlas. `contrast` then ranks it: how many standard deviations of its map the peak is above
    the map's mean.
    """

    unit: Unit
    activation: float
    contrast: float
    rarity: float | None
    projection: Projection


@dataclass(frozen=True, eq=False, repr=False)
class LayerFinding(ArraySummary):
    """The most unusual units of one layer, the most unusual first."""

    layer: Layer
    units: tuple[UnusualUnit, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(ArraySummary):
    """An image explained: its predictions, the heat map of one, and unusual units by layer."""

    predictions: tuple[Prediction, ...]
    heat: HeatMap
    findings: tuple[LayerFinding, ...]
    network: str
    compared: str
    caveats: tuple[str, ...]
    image: RGB
    source: str = ""
    remarks: tuple[str, ...] = ()
