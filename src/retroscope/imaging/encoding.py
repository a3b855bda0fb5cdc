"""Images as files in memory: WebP, in which they are stored and served, and PNG."""

from base64 import b64encode
from io import BytesIO

import numpy as np
import PIL.Image

from retroscope.errors import ImageError
from retroscope.imaging.decoding import RGB, Size

_LOW_14_BITS = 0x3FFF


def encode_webp(
    pixels: RGB | PIL.Image.Image, *, quality: int = 90, lossless_up_to: int = 0, effort: int = 4
) -> bytes:
    """The pixels as a WebP file; lossless if the image has at most `lossless_up_to` pixels.

    `effort` goes from 0, fast, to 6, small.

    >>> encode_webp(np.zeros((4, 4, 3), np.uint8))[8:12]
    b'WEBP'
    """
    image = _as_pil(pixels)
    lossless = image.width * image.height <= lossless_up_to
    buffer = BytesIO()
    image.save(buffer, "WEBP", lossless=lossless, quality=quality, method=effort)
    return buffer.getvalue()


def decode_webp(blob: bytes) -> RGB:
    """The pixels of a WebP file."""
    try:
        with PIL.Image.open(BytesIO(blob), formats=["WEBP"]) as image:
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"cannot decode a WebP image ({error})") from error


def encode_png(pixels: RGB | PIL.Image.Image) -> bytes:
    """The pixels as a PNG file.

    >>> encode_png(np.zeros((4, 4, 3), np.uint8))[1:4]
    b'PNG'
    """
    buffer = BytesIO()
    _as_pil(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def png_url(pixels: RGB | PIL.Image.Image) -> str:
    """A data URL that contains the pixels as PNG."""
    return f"data:image/png;base64,{b64encode(encode_png(pixels)).decode('ascii')}"


def _as_pil(pixels: RGB | PIL.Image.Image) -> PIL.Image.Image:
    if isinstance(pixels, PIL.Image.Image):
        return pixels
    return PIL.Image.fromarray(np.ascontiguousarray(pixels))


def webp_size(head: bytes) -> Size:
    """Height and width, from the first 30 bytes of a WebP file (RFC 9649, 2.5 to 2.7).

    >>> webp_size(encode_webp(np.zeros((4, 6, 3), np.uint8)))
    (4, 6)
    """
    kind = head[12:16]
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits >> 14 & _LOW_14_BITS) + 1, (bits & _LOW_14_BITS) + 1
    if kind == b"VP8X":
        return int.from_bytes(head[27:30], "little") + 1, int.from_bytes(head[24:27], "little") + 1
    height, width = (int.from_bytes(head[start : start + 2], "little") for start in (28, 26))
    return height & _LOW_14_BITS, width & _LOW_14_BITS
