"""Numbers to colours: signed pixels around mid-grey, activation maps on a scale of heat."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from retroscope.errors import RetroscopeError, did_you_mean
from retroscope.render.theme import DIVERGING, SEQUENTIAL, mixed
from retroscope.results.values import Picture, Pixels

Numbers = npt.NDArray[np.float64]

GREY = 128
REACH = 127
"""Steps from mid-grey to the ends, so that flipped signs mirror exactly."""
ROBUST_SHARE = 99.5


def tile(values: Numbers) -> Numbers:
    """Scaled so that the largest absolute value of the tile is 1."""
    return values / (np.abs(values).max(initial=0) or 1)


def percentile(values: Numbers) -> Numbers:
    """Scaled by the 99.5th percentile of absolute values, so that a lone spike hides nothing.

    Where nearly all of the tile is zero that percentile is zero too: then as `tile`.
    """
    limit = np.percentile(np.abs(values), ROBUST_SHARE) if values.size else 0
    return np.clip(values / limit, -1, 1) if limit > 0 else tile(values)


def gamma(values: Numbers) -> Numbers:
    """As `tile`, then the square root of each magnitude: faint structure comes forward."""
    share = tile(values)
    return np.sign(share) * np.sqrt(np.abs(share))


TONES: dict[str, Callable[[Numbers], Numbers]] = {
    "tile": tile,
    "percentile": percentile,
    "gamma": gamma,
}
"""Each maps signed values to [-1, 1], zero to zero, and is odd."""


def tone_named(name: str) -> Callable[[Numbers], Numbers]:
    """The tone of this name."""
    if name not in TONES:
        hint = did_you_mean(name, TONES) or f"there are {', '.join(TONES)}"
        raise RetroscopeError(f"no tone {name!r}; {hint}")
    return TONES[name]


def toned(pixels: Pixels, tone: str = "tile") -> Picture:
    """Signed pixels as a picture: zero is mid-grey, more is lighter, less is darker.

    One channel is shown in greys and three in colour, scaled together; any other count is
    summed into greys. A value that is not finite counts as zero.

    >>> toned(np.float32([[[-2.0], [0.0], [1.0]]]))[0, :, 0].tolist()
    [1, 128, 192]
    """
    share = tone_named(tone)(_as_colours(finite(pixels)))
    return np.broadcast_to(GREY + np.rint(REACH * share), (*pixels.shape[:2], 3)).astype(np.uint8)


def heat(values: npt.NDArray[np.floating], *, signed: bool | None = None) -> Picture:
    """An activation map in colours, scaled by its own largest absolute value.

    Without negative values the scale runs from black, zero, to pale yellow. With some it runs
    from blue through light grey, zero, to red; `signed` chooses for maps shown together. A
    value that is not finite counts as zero.

    >>> heat(np.float32([[0.0, 4.0]])).tolist()
    [[[0, 0, 0], [252, 253, 191]]]
    >>> heat(np.float32([[0.0, -4.0]])).tolist()
    [[[220, 220, 220], [42, 74, 148]]]
    """
    share = tile(finite(values))
    if has_negatives(values) if signed is None else signed:
        return mixed((share + 1) / 2, DIVERGING)
    return mixed(share, SEQUENTIAL)


def has_negatives(values: npt.NDArray[np.floating]) -> bool:
    """Whether a map needs the scale with two ends."""
    return bool((finite(values) < 0).any())


def finite(values: npt.NDArray[np.floating]) -> Numbers:
    """The values with zero for each that is not finite."""
    return np.where(np.isfinite(values), values, 0).astype(np.float64)


def _as_colours(values: Numbers) -> Numbers:
    return values if values.shape[2] in {1, 3} else values.sum(axis=2, keepdims=True)
