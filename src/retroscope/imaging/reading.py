"""The pixels of a file for a network: 8-bit colours of a photograph, or channels of numbers."""

from collections.abc import Sequence
from typing import IO

import numpy as np
import PIL.Image

from retroscope.errors import ImageError
from retroscope.imaging.decoding import (
    DEEP_MODES,
    FORMATS,
    Size,
    decode_in_mode,
    report_damage,
    to_rgb_pil,
)
from retroscope.imaging.image import HasPixels, as_image
from retroscope.imaging.npy_files import NPY_MAGIC, read_npy
from retroscope.imaging.raster import PHOTO_CHANNELS, AnyValues, Raster, channels_last
from retroscope.imaging.tiff_files import is_tiff, read_tiff

_MAGIC_BYTES = 8
_NAMED_CHANNELS = {2: "LA", 4: "RGBA"}
"""The modes of Pillow whose channels a network takes that takes as many."""


def holds_numbers(head: bytes) -> bool:
    """Whether a file that begins like this may hold more than a screen shows.

    >>> holds_numbers(NPY_MAGIC), holds_numbers(b"GIF89a")
    (True, False)
    """
    return head.startswith(NPY_MAGIC) or is_tiff(head)


def read_pixels(
    file: IO[bytes],
    name: str,
    *,
    channels: int,
    is_scaled: bool = False,
    at_least: Size | None = None,
    formats: Sequence[str] = FORMATS,
    max_pixels: int | None = None,
) -> PIL.Image.Image | AnyValues:
    """The pixels of an open file for a network of so many channels.

    Bytes of one or three channels are RGB for Pillow, unless `is_scaled`: then 255 is not white.
    All else is an array (height, width, channels), in the units of the file.
    """
    values = _read_numbers(file, name, channels, max_pixels)
    if values is None:
        image = decode_in_mode(
            file, name, formats=formats, max_pixels=max_pixels, at_least=at_least
        )
        if channels in PHOTO_CHANNELS and not is_scaled:
            return to_rgb_pil(image)
        return _channels_of(image, channels, name)
    if values.dtype == np.uint8 and channels in PHOTO_CHANNELS and not is_scaled:
        return as_photo(values)
    return values


def as_photo(values: AnyValues) -> PIL.Image.Image:
    """Bytes of one or three channels in mode RGB."""
    pixels = values[..., 0] if values.shape[2] == 1 else values
    return PIL.Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


def _read_numbers(
    file: IO[bytes], name: str, channels: int, max_pixels: int | None
) -> AnyValues | None:
    """The array in a file of numbers; None for a photograph, which is read from its start."""
    head = file.read(_MAGIC_BYTES)
    file.seek(0)
    values: AnyValues | None = None
    if head.startswith(NPY_MAGIC):
        values = read_npy(file, name, channels=channels)
    elif is_tiff(head):
        values = read_tiff(file, name, channels=channels, max_pixels=max_pixels)
        file.seek(0)
    return values


def as_raster(image: PIL.Image.Image | AnyValues | HasPixels, channels: int) -> Raster:
    """An image in memory for a network of so many channels, in the units that it has."""
    if isinstance(image, PIL.Image.Image):
        with report_damage("the PIL image"):
            image.load()
            return Raster(_channels_of(image, channels, "the PIL image"))
    if isinstance(image, np.ndarray):
        return Raster(channels_last(image, channels, "the array"))
    photo = as_image(image)
    return Raster(photo.pixels, photo.source)


def _channels_of(image: PIL.Image.Image, channels: int, name: str) -> AnyValues:
    """The channels of a photograph as they are stored."""
    if channels in PHOTO_CHANNELS:
        if image.mode in DEEP_MODES:
            return np.array(image)[..., None]
        return np.array(to_rgb_pil(image))
    if image.mode != _NAMED_CHANNELS.get(channels):
        raise ImageError(
            f"{name} has {len(image.getbands())} channels ({image.mode}), and the network takes "
            f"{channels}; give an image of {channels} channels, as .npy or .tif"
        )
    return np.array(image)
