"""Synthesised patterns."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from retroscope.imaging.decoding import RGB
from retroscope.results.display import ArrayResult
from retroscope.results.projections import Pixels, check_slice
from retroscope.unit import Unit


@dataclass(frozen=True, eq=False, repr=False)
class Pattern(ArrayResult):
    """An image synthesised to excite a unit, or to maximise another objective.

    `image` is what people look at, `pixels` the same for the network (None in an atlas). Of a
    network of volumes both have a depth in front, and `slice(z)` is one slice.
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
    def size(self) -> tuple[int, ...]:
        """Height and width; of a volume the depth in front."""
        return tuple(self.image.shape[:-1])

    def slice(self, z: int) -> "Pattern":
        """One slice of a pattern that is a volume."""
        check_slice(z, self.size)
        return replace(
            self,
            image=self.image[z],
            pixels=None if self.pixels is None else self.pixels[z],
            opacity=None if self.opacity is None else self.opacity[z],
        )

    def _array(self) -> RGB:
        return self.image

    def _channels_first(self) -> RGB:
        return np.moveaxis(self.image, -1, 0)
