"""Colour scales for heat maps: perceptually uniform from dark to light, and jet on request.

Control points of viridis, inferno and magma (Smith & van der Walt 2015), evenly spaced.
"""

import numpy as np
import numpy.typing as npt

from retroscope.errors import choose
from retroscope.imaging.decoding import RGB
from retroscope.render.theme import DIVERGING, Colour, Ramp, interpolate_ramp
from retroscope.render.tone import zero_non_finite


def _ramp(points: str) -> Ramp:
    """A ramp from its control points in hexadecimal.

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
UNIFORM_SCALES = ("inferno", "magma", "viridis")
"""Perceptually uniform scales: equal steps look equal."""

CLASS_COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)
"""Colours for classes that are distinct to colour-blind readers too (Okabe & Ito 2008)."""
REMAINING_CLASSES: Colour = (150, 150, 150)


def find_scale(name: str) -> Ramp:
    """The colour scale with this name."""
    return choose("colour scale", name, SCALES)


def apply_scale(
    values: npt.NDArray[np.floating],
    colours: str = "inferno",
    *,
    limits: tuple[float, float] | None = None,
    limit: float | None = None,
) -> RGB:
    """A map in colours: from 0 to `limit` (default: its largest value), or between two `limits`.

    If values have both signs, the scale is always blue for negative, light grey for zero and red
    for positive. Non-finite values count as zero; values beyond a limit are clipped to it.

    >>> apply_scale(np.float32([[0, 2]])).tolist()
    [[[0, 0, 4], [252, 255, 164]]]
    """
    ramp, finite_values = find_scale(colours), zero_non_finite(values)
    if limits is not None:
        low, high = limits
        return interpolate_ramp((finite_values - low) / ((high - low) or 1), ramp)
    limit = limit or float(np.abs(finite_values).max(initial=0)) or 1
    if (finite_values < 0).any():
        return interpolate_ramp((finite_values / limit + 1) / 2, DIVERGING)
    return interpolate_ramp(finite_values / limit, ramp)
