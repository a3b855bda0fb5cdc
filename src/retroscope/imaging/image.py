"""Images: from any source, resized, cropped, and fitted to a network's input. Sizes are (height,
width).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import IO, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL.Image import Resampling

from retroscope.argument_types import check_arguments
from retroscope.errors import ImageError, choose
from retroscope.geometry import Box
from retroscope.imaging.decoding import (
    FORMATS,
    MAX_PIXELS,
    RGB,
    Size,
    decode,
    open_image_file,
    refuse_impossible_depth,
    refuse_impossible_size,
    report_damage,
    to_rgb,
    to_rgb_pil,
)
from retroscope.imaging.fit_sizes import RESIZED_SIZES, frame_of
from retroscope.imaging.source_interval import source_interval

Scalar = TypeVar("Scalar", bound=np.generic)
Values = npt.NDArray[np.float32]

GREY, LETTERBOX_GREY = 128, 114
"""Fill what lies outside of an image; the second is that of ultralytics."""

MAX_RESIZED_PIXELS = 2**24
"""Above this size only the part that is cropped is resized: about 256 x 65,536 pixels."""

_LUMA = (0.299, 0.587, 0.114)
_RESAMPLING = {choice.name.lower(): choice for choice in Resampling}


@dataclass(frozen=True, eq=False)
class Image:
    """The pixels of an image, and its source: the path as given, or "memory".

    >>> Image(np.zeros((2, 3, 3), np.uint8)).width
    3
    """

    pixels: RGB
    source: str = "memory"

    def __post_init__(self) -> None:
        if not isinstance(self.pixels, np.ndarray):
            raise ImageError(
                f"Image takes an array of pixels, not {type(self.pixels).__name__}; read_image "
                "reads a file, and a PIL image can be passed wherever an image is expected"
            )
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or self.pixels.shape[2] != 3:
            raise ImageError(
                f"an image is uint8 of shape (height, width, 3), not {self.pixels.dtype} of shape "
                f"{self.pixels.shape}; {_advise_on_array(self.pixels)}"
            )

    def __repr__(self) -> str:
        return f"Image(pixels=<uint8 {self.height}x{self.width}x3>, source={self.source!r})"

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    def to_pil(self) -> PIL.Image.Image:
        """The same image for Pillow."""
        return PIL.Image.fromarray(self.pixels)

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.to_pil().save(buffer, "PNG")
        return buffer.getvalue()


def _advise_on_array(array: npt.NDArray[np.generic]) -> str:
    """What to do with an array that is not the pixels of an image."""
    if np.issubdtype(array.dtype, np.floating):
        return (
            "give (255 * array).astype('uint8') for pixels from 0 to 1, or torch.from_numpy(array) "
            "for the network's own input"
        )
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[0] in (1, 3):
        return "its channels come first; give array.transpose(1, 2, 0)"
    if array.dtype == np.uint8 and array.ndim == 4:
        return "it holds several images; give one of them"
    return "convert other arrays with PIL.Image.fromarray(...)"


class HasPixels(Protocol):
    """Anything with the pixels of an image, such as a scene of the synthetic world."""

    @property
    def pixels(self) -> RGB:
        """Height, width, 3."""


@dataclass(frozen=True)
class Fit:
    """How an image gets to the size that a network takes.

    `network`: the shorter side becomes `shorter`, then the centre is cropped, black where the image
    is smaller (torchvision's Resize and CenterCrop). `crop`, and `network` without `shorter`: the
    image just covers `size`, then the centre is cropped. `stretch`: resized to `size`, whatever its
    proportions. `whole`: nothing is cropped and proportions stay, so images differ in size; the
    shorter side becomes `shorter`, if given. It is for networks that resize images themselves;
    `size` is then that of images that run as a batch.

    `letterbox`: the whole image is resized to fit inside `size`, and grey bars fill the rest, as
    ultralytics does.

    A network that takes volumes or clips takes `depth` slices of `size`: evenly spaced ones of an
    image that has more, and repeated ones of an image that has fewer. A depth of 0 is that of a
    signal, which has no rows.

    >>> Fit(size=(224, 224), shorter=256).mode
    'network'
    >>> Fit((112, 112), depth=16).shape
    (16, 112, 112)
    """

    size: Size
    mode: str = "network"
    shorter: int | None = None
    resample: str = "bilinear"
    depth: int | None = None

    def __post_init__(self) -> None:
        choose("resize mode", self.mode, RESIZED_SIZES, error=ImageError)
        choose("resampling filter", self.resample, _RESAMPLING, error=ImageError)
        _refuse_invalid_size(self.size)
        refuse_impossible_size(self.size, "the network's input is")
        if self.depth is not None:
            refuse_impossible_depth(self.depth, self.size)
        if self.shorter is not None:
            refuse_impossible_size((self.shorter, self.shorter), "a square of the shorter side is")

    @property
    def shape(self) -> tuple[int, ...]:
        """What the network takes of each channel: height and width, of a volume after the depth."""
        if self.depth is None:
            return self.size
        return (self.depth, *self.size) if self.depth else self.size[1:]

    @property
    def of_one_size(self) -> "Fit":
        """The fit that gives images of `size`, which can run as a batch.

        >>> Fit((224, 224), "whole").of_one_size.mode
        'network'
        """
        return replace(self, mode="network") if self.mode == "whole" else self

    @property
    def outside(self) -> int:
        """The level of what lies outside of the image."""
        return LETTERBOX_GREY if self.mode == "letterbox" else 0

    @property
    def decoding_size(self) -> Size | None:
        """The size at which a file may be decoded coarsely: twice what is kept of it.

        None if it must be decoded at its own size.
        """
        if self.mode == "whole":
            return None if self.shorter is None else (2 * self.shorter, 2 * self.shorter)
        shorter = self.shorter if self.mode == "network" and self.shorter else 0
        return 2 * max(shorter, self.size[0]), 2 * max(shorter, self.size[1])


@check_arguments
def read_image(path: str | Path, *, at_least: Size | None = None) -> Image:
    """The image in a file: upright, first frame, transparency on white.

    16-bit and floating-point grey is scaled to 8 bits, not clipped. With `at_least`, a JPEG may be
    decoded at a half, a quarter or an eighth of its size, which is faster, as long as it stays at
    least that high and wide.

    >>> read_image("none.jpg")
    Traceback (most recent call last):
    retroscope.errors.ImageError: cannot open 'none.jpg' (No such file or directory); check the path
    """
    with open_path(path) as file:
        return Image(decode(file, repr(str(path)), at_least=at_least), str(path))


def open_path(path: str | Path) -> IO[bytes]:
    """The file of an image, opened for reading."""
    if not isinstance(path, str | PathLike):
        raise ImageError(
            f"read_image takes the path of a file, not {type(path).__name__}; use "
            "rs.Image(pixels) for a uint8 array"
        )
    if not str(path):
        raise ImageError("the path of the image is empty; give the path of a file")
    return open_image_file(Path(path), repr(str(path)))


def decode_image(
    data: bytes,
    *,
    at_least: Size | None = None,
    formats: Sequence[str] = FORMATS,
    max_pixels: int | None = None,
) -> Image:
    """The image in the bytes of a file, as `read_image` reads it; `formats` are Pillow's names.

    >>> decode_image(Image(np.zeros((2, 3, 3), np.uint8))._repr_png_()).width
    3
    """
    return Image(
        decode(
            BytesIO(data), "the image", formats=formats, max_pixels=max_pixels, at_least=at_least
        )
    )


def as_image(
    image: "str | Path | PIL.Image.Image | RGB | HasPixels", *, at_least: Size | None = None
) -> Image:
    """The image in a path, a PIL image, an array, or any object with pixels.

    An array of two dimensions is grey. A PIL image is used as it is, whatever its orientation tag:
    its owner has decided which way is up.

    >>> as_image(PIL.Image.new("L", (4, 3))).pixels.shape
    (3, 4, 3)
    """
    match image:
        case Image():
            return image
        case str() | Path():
            return read_image(image, at_least=at_least)
        case PIL.Image.Image():
            with report_damage("the PIL image"):
                return Image(to_rgb(image))
        case np.ndarray():
            return Image(np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image)
    pixels = getattr(image, "pixels", None)
    if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8:
        return Image(pixels)
    raise ImageError(
        "an image is a path, a PIL image, a uint8 array of (height, width, 3), or, for a network, "
        f"a float torch tensor of its input; not {type(image).__name__}{_advise_on_type(image)}"
    )


def _advise_on_type(value: object) -> str:
    """What to do with a value that holds an image without being one."""
    if hasattr(value, "read"):
        return "; open a file with PIL.Image.open(file)"
    if isinstance(value, int | Mapping):
        return "; of a sample of a data set, give the image alone"
    return "; give one image" if isinstance(value, list | tuple) else ""


def resize(image: Image, size: Size, *, resample: str = "bilinear") -> Image:
    """The image at another size, antialiased. Its proportions may change.

    >>> resize(Image(np.zeros((2, 3, 3), np.uint8)), (4, 4)).pixels.shape
    (4, 4, 3)
    """
    resized = _resize_pil(image.to_pil(), size, resample, image.source)
    return Image(np.array(resized), image.source)


def _resize_pil(image: PIL.Image.Image, size: Size, resample: str, source: str) -> PIL.Image.Image:
    choice = choose("resampling filter", resample, _RESAMPLING, error=ImageError)
    refuse_impossible_size(size, f"{source!r} resized is")
    if image.height * size[1] > MAX_PIXELS:  # Pillow resizes the width first
        image = image.resize((image.width, size[0]), choice)
    return image.resize(size[::-1], choice)


def to_grey(pixels: RGB) -> npt.NDArray[np.float64]:
    """The brightness of each pixel, 0 to 255 (ITU-R BT.601, not rounded)."""
    grey: npt.NDArray[np.float64] = pixels @ np.array(_LUMA)
    return grey


def resize_array(values: Values, size: Size, *, resample: str = "bilinear") -> Values:
    """A float array (height, width) or (height, width, depth) at another size.

    Shrinking averages; enlarging interpolates between the centres of pixels, with the borders held.

    >>> resize_array(np.float32([[0, 4]]), (1, 4)).tolist()
    [[0.0, 1.0, 3.0, 4.0]]
    """
    if values.shape[:2] == size:
        return values
    if values.ndim == 3:
        planes = (
            resize_array(plane, size, resample=resample) for plane in np.moveaxis(values, 2, 0)
        )
        return np.stack(list(planes), axis=2)
    plane = PIL.Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.array(plane.resize(size[::-1], _RESAMPLING[resample]))


def fit_image(image: Image, fit: Fit) -> Image:
    """The image as the network takes it.

    >>> fit_image(Image(np.zeros((20, 30, 3), np.uint8)), Fit((8, 8), shorter=9)).pixels.shape
    (8, 8, 3)
    """
    return Image(fit_array(image.pixels, fit, image.source, fill=fit.outside), image.source)


def fit_array(
    pixels: npt.NDArray[Scalar], fit: Fit, source: str, *, fill: float = 0
) -> npt.NDArray[Scalar]:
    """The same for an array that Pillow takes: uint8 with three channels, or a float32 plane."""
    size = RESIZED_SIZES[fit.mode](Box(0, 0, *pixels.shape[:2]), fit)
    centre = frame_of(size, fit)
    if size[0] * size[1] <= MAX_RESIZED_PIXELS:
        resized = _resize_pil(PIL.Image.fromarray(pixels), size, fit.resample, source)
        return crop(np.array(resized), centre, fill=fill)
    refuse_impossible_size(size, f"{source!r} resized is")
    region = centre.clip(*size)
    pixels = _resize_region(pixels, size, region, resample=fit.resample)
    top, left = centre.top - region.top, centre.left - region.left
    return crop(pixels, Box(top, left, top + centre.height, left + centre.width), fill=fill)


def fit_pil(image: PIL.Image.Image, fit: Fit, source: str) -> Image:
    """A PIL image of mode RGB as the network takes it, without an array of all its pixels."""
    size = RESIZED_SIZES[fit.mode](image, fit)
    if size[0] * size[1] > MAX_RESIZED_PIXELS:
        return fit_image(Image(np.array(image), source), fit)
    resized = np.array(_resize_pil(image, size, fit.resample, source))
    return Image(crop(resized, frame_of(size, fit), fill=fit.outside), source)


def fit_source(image: "PIL.Image.Image | RGB | HasPixels", fit: Fit) -> Image:
    """The image in whatever `as_image` takes but a path, as the network takes it."""
    if isinstance(image, PIL.Image.Image):
        with report_damage("the PIL image"):
            pixels = to_rgb_pil(image)
        return fit_pil(pixels, fit, "memory")
    return fit_image(as_image(image), fit)


def _resize_region(
    pixels: npt.NDArray[Scalar], size: Size, region: Box, *, resample: str
) -> npt.NDArray[Scalar]:
    """The pixels of a region of the image resized to `size`, which is too large to hold.

    Their positions are exact up to single precision.
    """
    rows = source_interval(pixels.shape[0], size[0], (region.top, region.bottom))
    columns = source_interval(pixels.shape[1], size[1], (region.left, region.right))
    window = Box(rows.first, columns.first, rows.last, columns.last)
    source = PIL.Image.fromarray(crop(pixels, window))
    return np.array(
        source.resize(
            (region.width, region.height),
            _RESAMPLING[resample],
            box=(columns.start, rows.start, columns.stop, rows.stop),
        )
    )


def crop(pixels: npt.NDArray[Scalar], box: Box, *, fill: float = GREY) -> npt.NDArray[Scalar]:
    """The pixels under a box, filled where the box leaves the image.

    >>> crop(np.ones((2, 2, 1), int), Box(0, 1, 2, 3), fill=0)[..., 0]
    array([[1, 0],
           [1, 0]])
    """
    inside = box.clip(*pixels.shape[:2])
    patch = np.full((box.height, box.width, *pixels.shape[2:]), fill, pixels.dtype)
    rows = slice(inside.top - box.top, inside.bottom - box.top)
    columns = slice(inside.left - box.left, inside.right - box.left)
    patch[rows, columns] = pixels[inside.top : inside.bottom, inside.left : inside.right]
    return patch


def _refuse_invalid_size(size: object) -> None:
    if not (isinstance(size, Sequence) and [isinstance(n, Integral) for n in size] == [True] * 2):
        raise ImageError(f"a size is a height and a width, such as (224, 224), not {size!r}")
