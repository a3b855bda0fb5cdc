"""Pictures: read safely, turned upright, resized, cropped, fitted to a network's input.

Every picture becomes 8-bit RGB. Colour profiles are not applied, as in the loaders that networks
are trained with. Sizes are `(height, width)`.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from numbers import Integral
from os import PathLike
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import IO, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.ExifTags import Base as Tag
from PIL.Image import Resampling, Transpose

from retroscope.errors import ImageError
from retroscope.geometry import Box
from retroscope.imaging.deep_grey import WHITES, shallow

RGB = npt.NDArray[np.uint8]
"""Height, width, 3: red, green, blue as shown on a screen."""
Size = tuple[int, int]
Scalar = TypeVar("Scalar", bound=np.generic)

MAX_PIXELS = 2 * (2**30 // 4 // 3)
"""Where Pillow, left as it is, refuses too: 179 million, half a gigabyte once decoded."""
GREY = 128
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000", "HEIF", "JXL")
"""What is read, under Pillow's names; the last two where a plugin has registered them.

Left out: readers that start other programs (EPS) and readers without a signature to check.
"""

_DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, AssertionError, MemoryError, RuntimeError, struct.error, zlib.error),
    *(PIL.Image.DecompressionBombError, Warning),
)
"""What Pillow's readers raise on broken files; a warning where the user has made it an error."""

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

_RESAMPLING = {choice.name.lower(): choice for choice in Resampling}


class TooLargeError(ImageError):
    """A picture of more bytes or pixels than are taken."""


@dataclass(frozen=True, eq=False)
class Image:
    """A picture and where it came from: the path as given, or "memory".

    >>> Image(np.zeros((2, 3, 3), np.uint8)).width
    3
    """

    pixels: RGB
    source: str = "memory"

    def __post_init__(self) -> None:
        if not isinstance(self.pixels, np.ndarray):
            raise ImageError(
                f"an Image is made of an array of pixels, not of a {type(self.pixels).__name__}; "
                "read_image reads a file, and a PIL image is taken wherever a picture is asked for"
            )
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or self.pixels.shape[2] != 3:
            raise ImageError(
                f"an image is uint8 of shape (height, width, 3), not {self.pixels.dtype} of shape "
                f"{self.pixels.shape}; PIL.Image.fromarray(...) makes a picture of other arrays"
            )

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    def to_pil(self) -> PIL.Image.Image:
        """The same picture for Pillow."""
        return PIL.Image.fromarray(self.pixels)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.to_pil().save(buffer, "PNG")
        return buffer.getvalue()


class HasPixels(Protocol):
    """What has the pixels of a picture, as a scene of the picture world does."""

    @property
    def pixels(self) -> RGB:
        """Height, width, 3."""


@dataclass(frozen=True)
class Fit:
    """How a picture gets to the size that a network takes.

    `network`: the shorter side becomes `shorter`, then the centre is cropped, black where the
    picture is smaller (torchvision's Resize and CenterCrop). `crop`, and `network` without
    `shorter`: the picture just covers `size`, then the centre is cropped. `stretch`: resized to
    `size` whatever its proportions.

    >>> Fit(size=(224, 224), shorter=256).mode
    'network'
    """

    size: Size
    mode: str = "network"
    shorter: int | None = None
    resample: str = "bilinear"

    def __post_init__(self) -> None:
        _refuse_unknown("mode", self.mode, _RESIZED_SIZE)
        _refuse_unknown("resample", self.resample, _RESAMPLING)
        _refuse_no_size(self.size)
        _refuse_impossible(self.size, "the network's input is")
        if self.shorter is not None:
            _refuse_impossible((self.shorter, self.shorter), "with its shorter side, a square is")

    @property
    def enough(self) -> Size:
        """The size from which a file may be decoded coarsely: twice what is kept of it."""
        least = self.shorter if self.mode == "network" and self.shorter else 0
        return 2 * max(least, self.size[0]), 2 * max(least, self.size[1])


def read_image(path: str | Path, *, at_least: Size | None = None) -> Image:
    """The picture in a file: upright, first frame, transparency on white.

    16-bit and floating-point grey is scaled to 8 bits, not clipped. With `at_least`, a JPEG may be
    decoded at a half, a quarter or an eighth of its size, which is faster, while it stays at least
    so high and wide.

    >>> read_image("no-such.jpg")
    Traceback (most recent call last):
    retroscope.errors.ImageError: cannot open 'no-such.jpg' (No such file or directory); check it
    """
    if not isinstance(path, str | PathLike):
        raise ImageError(
            f"read_image takes the path of a file, not a {type(path).__name__}; rs.Image(pixels) "
            "makes a picture of a uint8 array"
        )
    name = repr(str(path))
    if not str(path):
        raise ImageError("an image without a name; give the path of a file")
    with _open_file(Path(path), name) as file:
        return Image(_decoded(file, name, at_least=at_least), str(path))


