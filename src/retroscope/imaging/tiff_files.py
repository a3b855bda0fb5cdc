"""Images in TIFF files: deep or floating-point values, many bands, chunky, planar or in pages.

Pillow reads pages of one channel. What it cannot read, or only in 8 bits, is left to tifffile.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from logging import NullHandler
from math import prod
from types import ModuleType
from typing import IO, Any

import numpy as np
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import TiffImageFile

from retroscope.errors import ImageError
from retroscope.imaging.decoding import (
    DAMAGE,
    Size,
    refuse_impossible_size,
    report_damage,
    turn_upright,
)
from retroscope.imaging.raster import (
    PHOTO_CHANNELS,
    AnyValues,
    accepted_counts,
    refuse_impossible_raster,
    refuse_other_count,
    refuse_unusable_type,
)
from retroscope.imaging.volume_slices import ArraySlices, refuse_impossible_volume

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_PHOTO_MODES = frozenset(("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"))
_PLAIN_MODES = frozenset(("L", "I;16", "I;16B", "I", "F"))
_MAX_PHOTO_SAMPLES = 4
_NUMBER_KINDS = {1: "uint", 2: "int", 3: "float"}
"""How numpy calls the sample formats of TIFF 6.0."""
_PILLOW_TYPES = frozenset(("uint8", "uint16", "int16", "uint32", "int32", "float32"))
"""Of the pages of one channel that Pillow reads without loss."""
_SMALLER_OR_MASK = 0b101
"""Bits of NewSubfileType: the page is a smaller version of another one, or its mask."""
_SUBFILE_TYPE = 254
_REFUSED_PHOTOMETRICS = {0: "stores white as zero", 3: "has a palette"}

_TURNS: dict[int, Callable[[AnyValues], AnyValues]] = {
    2: lambda values: values[:, ::-1],
    3: lambda values: values[::-1, ::-1],
    4: lambda values: values[::-1],
    5: lambda values: values.swapaxes(0, 1),
    6: lambda values: values.swapaxes(0, 1)[:, ::-1],
    7: lambda values: values.swapaxes(0, 1)[::-1, ::-1],
    8: lambda values: values.swapaxes(0, 1)[::-1],
}
"""What turns an array upright, by the orientation of TIFF 6.0."""


def is_tiff(head: bytes) -> bool:
    """Whether a file begins as a TIFF does.

    >>> is_tiff(b"II*\\0"), is_tiff(b"GIF8")
    (True, False)
    """
    return head[:4] in TIFF_MAGICS


def read_tiff(
    file: IO[bytes], name: str, *, channels: int, max_pixels: int | None = None
) -> AnyValues | None:
    """The image in an open file (height, width, channels); None for a photograph.

    A photograph has 8 bits and up to four channels, and is for a network that takes one or three:
    any reader of images will do for it.
    """
    pages = open_tiff_pages(file)
    if pages is not None:
        with report_damage(name):
            if pages.is_photo(channels):
                return None
            refuse_impossible_size(pages.size, f"{name} is", max_pixels)
            if pages.is_readable:
                return _read_pages(pages, channels, name)
    file.seek(0)
    return _read_with_tifffile(file, name, channels=channels, max_pixels=max_pixels)


@dataclass(frozen=True, eq=False)
class TiffPages:
    """The pages of a TIFF as Pillow sees them, of which it decodes nothing yet."""

    image: TiffImageFile

    def _tag(self, tag: int, default: int) -> tuple[int, ...]:
        value = self.image.tag_v2.get(tag, default)
        return value if isinstance(value, tuple) else (value,)

    @property
    def size(self) -> Size:
        return self.image.height, self.image.width

    @property
    def samples(self) -> int:
        return self._tag(Tag.SamplesPerPixel, 1)[0]

    @property
    def dtype(self) -> str:
        """The type of the values, as numpy calls it."""
        kind = _NUMBER_KINDS.get(self._tag(Tag.SampleFormat, 1)[0], "?")
        return f"{kind}{self._tag(Tag.BitsPerSample, 1)[0]}"

    def is_photo(self, channels: int) -> bool:
        """Whether this is an image for readers of photographs."""
        is_plain = (
            channels in PHOTO_CHANNELS
            and max(self._tag(Tag.BitsPerSample, 1)) <= 8
            and self.samples <= _MAX_PHOTO_SAMPLES
            and self.image.mode in _PHOTO_MODES
        )
        return is_plain and not (self.image.mode == "L" and len(self.full_pages) == channels > 1)

    @property
    def is_readable(self) -> bool:
        """Whether Pillow reads the values as they are."""
        photometric = self._tag(Tag.PhotometricInterpretation, 1)[0]
        is_plain = self.image.mode in _PLAIN_MODES and photometric not in _REFUSED_PHOTOMETRICS
        return is_plain and self.samples == 1 and self.dtype in _PILLOW_TYPES

    @property
    def description(self) -> str:
        """What the writer of the file says of it."""
        return str(self.image.tag_v2.get(Tag.ImageDescription, ""))

    @cached_property
    def full_pages(self) -> Sequence[int]:
        """The pages that are neither a smaller version of another one nor its mask."""
        pages = []
        for page in range(self.image.n_frames):
            self.image.seek(page)
            if not self._tag(_SUBFILE_TYPE, 0)[0] & _SMALLER_OR_MASK:
                pages.append(page)
        self.image.seek(0)
        return pages


def open_tiff_pages(file: IO[bytes]) -> TiffPages | None:
    """The pages of an open file; None if Pillow does not know the layout of its pixels."""
    try:
        return TiffPages(TiffImageFile(file, ""))
    except DAMAGE:
        return None


def _read_pages(pages: TiffPages, channels: int, name: str) -> AnyValues:
    """Pages of one channel as the channels of an image."""
    count = len(pages.full_pages)
    if count > 1 and count != channels:
        raise ImageError(
            f"{name} has {count} pages, which are its channels, and the network takes {channels}; "
            "save the pages of one image"
        )
    refuse_other_count(count, channels, name)
    return np.moveaxis(read_pages_as_arrays(pages, name), 0, 2)


def read_pages_as_arrays(pages: TiffPages, name: str) -> AnyValues:
    """Pages of one channel, one after the other: (pages, height, width)."""
    kind = pages.size, pages.dtype
    refuse_impossible_volume((len(pages.full_pages), *pages.size, 1), name)
    planes = []
    for page in pages.full_pages:
        pages.image.seek(page)
        if (pages.size, pages.dtype) != kind or not pages.is_readable:
            raise ImageError(
                f"{name} has pages of different sizes or types; save the pages of one image or one "
                "volume"
            )
        pages.image.load()
        planes.append(np.array(turn_upright(pages.image)).astype(pages.dtype))
    return np.stack(planes)


def _read_with_tifffile(
    file: IO[bytes], name: str, *, channels: int, max_pixels: int | None
) -> AnyValues:
    tifffile = _import_tifffile(name)
    with _report_damage(name, tifffile), tifffile.TiffFile(file) as tiff:
        series = _only_image(tiff, name)
        order, shape = _layout(series.axes, series.shape, name)
        refuse_impossible_size(shape[:2], f"{name} is", max_pixels)
        refuse_other_count(shape[2], channels, name)
        refuse_impossible_raster(shape, name)
        refuse_unusable_type(np.dtype(series.dtype), name)
        _refuse_photometric(int(series.keyframe.photometric), name)
        _refuse_truncated(series, file.seek(0, 2), name)
        orientation = series.keyframe.tags.get(Tag.Orientation.value)
        values: AnyValues = series.asarray().transpose(order).reshape(shape)
    return values if orientation is None else _TURNS.get(orientation.value, np.asarray)(values)


def read_volume_with_tifffile(file: IO[bytes], name: str, *, channels: int) -> ArraySlices:
    """The slices of a TIFF that says itself what its pages are."""
    tifffile = _import_tifffile(name)
    with _report_damage(name, tifffile), tifffile.TiffFile(file) as tiff:
        series = _only_image(tiff, name)
        order, shape = _volume_layout(series.axes, series.shape, channels, name)
        refuse_impossible_volume(shape, name)
        refuse_unusable_type(np.dtype(series.dtype), name)
        _refuse_photometric(int(series.keyframe.photometric), name)
        _refuse_truncated(series, file.seek(0, 2), name)
        return ArraySlices(series.asarray().transpose(order).reshape(shape))


def _volume_layout(
    axes: str, shape: Sequence[int], channels: int, name: str
) -> tuple[tuple[int, ...], tuple[int, int, int, int]]:
    """The order of the axes that puts slices first and channels last, and the shape then.

    >>> _volume_layout("ZCYX", (16, 2, 10, 8), 2, "a.tif")
    ((0, 2, 3, 1), (16, 10, 8, 2))
    """
    sizes = ", ".join(f"{axis} {length}" for axis, length in zip(axes, shape, strict=True))
    if "Y" not in axes or "X" not in axes:
        raise ImageError(f"{name} has the axes {axes}, and a volume has Y and X")
    y, x = axes.index("Y"), axes.index("X")
    others = [axis for axis in range(len(axes)) if axis not in (y, x)]
    named = [axis for axis in others if axes[axis] in _CHANNEL_AXES]
    long = [axis for axis in others if shape[axis] > 1]
    if not named and len(long) == _AXES_WITH_CHANNELS:
        named = [axis for axis in long if shape[axis] in accepted_counts(channels)]
    slices = [axis for axis in others if axis not in named]
    count = prod(shape[axis] for axis in named)
    if len(named) > 1 or sum(shape[axis] > 1 for axis in slices) != 1:
        raise ImageError(
            f"{name} is not a volume of slices ({sizes}), and the network takes volumes; save its "
            "slices, or its slices and channels"
        )
    if count not in accepted_counts(channels):
        raise ImageError(
            f"{name} has {count} channels in {sizes}, and the network takes volumes of {channels}"
        )
    depth = prod(shape[axis] for axis in slices)
    return (*slices, y, x, *named), (depth, shape[y], shape[x], count)


_CHANNEL_AXES = "CS"
"""How tifffile calls the axes of channels and of samples."""
_AXES_WITH_CHANNELS = 2
"""Besides height and width: slices and channels."""


def _import_tifffile(name: str) -> ModuleType:
    try:
        import tifffile
    except ImportError as error:
        raise ImageError(
            f"{name} is a TIFF that needs the package tifffile; pip install 'retroscope[tiff]', or "
            "save the channels as .npy"
        ) from error
    if not tifffile.logger().handlers:
        tifffile.logger().addHandler(NullHandler())  # what it logs, our errors say
    return tifffile


@contextmanager
def _report_damage(name: str, tifffile: ModuleType) -> Iterator[None]:
    """Turns whatever tifffile raises into an ImageError."""
    with report_damage(name):
        try:
            yield
        except tifffile.TiffFileError as error:
            raise ValueError(str(error)) from error
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            raise ImageError(
                f"{name} is compressed in a way that needs the package imagecodecs; "
                "pip install 'retroscope[tiff]'"
            ) from error


def _only_image(tiff: Any, name: str) -> Any:
    """The series of pages that is the image. Others may be smaller versions of it."""
    if not tiff.series:
        raise ImageError(f"{name} has no image; copy it again")
    first, *others = tiff.series
    if any(prod(other.shape) >= prod(first.shape) for other in others):
        raise ImageError(f"{name} has several images of different sizes or types; save one alone")
    return first


def _layout(
    axes: str, shape: Sequence[int], name: str
) -> tuple[tuple[int, ...], tuple[int, int, int]]:
    """The order of the axes that puts the channels last, and the shape of the image then.

    >>> _layout("SYX", (4, 10, 8), "a.tif")
    ((1, 2, 0), (10, 8, 4))
    """
    if "Y" not in axes or "X" not in axes:
        raise ImageError(f"{name} has the axes {axes}, and an image has Y and X")
    y, x = axes.index("Y"), axes.index("X")
    others = [axis for axis in range(len(axes)) if axis not in (y, x)]
    if sum(shape[axis] > 1 for axis in others) > 1:
        sizes = ", ".join(f"{axis} {length}" for axis, length in zip(axes, shape, strict=True))
        raise ImageError(f"{name} is a stack of images ({sizes}); save one image of it")
    return (y, x, *others), (shape[y], shape[x], prod(shape[axis] for axis in others))


def _refuse_photometric(photometric: int, name: str) -> None:
    if photometric in _REFUSED_PHOTOMETRICS:
        raise ImageError(f"{name} {_REFUSED_PHOTOMETRICS[photometric]}; save the values themselves")


def _refuse_truncated(series: Any, size: int, name: str) -> None:
    """Raises if values lie beyond the end of the file, which tifffile may read as zeros."""
    ends = [0 if series.dataoffset is None else series.dataoffset + series.nbytes]
    for page in series.pages:
        if page is not None:
            segments = zip(page.dataoffsets, page.databytecounts, strict=False)
            ends.append(max((start + length for start, length in segments), default=0))
    if max(ends) > size:
        raise ImageError(
            f"{name} is truncated: {size:,} bytes, and its pixels end at {max(ends):,}; copy it "
            "again"
        )
