"""A channel of an atlas: its patches in a ranking, its statistics, and its maxima in a sample."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import GREY
from retroscope.results.display import ArrayResult, ArraySummary, DrawableResult
from retroscope.results.layers import Layer
from retroscope.results.projections import Projection
from retroscope.results.slice_stacks import VOLUME_RANK
from retroscope.results.statistics import ChannelStats
from retroscope.results.unit_numbers import UnitName, UnitNumber
from retroscope.unit import Unit


@dataclass(frozen=True, eq=False, repr=False)
class Patch(ArrayResult):
    """The pixels of an image that a unit saw.

    `box` is the unit's field, which may leave the image; `pixels` are those of `visible`, the part
    of it in the image. `size` is that of the image; None if the atlas does not have the image, and
    the pixels are grey. As an array it is `pixels`, as a tensor the same with the channels first.

    `quantile` says of a patch of a sample which share of the sampled images excite the unit less;
    None for a random image, and in any other ranking.

    Of a volume or a clip, sizes, positions and `pixels` begin with the slices. What is drawn is one
    of them, `strongest_slice`; `slice_number` is its number, counted from 0, of so many, if the
    size of the volume is known.
    """

    score: float
    source: str
    position: tuple[int, ...]
    box: Box
    pixels: RGB
    projection: Projection | None = field(default=None)
    size: tuple[int, ...] | None = None
    quantile: float | None = None
    slice_number: tuple[int, int] | None = None

    @property
    def visible(self) -> Box:
        """The part of the field in the image; the field, if the size of the image is not known."""
        return self.box if self.size is None else self.box.clip_to(self.size)

    @property
    def slices(self) -> range:
        """The slices of a volume that the unit sees; the nearest one, if it sees padding alone."""
        seen = self.box if self.size is None else self.box.visible_in(self.size)
        return range(seen.front, seen.back)

    @property
    def is_volume(self) -> bool:
        """Whether it has several slices, of which `slice` gives one."""
        return len(self.position) == VOLUME_RANK

    @property
    def flat(self) -> "Patch":
        """The patch as that of an image: of a volume, its strongest slice."""
        return self.slice(self.strongest_slice) if self.is_volume else self

    @property
    def strongest_slice(self) -> int:
        """The slice of the volume in which the projection is strongest.

        Without a projection, that in the middle of the field.
        """
        slices = self.slices
        if self.projection is not None:
            strength = np.abs(np.nan_to_num(self.projection.pixels, posinf=0, neginf=0))
            first = slices[0] - self.projection.box.front  # one behind gates is of all slices
            inside = strength[first : first + len(slices)]
            per_slice = inside.sum(axis=(1, 2, 3), dtype=np.float64)
            if per_slice.any():
                return slices[int(per_slice.argmax())]
        middle = (self.box.front + self.box.back - 1) // 2
        return min(max(middle, slices[0]), slices[-1])

    def slice(self, number: int) -> "Patch":
        """The patch in one of its `slices`, as that of an image. Grey, if it is all padding."""
        slices, projection = self.slices, self.projection
        if number not in slices:
            raise RetroscopeError(
                f"no slice {number} in this patch; its unit sees {slices[0]} to {slices[-1]}"
            )
        grey = np.full(self.pixels.shape[1:], GREY, np.uint8)
        return replace(
            self,
            position=self.position[1:],
            box=replace(self.box, front=0, back=1),
            pixels=self.pixels[number - slices[0]] if len(self.pixels) else grey,
            projection=None if projection is None else projection.slice(number),
            size=None if self.size is None else self.size[1:],
            slice_number=None if self.size is None else (number, self.size[0]),
        )

    def _array(self) -> RGB:
        return self.pixels

    def _channels_first(self) -> RGB:
        return np.moveaxis(self.pixels, -1, 0)


SAMPLE_QUANTILES = (0.99, 0.95, 0.9, 0.75, 0.5)
"""Of a channel's maxima in the sampled images. A plate of the sample shows the image at each of
them, and last a random one."""


def sample_quantile(rank: int) -> float | None:
    """The quantile of a hit of a sample; None for the random one.

    >>> sample_quantile(0), sample_quantile(5)
    (0.99, None)
    """
    return SAMPLE_QUANTILES[rank] if 0 <= rank < len(SAMPLE_QUANTILES) else None


NEARLY_ALL = 0.9
"""The share of an image from which a clipped field looks like the image itself."""
HALF = 0.5
"""The share of an image from which the middle of a clipped field says more than its frame."""


def place_in_image(
    box: Box, size: Sequence[int], *, share: float = NEARLY_ALL
) -> tuple[float, float] | None:
    """The middle pixel (y, x) of a field that leaves an image and covers this share of it.

    None for smaller fields, and for one inside the image. One that is exactly the image, as after
    global pooling, is nowhere in particular.

    >>> place_in_image(Box(-40, 0, 20, 60), (20, 20)), place_in_image(Box(0, 0, 20, 20), (20, 20))
    ((0.0, 19.0), None)
    """
    height, width = size
    visible = box.clip(height, width)
    if box == visible or visible.height * visible.width < share * height * width:
        return None
    middle = (box.top + box.bottom - 1) / 2, (box.left + box.right - 1) / 2
    return min(max(middle[0], 0.0), height - 1.0), min(max(middle[1], 0.0), width - 1.0)


@dataclass(frozen=True, eq=False, repr=False)
class Plate(DrawableResult):
    """Patches of a channel in the order of a ranking, and its statistics.

    `ranked_by` is `max`, `mean` over the positions of the map, `min` (the lowest minima), or
    `sample`: the images at some quantiles of the channel's maxima in a random sample of the images
    (`Patch.quantile`), and a random one. With a `label`, they are the images of that class with the
    highest maxima. `names` and `numbers` are those that `score` has stored.
    """

    unit: Unit
    layer: Layer
    patches: tuple[Patch, ...]
    stats: ChannelStats
    ranked_by: str = "max"
    names: tuple[UnitName, ...] = ()
    numbers: tuple[UnitNumber, ...] = ()
    label: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class MaximaSample(ArraySummary):
    """The maximum of a channel in each image of a random sample, the same images for all channels.

    `images` are numbers of images, `scores` the maxima, and `positions` the first (y, x) of each. A
    maximum is NaN, and its position (-1, -1), if no value of the map is finite. Of a whole layer,
    `scores` and `positions` have a row for each channel.
    """

    images: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int32]

    def channel(self, number: int) -> "MaximaSample":
        """The sample of one channel of the layer."""
        return MaximaSample(self.images, self.scores[number], self.positions[number])
