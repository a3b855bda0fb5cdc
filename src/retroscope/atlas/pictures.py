"""Pictures as an atlas keeps them: WebP; a projection as grey with its peak beside it."""

from io import BytesIO

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling

from retroscope.atlas.schema import AtlasError
from retroscope.imaging.image import GREY
from retroscope.results.values import Picture, Pixels

LONGEST = 112
"""Pixels of a stored projection's longest side: about what a tile of a plate is shown at."""
QUALITY, PROJECTION_QUALITY = 90, 80
LOSSLESS = 64 * 64
"""Up to so many pixels a picture is kept without loss, which then costs next to nothing."""
REACH = 127
"""Grey levels from zero to the peak, to either side of the middle grey."""


def encode_picture(picture: Picture) -> bytes:
    """A picture as WebP, to the eye without loss.

    >>> encode_picture(np.zeros((4, 4, 3), np.uint8))[8:12]
    b'WEBP'
    """
    return _webp(PIL.Image.fromarray(picture))


def decode_picture(blob: bytes) -> Picture:
    """The picture in a WebP."""
    try:
        with PIL.Image.open(BytesIO(blob), formats=["WEBP"]) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise AtlasError(
            f"a picture in the atlas is damaged ({error}); take another copy of the atlas"
        ) from error


def encode_projection(pixels: Pixels) -> tuple[bytes, float]:
    """A signed projection as WebP, and the value that its grey levels 1 and 255 stand for.

    Made smaller by averaging, where it is larger than `LONGEST`; zero stays the middle grey. What
    is no finite number becomes zero. Its channels are stacked from top to bottom as greys: as
    colours they would be kept at half the size.

    >>> blob, peak = encode_projection(np.full((8, 8, 3), -2.5, np.float32))
    >>> peak, decode_projection(blob, peak, (8, 8), 3).min().item()
    (2.5, -2.5)
    """
    finite = pixels.astype(np.float32)
    finite[~np.isfinite(finite)] = 0
    small = _resized(finite, _stored_size(*finite.shape[:2]), Resampling.BOX)
    peak = float(np.abs(small).max(initial=0))
    if small.size == 0:
        return b"", peak
    levels = np.rint(GREY + REACH * (small / (peak or 1))).astype(np.uint8)
    return _webp(PIL.Image.fromarray(_sheet(levels)), PROJECTION_QUALITY), peak


def decode_projection(blob: bytes, peak: float, size: tuple[int, int], depth: int) -> Pixels:
    """The projection back at its own size: height and width."""
    if not blob:
        return np.zeros((*size, depth), np.float32)
    levels = _unstacked(decode_picture(blob), depth).astype(np.float32)
    signed = (levels - np.float32(GREY)) / np.float32(REACH) * np.float32(peak)
    return _resized(signed, size, Resampling.BILINEAR)


def _stored_size(height: int, width: int) -> tuple[int, int]:
    shrink = min(1.0, LONGEST / max(height, width, 1))
    return (
        max(round(height * shrink), min(height, 1)),
        max(round(width * shrink), min(width, 1)),
    )


def _resized(pixels: Pixels, size: tuple[int, int], resample: Resampling) -> Pixels:
    if pixels.shape[:2] == size:
        return pixels
    planes = (PIL.Image.fromarray(np.ascontiguousarray(plane)) for plane in _planes(pixels))
    return np.stack([np.array(plane.resize(size[::-1], resample)) for plane in planes], axis=2)


def _planes(pixels: Pixels) -> Pixels:
    planes: Pixels = pixels.transpose(2, 0, 1)
    return planes


def _sheet(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width, depth = levels.shape
    return levels.transpose(2, 0, 1).reshape(depth * height, width)


def _unstacked(sheet: Picture, depth: int) -> Picture:
    height, width = len(sheet) // depth, sheet.shape[1]
    return sheet[..., 1].reshape(depth, height, width).transpose(1, 2, 0)


def _webp(picture: PIL.Image.Image, quality: int = QUALITY) -> bytes:
    buffer = BytesIO()
    small = picture.width * picture.height <= LOSSLESS
    picture.save(buffer, "WEBP", lossless=small, quality=quality, method=4)
    return buffer.getvalue()
