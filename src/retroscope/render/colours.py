"""Scales of colour for heat: even to the eye, from dark to light; jet for those who ask for it.

Control points of the scales of Smith & van der Walt 2015 (viridis, inferno, magma), at even steps.
"""

import numpy as np
import numpy.typing as npt

from retroscope.errors import RetroscopeError, did_you_mean
from retroscope.render.theme import DIVERGING, Colour, Ramp, mixed
from retroscope.render.tone import finite
from retroscope.results.values import Picture


def _ramp(points: str) -> Ramp:
    """
    >>> _ramp("000004 fcffa4")
    ((0, 0, 4), (252, 255, 164))
    """
    codes = (bytes.fromhex(point) for point in points.split())
    return tuple((red, green, blue) for red, green, blue in codes)


SCALES: dict[str, Ramp] = {
    "inferno": _ramp("000004 210c4a 57106e 8a226a bc3754 e45a31 f98e09 f9cb35 fcffa4"),
    "magma": _ramp("000004 1d1147 51127c 832681 b73779 e75263 fc8961 fec488 fcfdbf"),
    "viridis": _ramp("440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725"),
    "jet": _ramp("00007f 0000ff 007fff 00ffff 7fff7f ffff00 ff7f00 ff0000 7f0000"),
}
EVEN = ("inferno", "magma", "viridis")
"""Scales on which equal steps look equal."""

CLASSES: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)
"""Colours for classes, told apart also by those who confuse red and green (Okabe & Ito 2008)."""
OTHER_CLASSES: Colour = (150, 150, 150)


def scale_named(name: str) -> Ramp:
    """The scale of this name."""
    if name not in SCALES:
        hint = did_you_mean(name, SCALES) or f"there are {', '.join(SCALES)}"
        raise RetroscopeError(f"no colours {name!r}; {hint}")
    return SCALES[name]


def coloured(
    values: npt.NDArray[np.floating],
    colours: str = "inferno",
    *,
    limits: tuple[float, float] | None = None,
    most: float | None = None,
) -> Picture:
    """A map in colours, from 0 to its largest value or the `most` given, or between limits.

    Values of two signs run from blue through light grey, zero, to red, whatever the scale. A value
    that is not finite counts as zero, one beyond the ends as the end.

    >>> coloured(np.float32([[0, 2]])).tolist()
    [[[0, 0, 4], [252, 255, 164]]]
    """
    ramp, known = scale_named(colours), finite(values)
    if limits is not None:
        low, high = limits
        return mixed((known - low) / ((high - low) or 1), ramp)
    most = most or float(np.abs(known).max(initial=0)) or 1
    if (known < 0).any():
        return mixed((known / most + 1) / 2, DIVERGING)
    return mixed(known / most, ramp)
