"""What an image does in a network: activations, and projections back to its pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from retroscope.errors import RetroscopeError
from retroscope.geometry import IMAGE_RANK, INPUTS, Box
from retroscope.imaging.bands import Bands, select_bands
from retroscope.imaging.decoding import RGB
from retroscope.results.display import ArrayResult
from retroscope.results.layers import Layer
from retroscope.results.lighting import contribution, light_patch
from retroscope.unit import Unit

Pixels = npt.NDArray[np.float32]
"""Height, width, channels, in the network's own input space; of a volume the depth in front."""
NOT_ACTIVE = "this unit is not active here: its activation is not above zero"
"""The note on a unit in an image that does not excite it."""


def check_slice(z: int, size: Sequence[int]) -> None:
    """Raises unless a volume of this size has a slice z."""
    if len(size) <= IMAGE_RANK:
        raise RetroscopeError(f"a {INPUTS[len(size)]} has no slices")
    if not 0 <= z < size[0]:
        raise RetroscopeError(f"no slice {z}; the volume has {size[0]}, 0 to {size[0] - 1}")


@dataclass(frozen=True, eq=False, repr=False)
class Projection(ArrayResult):
    """What in the image made a unit fire, in the space of the network's input.

    `pixels` is signed and covers `box`, which is clipped to the image; zero means that a pixel
    played no part. `patch` is the image under the same box. Of many channels, `bands`
    are shown, counted from 1. In a volume both have a depth in front, and `slice(z)` is the
    projection in one slice. As an array it is `full()`, as a tensor the same with the channels
    first, as the network's input.
    """

    unit: Unit
    activation: float
    box: Box
    pixels: Pixels
    rules: str
    size: tuple[int, ...]
    patch: RGB | None = None
    source: str = ""
    notes: tuple[str, ...] = ()
    bands: Bands = ()

    def full(self) -> Pixels:
        """The projection on the whole image, zero outside the box."""
        full = np.zeros((*self.size, self.pixels.shape[-1]), self.pixels.dtype)
        full[self.box.slices(len(self.size))] = self.pixels
        return full

    def slice(self, z: int) -> "Projection":
        """The projection in one slice of a volume; zero where the unit does not see it."""
        check_slice(z, self.size)
        box, number, shape = self.box, z - self.box.front, self.pixels.shape[1:]
        is_inside = 0 <= number < box.depth
        return replace(
            self,
            pixels=self.pixels[number] if is_inside else np.zeros_like(self.pixels, shape=shape),
            patch=None if self.patch is None or not is_inside else self.patch[number],
            box=replace(box, front=0, back=1),
            size=self.size[1:],
        )

    def in_bands(self) -> "Projection":
        """The projection in the bands alone that are shown, if they were chosen."""
        if not self.bands:
            return self
        shown = select_bands(self.pixels, self.bands, axis=self.pixels.ndim - 1)
        return replace(self, pixels=shown, bands=())

    def contribution(self) -> npt.NDArray[np.float64]:
        """How much each pixel of the box contributes, from 0 to 1, whatever its sign."""
        return contribution(self.pixels)

    def lit(self) -> RGB:
        """The patch lit by the projection: what does not contribute is dark and grey."""
        if self.patch is None:
            raise RetroscopeError(f"this projection of {self.unit} has no patch to light")
        is_signal = self.pixels.ndim < self.patch.ndim  # whose patch is an image of one row
        return light_patch(self.patch, self.pixels[None] if is_signal else self.pixels)

    def _array(self) -> Pixels:
        return self.full()

    def _channels_first(self) -> Pixels:
        return np.moveaxis(self.full(), -1, 0)


@dataclass(frozen=True, eq=False, repr=False)
class Activations(ArrayResult):
    """The maps of a layer for one image: channels, height, width; as an array, `maps`.

    Those of a volume have the depth behind the channels.
    """

    layer: Layer
    maps: npt.NDArray[np.float32]
    source: str = ""
    notes: tuple[str, ...] = ()

    def _array(self) -> npt.NDArray[np.float32]:
        return self.maps

    def strongest(self, count: int) -> list[Unit]:
        """The strongest unit of each of the strongest channels, best first; of equal channels those
        with the lowest numbers, and `describe_ties` says so.
        """
        peaks, positions = find_peaks(self.maps)
        best = np.argsort(-peaks, kind="stable")[:count].tolist()
        return [Unit(self.layer.name, channel, positions[channel]) for channel in best]

    def describe_ties(self, count: int) -> str:
        """A sentence if `strongest` leaves out channels that are as strong as the last one it has,
        as behind a rectifier with a limit; nothing otherwise.

        >>> from retroscope.geometry import Field, ReceptiveField
        >>> layer = Layer("relu6", "relu", 4, (1, 2), ReceptiveField(Field(), Field()))
        >>> maps = np.float32([[[6, 0]], [[1, 2]], [[0, 6]], [[6, 6]]])
        >>> Activations(layer, maps).describe_ties(2)
        '3 channels of relu6 reach 6; the 2 with the lowest numbers are chosen'
        """
        peaks, _ = find_peaks(self.maps)
        weakest = np.sort(peaks)[-min(count, len(peaks))]
        tied = int((peaks == weakest).sum())
        listed = count - int((peaks > weakest).sum())
        if tied <= listed or listed < 1 or not np.isfinite(weakest):
            return ""
        lowest = f"the {listed} with the lowest numbers are"
        if listed == 1:
            lowest = "the one with the lowest number is"
        return f"{tied} channels of {self.layer.name} reach {weakest:.4g}; {lowest} chosen"


def find_peaks(
    maps: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float64], list[tuple[int, ...]]]:
    """The maximum of each map and its position. NaN and infinity do not count.

    >>> find_peaks(np.float32([[[1, np.nan], [np.inf, 3]]]))
    (array([3.]), [(1, 1)])
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    finite = np.where(np.isfinite(flat), flat, -np.inf)
    places = np.unravel_index(finite.argmax(axis=1), maps.shape[1:])
    positions = [tuple(position) for position in np.transpose(places).tolist()]
    return finite.max(axis=1), positions


@dataclass(frozen=True, eq=False, repr=False)
class Filters(ArrayResult):
    """The filters of a convolution that reads the image itself: filters, height, width, channels.

    Those of volumes have a depth before the height, those of signals a length alone. They are
    signed, in the space of the network's input. As an array they are `weights`, as a tensor the
    same with the channels before height and width.
    """

    layer: Layer
    weights: npt.NDArray[np.float32]
    notes: tuple[str, ...] = ()
    bands: Bands = ()

    def _array(self) -> npt.NDArray[np.float32]:
        return self.weights

    def _channels_first(self) -> npt.NDArray[np.float32]:
        return np.moveaxis(self.weights, -1, 1)
