"""Synthesised patterns."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retroscope.imaging.image import RGB
from retroscope.results.display import ArraySummary
from retroscope.results.projections import Pixels
from retroscope.unit import Unit


@dataclass(frozen=True, eq=False, repr=False)
class Pattern(ArraySummary):
    """A picture made so that a unit, or whatever its objective says, fires as much as it can.

    `picture` is what is looked at, `pixels` the same for the network, where it is at hand.
    `activation` is what it reaches there, without any transform: the largest of the channel's
    positions, or the objective itself where that is not about one unit. `natural` is the best that
    a picture of an atlas reaches. `score` is the objective at the end, `started_at` at the start.
    `opacity`, from 0 to 1, says which parts matter, where the recipe finds out.
    """

    image: RGB
    objective: str
    activation: float
    recipe: str
    seed: int
    steps: int
    score: float
    started_at: float
    pixels: Pixels | None = None
    unit: Unit | None = None
    opacity: npt.NDArray[np.float32] | None = None
    natural: float | None = None
    notes: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[0], self.image.shape[1]
