"""Grey of more than 8 bits in 8 bits, scaled and not clipped."""

import numpy as np
import numpy.typing as npt
import PIL.Image

WHITES: dict[str, tuple[float, ...]] = {
    "I": (2**8 - 1, 2**16 - 1, 2**31 - 1),
    "F": (1, 2**8 - 1, 2**16 - 1),
} | dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), (2**16 - 1,))
"""The values that may stand for white in a deep grey mode of Pillow's."""


def shallow(picture: PIL.Image.Image) -> npt.NDArray[np.uint8]:
    """Deep grey in 8 bits: white is the smallest of the mode's whites that holds every value.

    Negative values and those that are no number are black.
    """
    values: npt.NDArray[np.float32] = np.array(picture, np.float32)
    values[np.isnan(values)] = 0
    brightest = values.max(where=np.isfinite(values), initial=0)
    whites = WHITES[picture.mode]
    white = next((white for white in whites if brightest <= white), whites[-1])
    shown: npt.NDArray[np.uint8] = np.rint(255 * (values / white).clip(0, 1)).astype(np.uint8)
    return shown
