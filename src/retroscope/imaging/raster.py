"""Images of any number of channels, in the units of their files: layout, checks, and fitting.

Nothing passes through 8 bits: each channel is resized and cropped in single precision.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, prod

import numpy as np
import numpy.typing as npt

from retroscope.errors import ImageError
from retroscope.imaging.decoding import MAX_PIXELS, TooLargeError, refuse_impossible_size
from retroscope.imaging.image import Fit, Values, fit_array

AnyValues = npt.NDArray[np.generic]
ValueRange = tuple[float, float]
"""The values of a file that count as 0 and 1."""

PHOTO_CHANNELS = (1, 3)
"""Of photographs: a grey image stands in for a colour one, and a colour image for its grey mean."""

MAX_VALUES = 3 * MAX_PIXELS
"""Of all channels together: as many as the largest photograph has."""

_FULL_SCALES: dict[str, float] = {"bool": 1, "uint8": 2**8 - 1, "uint16": 2**16 - 1}
"""The value that counts as 1 unless another is stated, by type; floating point is used as it is."""


@dataclass(frozen=True, eq=False)
class Raster:
    """An image of one channel or more, in the units of its file: height, width, channels.

    >>> Raster(np.zeros((2, 3, 12), np.uint16)).channels
    12
    """

    values: AnyValues
    source: str = "memory"

    def __post_init__(self) -> None:
        refuse_unusable_type(self.values.dtype, repr(self.source))
        refuse_impossible_raster(self.values.shape, repr(self.source))

    @property
    def channels(self) -> int:
        return int(self.values.shape[2])


def refuse_unusable_type(dtype: np.dtype[np.generic], name: str) -> None:
    """Raises for values that are not integers or real numbers."""
    if dtype.hasobject:
        raise ImageError(
            f"{name} holds pickled objects, which can run code and are not loaded; save the pixels "
            "as a plain array of numbers"
        )
    if dtype.kind == "c":
        raise ImageError(
            f"{name} has complex values ({dtype}); save real ones, such as their magnitude"
        )
    if dtype.kind not in "buif":
        raise ImageError(f"{name} has values of type {dtype}; pixels are integers or real numbers")


def refuse_impossible_raster(shape: tuple[int, ...], name: str) -> None:
    """Raises for images that are empty or too large; the shape is (height, width, channels)."""
    height, width, channels = shape
    refuse_impossible_size((height, width), f"{name} is")
    if channels < 1:
        raise ImageError(f"{name} has no channels")
    if prod(shape) > MAX_VALUES:
        raise TooLargeError(
            f"{name} has {prod(shape):,} values in {channels} channels, over the limit of "
            f"{MAX_VALUES:,}; make it smaller"
        )


def accepted_counts(channels: int) -> tuple[int, ...]:
    """How many channels an image may have for a network that takes `channels`.

    >>> accepted_counts(12), accepted_counts(1)
    ((12,), (1, 3))
    """
    return PHOTO_CHANNELS if channels in PHOTO_CHANNELS else (channels,)


def refuse_other_count(count: int, channels: int, name: str) -> None:
    """Raises unless an image of `count` channels is one that the network takes."""
    if count in accepted_counts(channels):
        return
    raise ImageError(
        f"{name} has {_count(count)}, and the network takes {channels}; give an image of "
        f"{_count(channels)}, as .npy or .tif"
    )


def _count(channels: int) -> str:
    return f"{channels} channel{'' if channels == 1 else 's'}"


def channels_last(array: AnyValues, channels: int, name: str) -> AnyValues:
    """An array as (height, width, channels), for a network that takes `channels`.

    >>> channels_last(np.zeros((4, 10, 8)), 4, "a.npy").shape
    (10, 8, 4)
    """
    axis = _channel_axis(array.shape, channels, name)
    return np.moveaxis(array[..., None] if array.ndim == 2 else array, axis, 2)


def channels_last_shape(shape: Sequence[int], channels: int, name: str) -> tuple[int, int, int]:
    """Height, width and channels of an array of this shape.

    >>> channels_last_shape((10, 8), 1, "a.npy")
    (10, 8, 1)
    """
    axis = _channel_axis(shape, channels, name)
    sizes = [*shape, 1][:3]
    count = sizes.pop(axis)
    return sizes[0], sizes[1], count


def _channel_axis(shape: Sequence[int], channels: int, name: str) -> int:
    """The dimension of the channels: of two, one to be added; of three, the first or the last one,
    whichever is as long as the network takes channels. If both are, nobody can say.
    """
    numbers, counts = tuple(shape), accepted_counts(channels)
    if len(numbers) not in (2, 3):
        raise ImageError(
            f"{name} has shape {numbers}; an image is (height, width), (channels, height, width) "
            f"or (height, width, channels){'; give one image' if len(numbers) == 4 else ''}"
        )
    if len(numbers) == 2:
        refuse_other_count(1, channels, name)
        return 2
    is_first, is_last = numbers[0] in counts, numbers[2] in counts
    if is_first and is_last:
        raise ImageError(
            f"{name} has shape {numbers}, whose channels may come first or last; pad or crop the "
            "image, or save it as .tif, which says where its channels are"
        )
    if not (is_first or is_last):
        expected = " or ".join(map(str, counts))
        raise ImageError(
            f"{name} has shape {numbers}, and the network takes {expected} channels; give an array "
            "with as many in its first or last dimension"
        )
    return 0 if is_first else 2


def assumed_range(dtype: np.dtype[np.generic], name: str) -> ValueRange:
    """The values that count as 0 and 1 in images of this type, if nobody states them.

    >>> assumed_range(np.dtype("uint16"), "a.tif"), assumed_range(np.dtype("float32"), "a.tif")
    ((0, 65535), (0, 1))
    """
    if dtype.kind == "f":
        return 0, 1
    if dtype.name not in _FULL_SCALES:
        raise ImageError(
            f"{name} has {dtype.name} values, which have no usual range; state the values that "
            "count as 0 and 1",
            parameter="value_range",
        )
    return 0, _FULL_SCALES[dtype.name]


def describe_assumed_range(raster: Raster, planes: Values) -> str:
    """The note on the range that is assumed for an image; `planes` are its values."""
    dtype = raster.values.dtype
    extremes = f"{float(planes.min()):.5g} to {float(planes.max()):.5g}"
    scale = _FULL_SCALES.get(dtype.name, 1)
    rule = "used as they are" if scale == 1 else f"divided by {scale:g}"
    return (
        f"assumed of the pixels: {dtype.name} values, here from {extremes}, are {rule} before mean "
        "and std; value_range states another range"
    )


def fit_raster(raster: Raster, fit: Fit, *, fill: float = 0) -> Values:
    """The image as the network takes it: channels, height, width, in the units of its file.

    `fill` is used outside of the image, where it is smaller than what is cropped.

    >>> fit_raster(Raster(np.ones((20, 30, 5), np.uint16)), Fit((8, 8))).shape
    (5, 8, 8)
    """
    planes = _finite_planes(raster)
    return np.stack([fit_array(plane, fit, raster.source, fill=fill) for plane in planes])


def _finite_planes(raster: Raster) -> Iterator[Values]:
    """The channels in single precision. Raises for values that are not numbers there."""
    for channel in range(raster.channels):
        with np.errstate(over="ignore"):
            plane = np.ascontiguousarray(raster.values[..., channel], np.float32)
        if raster.values.dtype.kind == "f" and not isfinite(plane.sum(dtype=np.float64)):
            _refuse_non_finite(plane, channel, raster.source)
        yield plane


def _refuse_non_finite(plane: Values, channel: int, source: str) -> None:
    unusable = ~np.isfinite(plane)
    count, (y, x) = int(unusable.sum()), np.argwhere(unusable)[0].tolist()
    raise ImageError(
        f"{source!r} has {count} pixels in channel {channel} that are NaN, infinite or too large, "
        f"the first in row {y}, column {x}; fill or crop them first"
    )
