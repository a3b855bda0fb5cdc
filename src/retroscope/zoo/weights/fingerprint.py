"""The first filters of Oxford's VGG networks are known: they tell how a copy of them is laid out.

Copies of these weights go about turned and unturned, for BGR and for RGB, under the same names.
"""

from dataclasses import dataclass

import numpy as np

from retroscope.zoo.weights.foreign import Foreign, turned

OXFORD = (123.68, 116.779, 103.939)
"""The mean colour of their training set: red, green, blue."""


@dataclass(frozen=True)
class Fingerprint:
    """First biases, and the corners of the first filter's blue, which turning exchanges."""

    network: str
    biases: tuple[float, float, float, float]
    corner: float
    opposite: float


FINGERPRINTS = (
    Fingerprint("VGG16", (0.73430, 0.09340, 0.06776, 0.88630), 0.42947, -0.35010),
    Fingerprint("VGG19", (0.73018, 0.06494, 0.03429, 0.82604), 0.341195, -0.336833),
)
BLUE = {"BGR": 0, "RGB": 2}
NEAR = 1e-3
"""So that copies in half precision are known, too."""


def identified(foreign: Foreign) -> Foreign:
    """The same weights; Oxford's are put upright, and their order of colours is known."""
    first = foreign.first
    if first.weight.shape[1:] != (3, 3, 3) or first.bias is None:
        return foreign
    for known in FINGERPRINTS:
        if _near(first.bias[:4], known.biases):
            return _as_known(foreign, known)
    return foreign


def _as_known(foreign: Foreign, known: Fingerprint) -> Foreign:
    whose = f"its first filters are those of Oxford's {known.network}"
    for colour, blue in BLUE.items():
        corner = foreign.first.weight[0, blue, 0, 0]
        if _near(corner, known.corner):
            said = f"{whose}, for {colour} and upright"
            return foreign.having(said, colour=colour, mean=OXFORD)
        if _near(corner, known.opposite):
            said = f"{whose}, for {colour} and turned by 180 degrees; all filters are turned back"
            upright = turned(foreign.layers)
            return foreign.having(said, layers=upright, colour=colour, mean=OXFORD)
    return foreign


def _near(found: object, known: object) -> bool:
    one, other = np.asarray(found), np.asarray(known)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=0, atol=NEAR))
