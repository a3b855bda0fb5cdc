"""A picture that a browser sends: read with limits, from memory, never from or to a disk."""

from collections.abc import AsyncIterator

from retroscope.errors import ImageError
from retroscope.imaging.image import Image, Size, TooLargeError, decode_image

MOST_BYTES = 24 * 2**20
MOST_PIXELS = 50_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""What browsers and cameras give."""


async def received(stream: AsyncIterator[bytes]) -> bytes:
    """The body of a request; no more of it is kept than is taken."""
    data = bytearray()
    async for piece in stream:
        data += piece
        if len(data) > MOST_BYTES:
            raise TooLargeError(f"the picture has more than {MOST_BYTES // 2**20} MB; send less")
    return bytes(data)


def picture_in(data: bytes, *, at_least: Size | None = None) -> Image:
    """The picture in a file that was sent, upright; a JPEG maybe smaller, but no less than this.

    >>> picture_in(b"not a picture")
    Traceback (most recent call last):
    retroscope.errors.ImageError: this is no JPEG, PNG, WEBP, GIF or BMP, or it is damaged
    """
    try:
        return decode_image(data, at_least=at_least, formats=_FORMATS, max_pixels=MOST_PIXELS)
    except TooLargeError:
        raise
    except ImageError as error:
        kinds = f"{', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}"
        raise ImageError(f"this is no {kinds}, or it is damaged") from error
