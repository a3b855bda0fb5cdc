"""Decodes image files safely: upright, 8-bit RGB, with limits, and one error for all damage.

Colour profiles are not applied, as in the loaders that networks are trained with.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import IO

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.ExifTags import Base as Tag
from PIL.Image import Transpose

from retroscope.errors import ImageError

RGB = npt.NDArray[np.uint8]
"""Height, width, 3: red, green, blue as shown on a screen."""
Size = tuple[int, int]
"""Height, width."""

MAX_PIXELS = 2 * (2**30 // 4 // 3)
"""Pillow's own limit: 179 million pixels, half a gigabyte once decoded."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000", "HEIF", "JXL")
"""Formats that are read, under Pillow's names; the last two if a plugin has registered them.

Left out: readers that start other programs (EPS), and readers without a signature to check.
"""

DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, AssertionError, MemoryError, RuntimeError, struct.error, zlib.error),
    *(PIL.Image.DecompressionBombError, Warning),
)
"""What Pillow's readers raise on damaged files; warnings if the user has made them errors."""

_UPRIGHT: dict[int, Transpose] = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""The turn that undoes each EXIF orientation; from 5 on it swaps height and width."""

DEEP_MODES = frozenset(("I;16", "I;16L", "I;16B", "I;16N", "I", "F"))
"""Pillow's modes of grey in more than 8 bits."""

_WHITE_LEVELS: dict[str, tuple[float, ...]] = {
    "I": (2**8 - 1, 2**16 - 1, 2**31 - 1),
    "F": (1, 2**8 - 1, 2**16 - 1),
} | dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), (2**16 - 1,))
"""The values that can stand for white in each of Pillow's deep grey modes."""


class TooLargeError(ImageError):
    """An image of more bytes or pixels than allowed."""


def open_image_file(path: Path, name: str) -> IO[bytes]:
    """The file, opened for reading; folders, devices and empty files are refused."""
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            kind = "a folder" if S_ISDIR(status.st_mode) else "a device or a pipe"
            raise ImageError(f"{name} is {kind}, not an image; give the path of a file")
        if status.st_size == 0:
            raise ImageError(f"{name} is an empty file (0 bytes); copy the image again")
        return path.open("rb")
    except PermissionError as error:
        raise ImageError(f"cannot read {name} ({error.strerror}); change its mode") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot open {name} ({reason}); check the path") from error


def decode(
    file: IO[bytes],
    name: str,
    *,
    formats: Sequence[str] = FORMATS,
    max_pixels: int | None = None,
    at_least: Size | None = None,
) -> RGB:
    """The pixels of an open file, which errors call `name`."""
    with report_damage(name):
        return to_rgb(
            decode_in_mode(file, name, formats=formats, max_pixels=max_pixels, at_least=at_least)
        )


def decode_to_pil(file: IO[bytes], name: str) -> PIL.Image.Image:
    """The same for Pillow, in mode RGB, which saves copies if it is resized anyway."""
    with report_damage(name):
        return to_rgb_pil(decode_in_mode(file, name))


def decode_in_mode(
    file: IO[bytes],
    name: str,
    *,
    formats: Sequence[str] = FORMATS,
    max_pixels: int | None = None,
    at_least: Size | None = None,
) -> PIL.Image.Image:
    """The same in the mode of the file, which may be deep grey or have transparency."""
    with report_damage(name):
        image = open_undecoded(file, name, formats=formats, max_pixels=max_pixels)
        if at_least:
            _use_draft(image, at_least)
        image.load()
        return turn_upright(image)


def open_undecoded(
    file: IO[bytes],
    name: str,
    *,
    formats: Sequence[str] = FORMATS,
    max_pixels: int | None = None,
) -> PIL.Image.Image:
    """The image of an open file, of which nothing is decoded yet: it may have several frames."""
    with report_damage(name):
        image = _read_header(file, name, formats)
        refuse_impossible_size((image.height, image.width), f"{name} is", max_pixels)
        return image


@contextmanager
def report_damage(name: str) -> Iterator[None]:
    """Turns whatever Pillow raises into an ImageError."""
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"cannot decode {name} ({reason}); copy or convert it again") from error