def decode_image(
    data: bytes,
    *,
    at_least: Size | None = None,
    formats: Sequence[str] = FORMATS,
    max_pixels: int | None = None,
) -> Image:
    """The picture in the bytes of a file, as `read_image` reads it; `formats` are Pillow's names.

    >>> decode_image(Image(np.zeros((2, 3, 3), np.uint8))._repr_png_()).width
    3
    """
    file = BytesIO(data)
    return Image(
        _decoded(file, "the picture", formats=formats, max_pixels=max_pixels, at_least=at_least)
    )


def as_image(
    image: "str | Path | PIL.Image.Image | RGB | HasPixels", *, at_least: Size | None = None
) -> Image:
    """The image meant by a path, a PIL image, an array, or what has the pixels of a picture.

    An array of two dimensions is grey. A PIL image is taken as it stands, also where it carries an
    orientation tag: its owner has decided which way is up.

    >>> as_image(PIL.Image.new("L", (4, 3))).pixels.shape
    (3, 4, 3)
    """
    match image:
        case Image():
            return image
        case str() | Path():
            return read_image(image, at_least=at_least)
        case PIL.Image.Image():
            with _damage_reported("the PIL image"):
                return Image(_rgb(image))
        case np.ndarray():
            return Image(np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image)
    pixels = getattr(image, "pixels", None)
    if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8:
        return Image(pixels)
    raise ImageError(
        "an image is a path, a PIL image, a uint8 array of (height, width, 3), or, where a network "
        f"looks at it, a float torch tensor of its input; not a {type(image).__name__}"
    )


def resize(image: Image, size: Size, *, resample: str = "bilinear") -> Image:
    """The image at another size, antialiased; its proportions may change.

    >>> resize(Image(np.zeros((2, 3, 3), np.uint8)), (4, 4)).pixels.shape
    (4, 4, 3)
    """
    _refuse_unknown("resample", resample, _RESAMPLING)
    _refuse_impossible(size, f"{image.source!r} resized is")
    resized = image.to_pil().resize(size[::-1], _RESAMPLING[resample])
    return Image(np.array(resized), image.source)


def fit_image(image: Image, fit: Fit) -> Image:
    """The image as the network takes it.

    >>> fitted(Image(np.zeros((20, 30, 3), np.uint8)), Fit((8, 8), shorter=9)).pixels.shape
    (8, 8, 3)
    """
    size = _RESIZED_SIZE[fit.mode](image, fit)
    resized = resize(image, size, resample=fit.resample)
    centre = _centre(resized, fit.size)
    return Image(crop(resized.pixels, centre, fill=0), image.source)


def crop(pixels: npt.NDArray[Scalar], box: Box, *, fill: float = GREY) -> npt.NDArray[Scalar]:
    """The pixels under a box, filled where the box leaves the picture.

    >>> crop(np.ones((2, 2, 1), int), Box(0, 1, 2, 3), fill=0)[..., 0]
    array([[1, 0],
           [1, 0]])
    """
    inside = box.clipped(*pixels.shape[:2])
    piece = np.full((box.height, box.width, *pixels.shape[2:]), fill, pixels.dtype)
    rows = slice(inside.top - box.top, inside.bottom - box.top)
    columns = slice(inside.left - box.left, inside.right - box.left)
    piece[rows, columns] = pixels[inside.top : inside.bottom, inside.left : inside.right]
    return piece


def _open_file(path: Path, name: str) -> IO[bytes]:
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):
            kind = "a folder" if S_ISDIR(status.st_mode) else "a device or a pipe"
            raise ImageError(f"{name} is {kind}, not an image; name a file")
        if status.st_size == 0:
            raise ImageError(f"{name} is an empty file (0 bytes); copy the image again")
        return path.open("rb")
    except PermissionError as error:
        raise ImageError(f"may not read {name} ({error.strerror}); change its mode") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot open {name} ({reason}); check it") from error


