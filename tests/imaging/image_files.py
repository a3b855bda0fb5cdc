"""Pictures to write into files, and what comes of them by definition."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.ExifTags import Base as Tag

from retroscope.imaging.decoding import RGB

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(height: int = 12, width: int = 20, channels: int = 3) -> RGB:
    """Smooth in every direction, and unlike itself after any turn."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [200 * y, 250 * x, 120 * (y + x), 255 * (0.5 + 0.4 * np.sin(9 * x))][:channels]
    return np.stack(waves, axis=2).clip(0, 255).astype(np.uint8)


def saved(path: Path, image: PIL.Image.Image | RGB, **options: object) -> Path:
    shown = image if isinstance(image, PIL.Image.Image) else PIL.Image.fromarray(image)
    shown.save(path, **options)  # type: ignore[arg-type]
    return path


def tagged(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[Tag.Orientation] = orientation
    return exif


def png_header(height: int, width: int) -> bytes:
    """A PNG that promises a size and ends there."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0")
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def on_white(colour: RGB, alpha: RGB) -> npt.NDArray[np.float64]:
    share = alpha[..., None] / 255
    return np.asarray(colour * share + 255 * (1 - share))


UPRIGHT: dict[int, Callable[[RGB], RGB]] = {
    # EXIF 2.32, tag 0x112: where the stored first row and first column belong.
    1: lambda stored: stored,  # top, left
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.swapaxes(0, 1),  # left, top
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda stored: stored.swapaxes(0, 1)[::-1],  # left, bottom
}