def _read_header(file: IO[bytes], name: str, formats: Sequence[str]) -> PIL.Image.Image:
    """The image, read by the first of Pillow's readers that recognises the file.

    `PIL.Image.open` does the same but warns about images between one and two times its own limit.
    A warning can only be silenced for the whole process, not for a thread, and the limit can only
    be changed for everybody; so its registry of readers is used here, and MAX_PIXELS checked. The
    reader of uncompressed TIFF checks again, and may warn.
    """
    PIL.Image.init()
    prefix = file.read(16)
    for reader, accepts in filter(None, map(PIL.Image.OPEN.get, formats)):
        if accepts and accepts(prefix) is True:  # a text is the reason why Pillow lacks the format
            file.seek(0)
            # No file name: Pillow would map the file, and die of SIGBUS if it shrinks meanwhile.
            return reader(file, "")
    raise ImageError(f"{name} is not an image of a supported format; convert it to PNG or JPEG")


def _use_draft(image: PIL.Image.Image, at_least: Size) -> None:
    """Has a JPEG decoded at the smallest size that is enough; other formats stay as they are."""
    height, width = (max(side, 1) for side in at_least)
    is_sideways = _orientation(image) >= 5
    image.draft(None, (height, width) if is_sideways else (width, height))


def turn_upright(image: PIL.Image.Image) -> PIL.Image.Image:
    """The image as its orientation tag says it is to be seen."""
    turn = _UPRIGHT.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: PIL.Image.Image) -> int:
    """The EXIF orientation; 1, upright, if the tags are damaged."""
    with suppress(*DAMAGE):
        return int(image.getexif().get(Tag.Orientation, 1))
    return 1


def to_rgb(image: PIL.Image.Image) -> RGB:
    """The pixels of a PIL image, transparency on white."""
    return np.array(to_rgb_pil(image))


def to_rgb_pil(image: PIL.Image.Image) -> PIL.Image.Image:
    """The same for Pillow, in mode RGB. An image that is RGB already is not copied."""
    if image.mode in _WHITE_LEVELS:
        return PIL.Image.fromarray(_scale_deep_grey(image)).convert("RGB")
    if image.has_transparency_data:
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image.convert("RGBA"))
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def _scale_deep_grey(image: PIL.Image.Image) -> npt.NDArray[np.uint8]:
    """Grey of more than 8 bits in 8 bits, scaled and not clipped.

    White is the smallest of the mode's white levels that is at least the brightest value. Negative
    values and NaN are black.
    """
    values: npt.NDArray[np.float32] = np.array(image, np.float32)
    values[np.isnan(values)] = 0
    brightest = values.max(where=np.isfinite(values), initial=0)
    levels = _WHITE_LEVELS[image.mode]
    white = next((level for level in levels if brightest <= level), levels[-1])
    scaled: npt.NDArray[np.uint8] = np.rint(255 * (values / white).clip(0, 1)).astype(np.uint8)
    return scaled


def refuse_impossible_size(size: Size, subject: str, max_pixels: int | None = None) -> None:
    """Refuses empty images and those with more than `max_pixels`. `subject` begins the error."""
    pixels = f"{subject} {size[0]} x {size[1]} pixels"
    if min(size) < 1:
        raise ImageError(f"{pixels}; height and width must be 1 or more")
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    if size[0] * size[1] > limit:
        raise TooLargeError(f"{pixels}, over the limit of {limit:,}; make it smaller")


def refuse_impossible_depth(depth: int, size: Size) -> None:
    """Refuses volumes without slices, or with too many pixels. A signal, of one row, has none."""
    shape = f"the network's input is {depth} slices of {size[0]} x {size[1]} pixels"
    if depth < 0 or (depth == 0 and size[0] > 1):
        raise ImageError(f"{shape}; the depth must be 1 or more")
    if depth * size[0] * size[1] > MAX_PIXELS:
        raise ImageError(f"{shape}, over the limit of {MAX_PIXELS:,} in all; make it smaller")