def _decoded(
    file: IO[bytes],
    name: str,
    *,
    formats: Sequence[str] = FORMATS,
    max_pixels: int | None = None,
    at_least: Size | None = None,
) -> RGB:
    with _damage_reported(name):
        picture = _recognised(file, name, formats)
        _refuse_impossible((picture.height, picture.width), f"{name} is", max_pixels)
        if at_least:
            _draft(picture, at_least)
        picture.load()
        return _rgb(_upright(picture))


@contextmanager
def _damage_reported(name: str) -> Iterator[None]:
    """The one place where what Pillow raises becomes ours."""
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"cannot decode {name} ({reason}); copy or convert it again") from error


def _recognised(file: IO[bytes], name: str, formats: Sequence[str]) -> PIL.Image.Image:
    """The picture's header, read by the first of Pillow's readers that knows the file.

    `PIL.Image.open` does the same, but warns of pictures between one and two times its own limit.
    A warning can be silenced only for the whole process, not for one thread, and the limit can be
    changed only for everybody; so its registry of readers is asked here, and MAX_PIXELS checked.
    Only the reader of uncompressed TIFF asks again, and may warn.
    """
    PIL.Image.init()
    prefix = file.read(16)
    for reader, accepts in filter(None, map(PIL.Image.OPEN.get, formats)):
        if accepts and accepts(prefix) is True:  # a text says why Pillow was built without it
            file.seek(0)
            # No file name: Pillow would map the file, and die of SIGBUS if it shrinks meanwhile.
            return reader(file, "")
    raise ImageError(f"{name} is not an image of a known format; convert it to PNG or JPEG")


def _draft(picture: PIL.Image.Image, at_least: Size) -> None:
    """Has a JPEG decoded at the smallest size that is enough; other formats stay as they are."""
    height, width = (max(side, 1) for side in at_least)
    lying = _orientation(picture) >= 5
    picture.draft(None, (height, width) if lying else (width, height))


def _upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    turn = _UPRIGHT.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def _orientation(picture: PIL.Image.Image) -> int:
    """The EXIF orientation; 1, upright, where the tags cannot be read but the picture may be."""
    with suppress(*_DAMAGE):
        return int(picture.getexif().get(Tag.Orientation, 1))
    return 1


def _rgb(picture: PIL.Image.Image) -> RGB:
    if picture.mode in WHITES:
        return np.repeat(shallow(picture)[..., None], 3, axis=2)
    if picture.has_transparency_data:
        white = PIL.Image.new("RGBA", picture.size, "white")
        picture = PIL.Image.alpha_composite(white, picture.convert("RGBA"))
    return np.array(picture.convert("RGB"))


def _network_size(image: Image, fit: Fit) -> Size:
    """torchvision's rule: the longer side is cut off to whole pixels, not rounded."""
    if fit.shorter is None:
        return _covering_size(image, fit)
    short, long = sorted((image.height, image.width))
    longer = int(fit.shorter * long / short)
    return (fit.shorter, longer) if image.height <= image.width else (longer, fit.shorter)


def _covering_size(image: Image, fit: Fit) -> Size:
    """The smallest size of the same proportions that covers the fit's."""
    height, width = fit.size
    if height * image.width >= width * image.height:
        return height, image.width * height // image.height
    return image.height * width // image.width, width


_RESIZED_SIZE: dict[str, Callable[[Image, Fit], Size]] = {
    "network": _network_size,
    "crop": _covering_size,
    "stretch": lambda _, fit: fit.size,
}


def _centre(image: Image, size: Size) -> Box:
    """The box of this size in the middle of the image, with CenterCrop's rounding."""
    top, left = (
        round((length - wanted) / 2) if length >= wanted else -((wanted - length) // 2)
        for length, wanted in zip((image.height, image.width), size, strict=True)
    )
    return Box(top, left, top + size[0], left + size[1])


def _refuse_unknown(what: str, asked: str, known: Iterable[str]) -> None:
    if asked not in known:
        raise ImageError(f"no {what} {asked!r}; there are {', '.join(known)}")


def _refuse_no_size(size: object) -> None:
    if not (isinstance(size, Sequence) and [isinstance(n, Integral) for n in size] == [True] * 2):
        raise ImageError(f"a size is a height and a width, such as (224, 224), not {size!r}")


def _refuse_impossible(size: Size, subject: str, max_pixels: int | None = None) -> None:
    pixels = f"{subject} {size[0]} x {size[1]} pixels"
    if min(size) < 1:
        raise ImageError(f"{pixels}; sizes are 1 or more")
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    if size[0] * size[1] > limit:
        raise TooLargeError(f"{pixels}, over the limit of {limit:,}; make it smaller")
