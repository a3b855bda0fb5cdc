"""A patch lit by its projection: what contributes keeps its colours, the rest is dark and grey."""

import numpy as np
import numpy.typing as npt

from retroscope.errors import RetroscopeError
from retroscope.geometry import format_size
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import to_grey

FloatArray = npt.NDArray[np.float64]

BLUR_FRACTION = 40
"""The longer side of a projection is this many standard deviations of the blur."""
FULL_LIGHT_PERCENTILE = 95
UNLIT_LEVEL = 48
"""The grey that an unlit patch is mixed with: dark on light pages, and not black on dark ones."""
UNLIT_CONTRAST = 0.2
"""What an unlit pixel keeps of its brightness; its colour is gone."""
_BLUR_REACH = 3
"""Standard deviations at which the blur is cut off."""


def contribution(pixels: npt.NDArray[np.float32]) -> FloatArray:
    """How much each pixel of a projection contributes, from 0 to 1, whatever its sign.

    The magnitude of a pixel is the root of the sum of squares over its channels. A Gaussian with a
    standard deviation of 1/40 of the projection's longer side blurs it, so a line lights what it
    outlines; along the depth of a volume that is 1/40 of the depth. 1 stands for the 95th
    percentile of the magnitudes above zero, and for all above it.

    >>> contribution(np.float32([[[3, -4], [0, 0.5], [0, 0]]])).round(2).tolist()
    [[1.0, 0.1, 0.0]]
    """
    finite = np.where(np.isfinite(pixels), pixels, 0).astype(np.float64)
    strengths = np.sqrt((finite**2).sum(axis=-1))
    magnitudes = _blur(np.atleast_2d(strengths)).reshape(strengths.shape)
    positive = magnitudes[magnitudes > 0]
    if not positive.size:
        return magnitudes
    lit: FloatArray = np.minimum(magnitudes / np.percentile(positive, FULL_LIGHT_PERCENTILE), 1)
    return lit


def light_patch(patch: RGB, pixels: npt.NDArray[np.float32]) -> RGB:
    """The patch with each pixel lit by its contribution to the projection of the same size.

    At 1 a pixel keeps its colour. At 0 it is a grey with a fifth of its brightness and four fifths
    of a dark grey. In between the two are mixed.
    """
    if patch.shape[:-1] != pixels.shape[:-1]:
        raise RetroscopeError(
            f"a projection of {format_size(pixels.shape[:-1])} pixels cannot light a patch of "
            f"{format_size(patch.shape[:-1])}; give the patch under the projection's box"
        )
    light = contribution(pixels)[..., None]
    unlit = UNLIT_LEVEL + UNLIT_CONTRAST * (to_grey(patch) - UNLIT_LEVEL)[..., None]
    lit: RGB = np.rint(unlit + light * (patch - unlit)).astype(np.uint8)
    return lit


def _blur(values: FloatArray) -> FloatArray:
    """Each value as the average of its surroundings, weighted by a Gaussian within the borders."""
    *depth, height, width = values.shape
    deviation = max(height, width) / BLUR_FRACTION
    blurred: FloatArray = _weights(height, deviation) @ values @ _weights(width, deviation).T
    for slices in depth:
        blurred = np.tensordot(_weights(slices, slices / BLUR_FRACTION), blurred, axes=1)
    return blurred


def _weights(length: int, deviation: float) -> FloatArray:
    """For each position of an axis the weights of all, which add up to 1."""
    positions = np.arange(length)
    distances = np.abs(positions[:, None] - positions) / (deviation or 1)
    weights = np.where(distances <= _BLUR_REACH, np.exp(-(distances**2) / 2), 0)
    normalised: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return normalised
