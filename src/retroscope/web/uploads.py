"""A picture that a browser sends: read with limits, from memory, never from or to a disk."""

import struct
import zlib
from collections.abc import AsyncIterator
from io import BytesIO

import PIL.Image
from PIL import ImageOps

from retroscope.errors import ImageError
from retroscope.image import Image, as_image

MOST_BYTES = 24 * 2**20
MOST_PIXELS = 50_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""What browsers and cameras give."""
_DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, MemoryError, RuntimeError, struct.error, zlib.error, Warning),
    PIL.Image.DecompressionBombError,
)
"""What Pillow's readers raise on broken files."""


class TooLargeError(ImageError):
    """A picture of more bytes or pixels than are taken."""


async def received(stream: AsyncIterator[bytes]) -> bytes:
    """The body of a request; no more of it is kept than is taken."""
    data = bytearray()
    async for piece in stream:
        data += piece
        if len(data) > MOST_BYTES:
            raise TooLargeError(f"the picture has more than {MOST_BYTES // 2**20} MB; send less")
    return bytes(data)


def picture_in(data: bytes) -> Image:
    """The picture in a file that was sent, upright.

    >>> picture_in(b"not a picture")
    Traceback (most recent call last):
    retroscope.errors.ImageError: this is no JPEG, PNG, WEBP, GIF or BMP, or it is damaged
    """
    try:
        with PIL.Image.open(BytesIO(data), formats=_FORMATS) as picture:
            _refuse_bombs(picture.width * picture.height)
            picture.load()
            return as_image(ImageOps.exif_transpose(picture))
    except _DAMAGE as error:
        kinds = f"{', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}"
        raise ImageError(f"this is no {kinds}, or it is damaged") from error


def _refuse_bombs(pixels: int) -> None:
    if pixels > MOST_PIXELS:
        raise TooLargeError(
            f"the picture has {pixels:,} pixels, over the limit of {MOST_PIXELS:,}; make it smaller"
        )
