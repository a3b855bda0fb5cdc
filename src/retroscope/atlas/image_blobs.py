"""Images and projections as WebP blobs; a projection as grey levels with their scale beside it."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from retroscope.atlas.queries import image_queries
from retroscope.atlas.queries.query import SqlSource, damaged_error
from retroscope.atlas.schema import AtlasError
from retroscope.errors import ImageError
from retroscope.imaging.decoding import RGB, Size
from retroscope.imaging.encoding import decode_webp, encode_webp, webp_size
from retroscope.imaging.image import GREY, resize_array
from retroscope.results.projections import Pixels
from retroscope.results.slice_stacks import slices_to_sheet, stack_channels

MAX_PROJECTION_SIDE = 112
"""The longest side of a stored projection: about the size of a tile on a plate."""
QUALITY, PROJECTION_QUALITY = 90, 80
MAX_LOSSLESS_PIXELS = 64 * 64
"""Images up to this many pixels are stored losslessly, which costs next to nothing."""
MAX_IMAGE_PIXELS = 2**24
"""The largest stored image that is read: 4096 x 4096, far above the input of any network."""
_HEADER_BYTES = 25
_IMAGE_DIMENSIONS = 3
_MAX_WEBP_SIDE = 2**14 - 1
MAX_LEVEL = 127
"""Grey levels between zero, the middle grey, and the peak on either side."""


def encode_image(image: RGB) -> bytes:
    """An image as WebP, without visible loss; a volume as one image of all its slices.

    >>> encode_image(np.zeros((4, 4, 3), np.uint8))[8:12]
    b'WEBP'
    """
    sheet = slices_to_sheet(image) if image.ndim > _IMAGE_DIMENSIONS else image
    return encode_webp(sheet, quality=QUALITY, lossless_up_to=MAX_LOSSLESS_PIXELS)


def decode_image(blob: bytes) -> RGB:
    """The image in a WebP."""
    check_image_size(blob)
    try:
        return decode_webp(blob)
    except (ImageError, EOFError) as error:
        raise AtlasError(
            f"an image in the atlas is damaged ({error}); use another copy of the atlas"
        ) from error


def encode_projection(pixels: Pixels) -> tuple[bytes, float]:
    """A signed projection as WebP, and the peak: the value of grey level 255.

    Zero is the middle grey. A projection larger than `MAX_PROJECTION_SIDE` is averaged down. Values
    that are not finite become zero. The channels are stacked from top to bottom as greys, because
    WebP stores colours at half the resolution. Of so many that they would be too high for a WebP,
    as of volumes of many slices, all are averaged down further.

    >>> blob, peak = encode_projection(np.full((8, 8, 3), -2.5, np.float32))
    >>> peak, decode_projection(blob, peak, size=(8, 8), depth=3).min().item()
    (2.5, -2.5)
    """
    finite = stack_channels(pixels).astype(np.float32)
    finite[~np.isfinite(finite)] = 0
    size = _size_in_stack(_stored_size(*finite.shape[:2]), finite.shape[2])
    small = resize_array(finite, size, resample="box")
    peak = float(np.abs(small).max(initial=0))
    if small.size == 0:
        return b"", peak
    levels = np.rint(GREY + MAX_LEVEL * (small / (peak or 1))).astype(np.uint8)
    sheet = _stack_channels(levels)
    blob = encode_webp(sheet, quality=PROJECTION_QUALITY, lossless_up_to=MAX_LOSSLESS_PIXELS)
    return blob, peak


def fits_stack(pixels: Pixels) -> bool:
    """Whether the channels of a projection can be stacked in one WebP.

    >>> fits_stack(np.zeros((224, 224, 12), np.float32))
    True
    """
    rows: int = _stored_size(*pixels.shape[:2])[0] * pixels.shape[2]
    return rows <= _MAX_WEBP_SIDE


def decode_projection(blob: bytes, peak: float, *, size: Size, depth: int) -> Pixels:
    """The projection at its original height and width, with `depth` channels."""
    if not blob:
        return np.zeros((*size, depth), np.float32)
    sheet = decode_image(blob)
    if len(sheet) % depth:
        raise damaged_error(f"a projection of {depth} channels has {len(sheet)} rows")
    levels = _unstack_channels(sheet, depth).astype(np.float32)
    signed = (levels - np.float32(GREY)) / np.float32(MAX_LEVEL) * np.float32(peak)
    return resize_array(signed, size)


def stored_image_sizes(source: SqlSource, images: Iterable[int]) -> dict[int, Size]:
    """Height and width of those images that are stored."""
    headers = image_queries.image_headers(source, sorted(set(images)))
    return {image: check_image_size(header) for image, header in headers.items()}


def network_input_size(source: SqlSource) -> Size | None:
    """The size of the network's input, if an image is stored."""
    header = image_queries.any_image_header(source)
    return None if header is None else check_image_size(header)


def check_image_size(blob: bytes) -> Size:
    """Height and width of a WebP by its header; refuses what would need too much memory."""
    if len(blob) < _HEADER_BYTES or blob[8:15] != b"WEBPVP8":
        raise damaged_error("an image is not a WebP")
    height, width = webp_size(blob)
    if not 0 < height * width <= MAX_IMAGE_PIXELS:
        raise damaged_error(
            f"an image has {height} x {width} pixels; the limit is {MAX_IMAGE_PIXELS:,} in all"
        )
    return height, width


def _stored_size(height: int, width: int) -> Size:
    scale = min(1.0, MAX_PROJECTION_SIDE / max(height, width, 1))
    return max(round(height * scale), min(height, 1)), max(round(width * scale), min(width, 1))


def _size_in_stack(size: Size, channels: int) -> Size:
    """The size at which so many channels can be stacked."""
    rows = _MAX_WEBP_SIDE // max(channels, 1)
    if size[0] <= rows:
        return size
    return max(rows, 1), max(round(size[1] * rows / size[0]), 1)


def _stack_channels(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width, depth = levels.shape
    return levels.transpose(2, 0, 1).reshape(depth * height, width)


def _unstack_channels(sheet: RGB, depth: int) -> RGB:
    height, width = len(sheet) // depth, sheet.shape[1]
    return sheet[..., 1].reshape(depth, height, width).transpose(1, 2, 0)
