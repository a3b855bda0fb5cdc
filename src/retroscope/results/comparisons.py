"""How much the units of a network changed between atlases."""

from dataclasses import dataclass

from retroscope.results.display import ArraySummary, DrawableResult
from retroscope.results.layers import Layer
from retroscope.results.plates import Plate
from retroscope.unit import Unit


@dataclass(frozen=True, eq=False, repr=False)
class UnitComparison(ArraySummary):
    """How much a unit changed from the first atlas to each of the others, from 0 to 1.

    `shared_images` counts the images among its nine best in both; `class_similarities` are the
    cosines between its responses to the classes of both, NaN without common classes. `dead` has a
    value for each atlas, and so has `plates`, for the units that changed most.
    """

    unit: Unit
    changes: tuple[float, ...]
    shared_images: tuple[int, ...]
    class_similarities: tuple[float, ...]
    dead: tuple[bool, ...]
    plates: tuple[Plate, ...] = ()

    @property
    def change(self) -> float:
        """The largest of the changes."""
        return max(self.changes)


@dataclass(frozen=True, eq=False, repr=False)
class LayerComparison(ArraySummary):
    """A layer that all atlases have: its mean change to each of the others, and all its units."""

    layer: Layer
    changes: tuple[float, ...]
    units: tuple[UnitComparison, ...]


@dataclass(frozen=True, eq=False, repr=False)
class AtlasComparison(DrawableResult):
    """Atlases of one network, each compared with the first.

    `atlases` are their names, the first one first. `units` are those that changed most, with their
    plates in every atlas.
    """

    atlases: tuple[str, ...]
    layers: tuple[LayerComparison, ...]
    units: tuple[UnitComparison, ...]
