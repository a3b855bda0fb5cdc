"""Which channels of an image are shown as red, green and blue, and between which values.

Bands count from 1, as in GDAL and in the names of satellites' bands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from retroscope.errors import ModelError
from retroscope.imaging.decoding import RGB

Scalar = TypeVar("Scalar", bound=np.generic)
Bands = tuple[int, ...]
Limits = Sequence[tuple[float, float]]
"""Of each band the values that are shown as black and as white."""

LOW_PERCENTILE, HIGH_PERCENTILE = 1, 99
"""Of a band's values in an image, where black and white lie unless its type says so."""

STRETCH = "from its 1st to its 99th percentile"
BYTES_AS_THEY_ARE = ", or from 0 to 255 if it has bytes"

_FIRST_BANDS: dict[int, Bands] = {1: (1,), 2: (1, 2, 1)}
"""Two channels are shown as magenta and green, which add up to white."""


@dataclass(frozen=True, eq=False)
class ShownBands:
    """An image as a screen shows it, and what is shown."""

    pixels: RGB
    note: str


def default_bands(channels: int) -> Bands:
    """The bands that are shown if nobody chooses: the first three.

    >>> default_bands(12), default_bands(2), default_bands(1)
    ((1, 2, 3), (1, 2, 1), (1,))
    """
    return _FIRST_BANDS.get(channels, (1, 2, 3))


def check_bands(bands: object, channels: int) -> Bands:
    """The bands as a tuple. Raises unless they are one or three of the channels.

    >>> check_bands([4, 3, 2], 12)
    (4, 3, 2)
    """
    numbers = tuple(bands) if isinstance(bands, Sequence) and not isinstance(bands, str) else None
    if numbers is None or not all(isinstance(band, Integral) for band in numbers):
        raise ModelError(
            f"bands are the numbers of three channels, such as (3, 2, 1), not {bands!r}",
            parameter="bands",
        )
    if len(numbers) not in (1, 3):
        raise ModelError(
            f"{len(numbers)} bands; give three, for red, green and blue, or one, for grey",
            parameter="bands",
        )
    for band in numbers:
        if not 1 <= band <= channels:
            raise ModelError(
                f"no band {band}; the network takes {channels} channels, whose bands count from 1 "
                f"to {channels}",
                parameter="bands",
            )
    return tuple(map(int, numbers))


def select_bands(
    pixels: npt.NDArray[Scalar], bands: Bands, *, axis: int = 2
) -> npt.NDArray[Scalar]:
    """These bands of an image, or all of it if there are none; `axis` is that of the channels.

    >>> select_bands(np.float32([[[10, 20, 30, 40]]]), (4, 3, 2)).tolist()
    [[[40.0, 30.0, 20.0]]]
    """
    return np.take(pixels, [band - 1 for band in bands], axis=axis) if bands else pixels


def show_bands(
    planes: npt.NDArray[np.float32], bands: Bands, limits: Limits | None = None
) -> ShownBands:
    """These bands of an image (channels, height, width) in colours, or one of them in grey.

    Values are shown on a straight line between the limits. Without limits, each band has its own
    1st and 99th percentile in this image.
    """
    shown = select_bands(planes, bands, axis=0)
    chosen = [_percentiles(plane) for plane in shown] if limits is None else limits
    levels = np.empty((*planes.shape[1:], 3), np.uint8)
    for colour in range(3):
        source = colour if len(shown) == 3 else 0
        low, high = chosen[source]
        shares = (shown[source].astype(np.float64) - low) / ((high - low) or 1)
        levels[..., colour] = np.rint(np.clip(shares, 0, 1) * 255)
    note = _describe(bands, len(planes), chosen, is_stretched=limits is None)
    return ShownBands(levels, note)


def _percentiles(plane: npt.NDArray[np.float32]) -> tuple[float, float]:
    """The limits of a band; all of its values, if the percentiles are one."""
    finite = plane[np.isfinite(plane)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, (LOW_PERCENTILE, HIGH_PERCENTILE)).tolist()
    return (low, high) if low < high else (float(finite.min()), float(finite.max()))


def describe_bands(bands: Bands, channels: int) -> str:
    """Which bands are shown, and as which colours.

    >>> describe_bands((4, 3, 2), 12), describe_bands((1,), 2)
    ('bands 4, 3, 2 of 12 as red, green, blue', 'band 1 of 2 in grey')
    """
    if len(bands) == 1:
        return f"band {bands[0]} of {channels} in grey"
    return f"bands {', '.join(map(str, bands))} of {channels} as red, green, blue"


def _describe(bands: Bands, channels: int, limits: Limits, *, is_stretched: bool) -> str:
    """
    >>> _describe((4, 3, 2), 12, [(0, 1), (0, 2), (0, 2)], is_stretched=True)[:62]
    'shown: bands 4, 3, 2 of 12 as red, green, blue, black to white'
    """
    spans = [f"{low:.5g} to {high:.5g}" for low, high in limits]
    texts = spans if len(set(spans)) > 1 else spans[:1]
    reason = " (1st to 99th percentile of this image)" if is_stretched else ""
    return f"shown: {describe_bands(bands, channels)}, black to white is {', '.join(texts)}{reason}"
