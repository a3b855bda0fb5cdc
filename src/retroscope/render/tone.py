"""Values to colours: signed pixels around mid-grey, activation maps on a colour scale."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from retroscope.errors import choose
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import GREY
from retroscope.render.theme import DIVERGING, SEQUENTIAL, interpolate_ramp
from retroscope.results.projections import Pixels

FloatArray = npt.NDArray[np.float64]

GREY_STEPS = 127
"""Grey levels on each side of mid-grey: flipping the sign mirrors the colour exactly."""
ROBUST_PERCENTILE = 99.5
NONZERO_PERCENTILE, ROBUST_EXPONENT = 99, 0.8


def scale_robustly(values: FloatArray) -> FloatArray:
    """Each magnitude relative to the 99th percentile of those that are not zero, to the power .8.

    One value in a hundred reaches the end of the scale, and faint ones gain: a tenth becomes .16.
    Zeros do not count, so sparse lines are as strong as dense ones, and a border of zeros changes
    nothing.
    """
    magnitudes = np.abs(values)
    nonzero = magnitudes[magnitudes > 0]
    if not nonzero.size:
        return values
    shares = np.minimum(magnitudes / np.percentile(nonzero, NONZERO_PERCENTILE), 1)
    toned: FloatArray = np.copysign(shares**ROBUST_EXPONENT, values)
    return toned


def scale_by_maximum(values: FloatArray) -> FloatArray:
    """The values divided by the largest absolute value."""
    return values / (np.abs(values).max(initial=0) or 1)


def scale_by_percentile(values: FloatArray) -> FloatArray:
    """The values divided by the 99.5th percentile of their magnitudes, so outliers hide nothing.

    If nearly all values are zero, that percentile is zero too; then the maximum is used.
    """
    limit = np.percentile(np.abs(values), ROBUST_PERCENTILE) if values.size else 0
    return np.clip(values / limit, -1, 1) if limit > 0 else scale_by_maximum(values)


def scale_by_gamma(values: FloatArray) -> FloatArray:
    """The square root of each magnitude relative to the maximum: lifts faint structure."""
    shares = scale_by_maximum(values)
    return np.sign(shares) * np.sqrt(np.abs(shares))


TONES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "robust": scale_robustly,
    "tile": scale_by_maximum,
    "percentile": scale_by_percentile,
    "gamma": scale_by_gamma,
}
"""Each is an odd function to [-1, 1] that maps zero to zero."""
DEFAULT_TONE = "robust"


def find_tone(name: str) -> Callable[[FloatArray], FloatArray]:
    """The tone with this name."""
    return choose("tone", name, TONES)


def apply_tone(pixels: Pixels, tone: str = DEFAULT_TONE) -> RGB:
    """Signed pixels as RGB: zero is mid-grey, positive lighter, negative darker.

    One channel is shown in grey, three in colour on one scale; any other number of channels is
    summed and shown in grey. Non-finite values count as zero.

    >>> apply_tone(np.float32([[[-2.0], [0.0], [1.0]]]), "tile")[0, :, 0].tolist()
    [1, 128, 192]
    """
    shares = find_tone(tone)(_displayable_channels(zero_non_finite(pixels)))
    levels = GREY + np.rint(GREY_STEPS * shares)
    return np.broadcast_to(levels, (*pixels.shape[:2], 3)).astype(np.uint8)


def colour_map(values: npt.NDArray[np.floating], *, signed: bool | None = None) -> RGB:
    """An activation map in colours, scaled by its largest magnitude.

    Without negative values the scale runs from black (zero) to pale yellow; with them, from blue
    through light grey (zero) to red. `signed` sets the scale for maps that are shown together.
    Non-finite values count as zero.

    >>> colour_map(np.float32([[0.0, 4.0]])).tolist()
    [[[0, 0, 0], [252, 253, 191]]]
    >>> colour_map(np.float32([[0.0, -4.0]])).tolist()
    [[[220, 220, 220], [42, 74, 148]]]
    """
    shares = scale_by_maximum(zero_non_finite(values))
    if has_negatives(values) if signed is None else signed:
        return interpolate_ramp((shares + 1) / 2, DIVERGING)
    return interpolate_ramp(shares, SEQUENTIAL)


def has_negatives(values: npt.NDArray[np.floating]) -> bool:
    """Whether any finite value is negative: the map needs the diverging scale."""
    return bool((zero_non_finite(values) < 0).any())


def zero_non_finite(values: npt.NDArray[np.floating]) -> FloatArray:
    """The values, with zero in place of NaN and infinity."""
    return np.where(np.isfinite(values), values, 0).astype(np.float64)


def _displayable_channels(values: FloatArray) -> FloatArray:
    return values if values.shape[2] in {1, 3} else values.sum(axis=2, keepdims=True)
