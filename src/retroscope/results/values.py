"""What the methods return: frozen values of numpy arrays that do not know how they look."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from retroscope.errors import UnitError
from retroscope.geometry import Box, ReceptiveField
from retroscope.results.display import Brief
from retroscope.unit import Unit

Pixels = npt.NDArray[np.float32]
"""Height, width, channels, in the network's own input space."""
Picture = npt.NDArray[np.uint8]
"""Height, width, 3: red, green, blue as shown on a screen."""


@dataclass(frozen=True)
class Layer:
    """One operation of a network whose outputs can be looked at.

    `size` is height and width of its maps; (1, 1) for a vector, (tokens, 1) for a transformer's.
    `outputs` lists modules whose result is this layer's, such as the block that it ends.
    """

    name: str
    kind: str
    channels: int
    size: tuple[int, int]
    field: ReceptiveField
    aliases: tuple[str, ...] = ()
    index: int = 0
    note: str = ""


def layer_asked(given: str | Layer) -> str:
    """The name of a layer that is asked for, by its name or as one of a network's layers.

    >>> layer_asked("conv5:3")
    Traceback (most recent call last):
    retroscope.errors.UnitError: 'conv5:3' is a unit; give the layer 'conv5'
    """
    if isinstance(given, Layer):
        return given.name
    if not isinstance(given, str):
        raise UnitError(f"a layer is a name such as 'conv5_3', or one of net.layers, not {given!r}")
    layer, colon, _ = given.partition(":")
    if colon:
        raise UnitError(f"{given!r} is a unit; give the layer {layer!r}")
    return given


@dataclass(frozen=True, eq=False, repr=False)
class Projection(Brief):
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
    patch: Picture | None = None
    source: str = ""
    notes: tuple[str, ...] = ()

    def full(self) -> Pixels:
        """The projection on the whole picture, zero outside the box."""
        whole = np.zeros((*self.size, self.pixels.shape[2]), self.pixels.dtype)
        whole[self.box.top : self.box.bottom, self.box.left : self.box.right] = self.pixels
        return whole


@dataclass(frozen=True, eq=False, repr=False)
class Activations(Brief):
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
class Patch(Brief):
    """The piece of a picture that a unit saw, padded with grey where its field leaves it."""

    score: float
    source: str
    position: tuple[int, int]
    box: Box
    pixels: Picture
    projection: Projection | None = field(default=None)


@dataclass(frozen=True)
class ClassStats:
    """How a channel responds to the pictures of one class."""

    label: str
    images: int
    mean_maximum: float
    fired_share: float


@dataclass(frozen=True, eq=False, repr=False)
class ChannelStats(Brief):
    """How a channel responds over all pictures of a scan.

    `histogram` counts the pictures by their maximum, in the half-octave bins of
    `HISTOGRAM_EDGES`: the first bin holds what is not above its edge, the last what is above.
    `classes` is sorted by mean maximum, highest first.
    """

    images: int
    positions: int
    mean: float
    std: float
    maximum: float
    fired_images: int
    fired_positions: int
    non_finite: int
    histogram: npt.NDArray[np.int64]
    classes: tuple[ClassStats, ...] = ()

    @property
    def dead(self) -> bool:
        """Whether it never fires."""
        return self.fired_images == 0

    @property
    def fired_image_share(self) -> float:
        return self.fired_images / self.images if self.images else 0.0

    @property
    def fired_position_share(self) -> float:
        return self.fired_positions / self.positions if self.positions else 0.0


HISTOGRAM_EDGES: npt.NDArray[np.float64] = 2.0 ** (np.arange(63) / 2 - 16)
"""63 edges, half an octave apart from 2**-16 to 2**15, of 64 bins that no data moves."""


@dataclass(frozen=True, eq=False, repr=False)
class Plate(Brief):
    """The patches of one channel that excite it most, strongest first, and its statistics.

    `ranked_by` is `max`, or `mean` over the positions of the map.
    """

    unit: Unit
    layer: Layer
    patches: tuple[Patch, ...]
    stats: ChannelStats
    ranked_by: str = "max"


@dataclass(frozen=True, eq=False, repr=False)
class Pattern(Brief):
    """A picture made so that a unit, or whatever its objective says, fires as much as it can.

    `picture` is what is looked at, `pixels` the same for the network, where it is at hand.
    `activation` is what it reaches there, without any transform: the largest of the channel's
    positions, or the objective itself where that is not about one unit. `natural` is the best that
    a picture of an atlas reaches. `score` is the objective at the end, `started_at` at the start.
    `opacity`, from 0 to 1, says which parts matter, where the recipe finds out.
    """

    picture: Picture
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
        return self.picture.shape[0], self.picture.shape[1]


@dataclass(frozen=True, eq=False, repr=False)
class Filters(Brief):
    """The filters of a convolution that reads the picture itself: filters, height, width, channels.

    They are signed, and for pixels as the network takes them.
    """

    layer: Layer
    weights: npt.NDArray[np.float32]
    notes: tuple[str, ...] = ()
