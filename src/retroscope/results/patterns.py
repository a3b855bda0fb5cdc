"""Synthesised patterns."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retroscope.imaging.decoding import RGB
from retroscope.results.display import ArrayResult
from retroscope.results.projections import Pixels
from retroscope.unit import Unit


@dataclass(frozen=True, eq=False, repr=False)
class Pattern(ArrayResult):
    """An image synthesised to excite a unit, or to maximise another objective.

    `image` is what people look at, `pixels` the same for the network (None in an atlas).
    `activation` is what the image reaches without any transform: the strongest position of the
    channel, or the objective itself if that is not about one unit. `natural` is the best that an
    image of an atlas reaches. `score` is the objective at the end, `started_at` at the start.
    `opacity`, from 0 to 1, says which parts matter, for recipes that find out. As an array it is
    `image`, as a tensor the same with the channels first.
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

    def _array(self) -> RGB:
        return self.image

    def _channels_first(self) -> RGB:
        return np.moveaxis(self.image, 2, 0)
