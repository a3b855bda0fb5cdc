"""A channel of an atlas: the patches that excite it most, and its statistics."""

from dataclasses import dataclass, field

from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB
from retroscope.results.display import ArraySummary
from retroscope.results.layers import Layer
from retroscope.results.projections import Projection
from retroscope.results.statistics import ChannelStats
from retroscope.unit import Unit


@dataclass(frozen=True, eq=False, repr=False)
class Patch(ArraySummary):
    """The pixels that a unit saw, padded with grey where its field leaves the image."""

    score: float
    source: str
    position: tuple[int, int]
    box: Box
    pixels: RGB
    projection: Projection | None = field(default=None)


@dataclass(frozen=True, eq=False, repr=False)
class Plate(ArraySummary):
    """The patches that excite a channel most, strongest first, and its statistics.

    `ranked_by` is `max`, or `mean` over the positions of the map.
    """

    unit: Unit
    layer: Layer
    patches: tuple[Patch, ...]
    stats: ChannelStats
    ranked_by: str = "max"
