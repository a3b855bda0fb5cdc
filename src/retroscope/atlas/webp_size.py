"""The size of a kept picture, from the head of its WebP, without decoding it."""

from collections.abc import Iterable

from retroscope.atlas import queries
from retroscope.atlas.reader import Atlas
from retroscope.imaging.image import Size

_FOURTEEN = 0x3FFF


def picture_sizes(atlas: Atlas, images: Iterable[int]) -> dict[int, Size]:
    """Height and width of those pictures that are kept."""
    heads = queries.picture_heads(atlas, sorted(set(images)))
    return {image: webp_size(head) for image, head in heads.items()}


def input_size(atlas: Atlas) -> Size | None:
    """The size that the network takes, if a picture of it is kept."""
    head = queries.first_head(atlas)
    return None if head is None else webp_size(head)


def webp_size(head: bytes) -> Size:
    """Height and width as the head of a WebP tells them (RFC 9649, 2.5 to 2.7)."""
    kind = head[12:16]
    if kind == b"VP8L":
        packed = int.from_bytes(head[21:25], "little")
        return (packed >> 14 & _FOURTEEN) + 1, (packed & _FOURTEEN) + 1
    if kind == b"VP8X":
        return int.from_bytes(head[27:30], "little") + 1, int.from_bytes(head[24:27], "little") + 1
    height, width = (int.from_bytes(head[at : at + 2], "little") for at in (28, 26))
    return height & _FOURTEEN, width & _FOURTEEN
