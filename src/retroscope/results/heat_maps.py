"""What explains one picture: heat maps, occlusions, and the page of all of them. Frozen values."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from retroscope.imaging.image import RGB, Fit
from retroscope.results.display import ArraySummary
from retroscope.results.layers import Layer
from retroscope.results.projections import Pixels, Projection
from retroscope.unit import Unit

Map = npt.NDArray[np.float32]
"""Height, width."""


@dataclass(frozen=True)
class Target:
    """A class: its place in the network's output, and its name where there is one.

    >>> str(Target(281, "tabby")), str(Target(281))
    ('tabby', 'class 281')
    """

    index: int
    label: str = ""

    def __str__(self) -> str:
        return self.label or f"class {self.index}"


@dataclass(frozen=True)
class Prediction:
    """What a network says of a picture: a class, and how probable it holds it."""

    target: Target
    probability: float


@dataclass(frozen=True, eq=False, repr=False)
class HeatMap(ArraySummary):
    """Where in a picture something speaks for a class, or for a unit.

    `values` are at the layer's own resolution; without a `layer`, at the picture's. `pixels` is
    signed, in the space of the network's input, where the method finds it for each number of the
    picture. The `probability` is None for a unit.
    """

    values: Map
    layer: str
    target: Target | Unit
    probability: float | None
    score: float
    method: str
    caveats: tuple[str, ...]
    size: tuple[int, int]
    pixels: Pixels | None = None
    image: RGB | None = None
    source: str = ""
    fit: Fit | None = None
    notes: tuple[str, ...] = ()

    def resized(self, height: int, width: int) -> Map:
        """The values at another size, interpolated between the middles of positions.

        >>> heat = np.float32([[0, 4]])
        >>> made = HeatMap(heat, "conv5", Target(0), 0.5, 1.0, "gradcam", (), (2, 4))
        >>> made.resized(1, 4).tolist()
        [[0.0, 1.0, 3.0, 4.0]]
        """
        return resized(self.values, height, width)

    def full(self) -> Map:
        """The values at the size of the network's input."""
        return self.resized(*self.size)


def resized(values: Map, height: int, width: int) -> Map:
    """A map at another size, bilinear, its borders held."""
    rows, down = _between(values.shape[0], height)
    columns, right = _between(values.shape[1], width)
    mixed = values[rows] * (1 - down)[:, None] + values[rows + (down > 0)] * down[:, None]
    shown = mixed[:, columns] * (1 - right) + mixed[:, columns + (right > 0)] * right
    return np.asarray(shown, np.float32)


def _between(length: int, wanted: int) -> tuple[npt.NDArray[np.int64], Map]:
    """For each position wanted, the one before it, and how far it is on the way to the next."""
    places = np.clip((np.arange(wanted) + 0.5) * length / wanted - 0.5, 0, length - 1)
    before: npt.NDArray[np.int64] = np.floor(places).astype(np.int64)
    return before, (places - before).astype(np.float32)


@dataclass(frozen=True, eq=False, repr=False)
class OcclusionMap(ArraySummary):
    """What a network says while an occluder covers each place in turn (Zeiler & Fergus, Fig. 7).

    For each position of the occluder, in rows and columns: how probable the target is, the most
    probable class, and the total activation of the map that is strongest in the clean picture
    (None in a network without maps).
    `tops` and `lefts` are the occluder's places; the last ones are moved in to the border.
    """

    probabilities: Map
    classes: npt.NDArray[np.int64]
    activations: Map | None
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    occluder: tuple[int, int]
    fill: str
    target: Target
    probability: float
    unit: Unit | None
    activation: float
    class_names: tuple[Target, ...]
    caveats: tuple[str, ...]
    size: tuple[int, int]
    image: RGB | None = None
    source: str = ""
    fit: Fit | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def heat(self) -> HeatMap:
        """How much of the probability each place costs when it is covered.

        A pixel's value is the mean over all occluders that cover it.
        """
        return HeatMap(
            values=_spread(self, self.probability - self.probabilities),
            layer="",
            target=self.target,
            probability=self.probability,
            score=self.probability,
            method="occlusion",
            caveats=self.caveats,
            size=self.size,
            image=self.image,
            source=self.source,
            fit=self.fit,
        )


def _spread(shown: OcclusionMap, values: Map) -> Map:
    total, covered = np.zeros((2, *shown.size))
    height, width = shown.occluder
    for row, top in enumerate(shown.tops):
        for column, left in enumerate(shown.lefts):
            place = slice(top, top + height), slice(left, left + width)
            total[place] += values[row, column]
            covered[place] += 1
    return (total / np.maximum(covered, 1)).astype(np.float32)


@dataclass(frozen=True, eq=False, repr=False)
class UnusualUnit(ArraySummary):
    """A unit that responds unusually. `rarity` is the share of an atlas's images that excite its
    channel as much or more; None where no atlas tells, and `contrast` alone ranks it: how many
    standard deviations of its map the peak stands above the map's mean.
    """

    unit: Unit
    activation: float
    contrast: float
    rarity: float | None
    projection: Projection


@dataclass(frozen=True, eq=False, repr=False)
class LayerFinding(ArraySummary):
    """The units of one layer that respond most unusually, the most unusual first."""

    layer: Layer
    units: tuple[UnusualUnit, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(ArraySummary):
    """One picture explained: what it is taken for, where that comes from, what fires unusually."""

    predictions: tuple[Prediction, ...]
    heat: HeatMap
    findings: tuple[LayerFinding, ...]
    network: str
    compared: str
    caveats: tuple[str, ...]
    image: RGB
    source: str = ""
    remarks: tuple[str, ...] = ()
