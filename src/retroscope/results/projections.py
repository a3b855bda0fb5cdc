"""What an image does in a network: activations, and projections back to its pixels."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.imaging.bands import Bands, select_bands
from retroscope.imaging.decoding import RGB
from retroscope.results.display import ArrayResult
from retroscope.results.layers import Layer
from retroscope.results.lighting import contribution, light_patch
from retroscope.unit import Unit

Pixels = npt.NDArray[np.float32]
"""Height, width, channels, in the network's own input space."""
NOT_ACTIVE = "this unit is not active here: its activation is not above zero"
"""The note on a unit in an image that does not excite it."""


@dataclass(frozen=True, eq=False, repr=False)
class Projection(ArrayResult):
    """What in the image made a unit fire, in the space of the network's input.

    `pixels` is signed and covers `box`, which is clipped to the image; zero means that a pixel
    played no part. `patch` is the image under the same box. Of many channels, `bands`
    are shown, counted from 1. As an array it is `full()`, as a tensor the same with the channels
    first, as the network's input.
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
    bands: Bands = ()

    def full(self) -> Pixels:
        """The projection on the whole image, zero outside the box."""
        full = np.zeros((*self.size, self.pixels.shape[2]), self.pixels.dtype)
        full[self.box.top : self.box.bottom, self.box.left : self.box.right] = self.pixels
        return full

    def in_bands(self) -> "Projection":
        """The projection in the bands alone that are shown, if they were chosen."""
        if not self.bands:
            return self
        return replace(self, pixels=select_bands(self.pixels, self.bands), bands=())

    def contribution(self) -> npt.NDArray[np.float64]:
        """How much each pixel of the box contributes, from 0 to 1, whatever its sign."""
        return contribution(self.pixels)

    def lit(self) -> RGB:
        """The patch lit by the projection: what does not contribute is dark and grey."""
        if self.patch is None:
            raise RetroscopeError(f"this projection of {self.unit} has no patch to light")
        return light_patch(self.patch, self.pixels)

    def _array(self) -> Pixels:
        return self.full()

    def _channels_first(self) -> Pixels:
        return np.moveaxis(self.full(), 2, 0)


@dataclass(frozen=True, eq=False, repr=False)
class Activations(ArrayResult):
    """The maps of a layer for one image: channels, height, width; as an array, `maps`."""

    layer: Layer
    maps: npt.NDArray[np.float32]
    source: str = ""
    notes: tuple[str, ...] = ()

    def _array(self) -> npt.NDArray[np.float32]:
        return self.maps

    def strongest(self, count: int) -> list[Unit]:
        """The strongest unit of each of the strongest channels, best first."""
        peaks, positions = find_peaks(self.maps)
        best = np.argsort(-peaks, kind="stable")[:count].tolist()
        return [Unit(self.layer.name, channel, positions[channel]) for channel in best]


def find_peaks(
    maps: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float64], list[tuple[int, int]]]:
    """The maximum of each map and its position. NaN and infinity do not count.

    >>> find_peaks(np.float32([[[1, np.nan], [np.inf, 3]]]))
    (array([3.]), [(1, 1)])
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    finite = np.where(np.isfinite(flat), flat, -np.inf)
    positions = [divmod(index, maps.shape[2]) for index in finite.argmax(axis=1).tolist()]
    return finite.max(axis=1), positions


@dataclass(frozen=True, eq=False, repr=False)
class Filters(ArrayResult):
    """The filters of a convolution that reads the image itself: filters, height, width, channels.

    They are signed, in the space of the network's input. As an array they are `weights`, as a
    tensor the same with the channels before height and width.
    """

    layer: Layer
    weights: npt.NDArray[np.float32]
    notes: tuple[str, ...] = ()
    bands: Bands = ()

    def _array(self) -> npt.NDArray[np.float32]:
        return self.weights

    def _channels_first(self) -> npt.NDArray[np.float32]:
        return np.moveaxis(self.weights, 3, 1)
