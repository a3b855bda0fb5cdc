"""What one image does in a network: activations, and projections back to its pixels."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retroscope.geometry import Box
from retroscope.imaging.image import RGB
from retroscope.results.display import ArraySummary
from retroscope.results.layers import Layer
from retroscope.unit import Unit

Pixels = npt.NDArray[np.float32]
"""Height, width, channels, in the network's own input space."""


@dataclass(frozen=True, eq=False, repr=False)
class Projection(ArraySummary):
    """What in the picture made a unit fire, back in the space of the network's input.

    `pixels` is signed and covers `box`, which is clipped to the picture; zero is "no part in
    it". `patch` is the picture itself under the same box.
    """

    unit: Unit
    activation: float
    box: Box
    pixels: Pixels
    rules: str
    size: tuple[int, int]
    patch: RGB | None = None
    source: str = ""
    notes: tuple[str, ...] = ()

    def full(self) -> Pixels:
        """The projection on the whole picture, zero outside the box."""
        whole = np.zeros((*self.size, self.pixels.shape[2]), self.pixels.dtype)
        whole[self.box.top : self.box.bottom, self.box.left : self.box.right] = self.pixels
        return whole


@dataclass(frozen=True, eq=False, repr=False)
class Activations(ArraySummary):
    """The maps of a layer for one picture: channels, height, width."""

    layer: Layer
    maps: npt.NDArray[np.float32]
    source: str = ""

    def strongest(self, count: int) -> list[Unit]:
        """The channels with the highest maxima, each at its strongest position, best first."""
        flat = self.maps.reshape(len(self.maps), -1)
        best = np.where(np.isnan(flat), -np.inf, flat)
        order = np.argsort(-best.max(axis=1), kind="stable")[:count]
        width = self.maps.shape[2]
        places = [divmod(int(place), width) for place in best[order].argmax(axis=1)]
        return [
            Unit(self.layer.name, int(channel), place)
            for channel, place in zip(order, places, strict=True)
        ]


@dataclass(frozen=True, eq=False, repr=False)
class Filters(ArraySummary):
    """The filters of a convolution that reads the picture itself: filters, height, width, channels.

    They are signed, and for pixels as the network takes them.
    """

    layer: Layer
    weights: npt.NDArray[np.float32]
    notes: tuple[str, ...] = ()
