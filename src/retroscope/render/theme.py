"""The colours of every figure: dark text on light paper, and the scales of activation maps."""

import numpy as np
import numpy.typing as npt

from retroscope.imaging.decoding import RGB

Colour = tuple[int, int, int]

PAPER: Colour = (252, 252, 250)
INK: Colour = (32, 36, 44)
MUTED: Colour = (104, 110, 120)
HAIRLINE: Colour = (214, 216, 218)
BAND: Colour = (244, 245, 245)
WARM: Colour = (178, 64, 52)
COOL: Colour = (66, 103, 172)
ALARM: Colour = (0, 158, 108)
DEAD: Colour = (72, 75, 80)
DEAD_MARK: Colour = (116, 120, 126)

Ramp = tuple[Colour, ...]
"""Evenly spaced control points; colours between them are interpolated."""

SEQUENTIAL: Ramp = (
    (0, 0, 0),
    (32, 18, 76),
    (82, 20, 122),
    (130, 38, 128),
    (182, 55, 121),
    (229, 82, 99),
    (251, 137, 97),
    (254, 196, 137),
    (252, 253, 191),
)
DIVERGING: Ramp = (
    (42, 74, 148),
    (98, 134, 190),
    (164, 186, 210),
    (220, 220, 220),
    (222, 172, 150),
    (202, 104, 84),
    (158, 32, 40),
)


def interpolate_ramp(shares: npt.NDArray[np.float64], ramp: Ramp) -> RGB:
    """The colour at each share of a ramp: 0 is its first control point, 1 its last.

    >>> interpolate_ramp(np.array([[0.0, 0.5, 1.0]]), ((0, 0, 0), (200, 100, 50))).tolist()
    [[[0, 0, 0], [100, 50, 25], [200, 100, 50]]]
    """
    steps = np.linspace(0, 1, len(ramp))
    bands = [np.interp(shares, steps, band) for band in zip(*ramp, strict=True)]
    colours: RGB = np.rint(np.stack(bands, axis=-1)).astype(np.uint8)
    return colours
