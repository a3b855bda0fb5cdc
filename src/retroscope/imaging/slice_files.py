"""The slices of a file or a folder, for a network that takes volumes or clips."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import PIL.Image
from PIL.TiffImagePlugin import TiffImageFile

from retroscope.errors import ImageError
from retroscope.imaging.decoding import (
    DAMAGE,
    DEEP_MODES,
    FORMATS,
    decode_in_mode,
    open_image_file,
    open_undecoded,
    report_damage,
    to_rgb_pil,
)
from retroscope.imaging.frames import HOW_TO_EXTRACT, VOLUME_SUFFIXES, FrameFolder
from retroscope.imaging.image import open_path
from retroscope.imaging.npy_files import NPY_MAGIC, read_npy_volume
from retroscope.imaging.raster import PHOTO_CHANNELS
from retroscope.imaging.tiff_files import (
    TiffPages,
    is_tiff,
    open_tiff_pages,
    read_pages_as_arrays,
    read_volume_with_tifffile,
)
from retroscope.imaging.volume_slices import (
    PageSlices,
    Slice,
    Slices,
    as_slices,
    refuse_long_animation,
)

AnyFile = IO[bytes] | FrameFolder
"""An open file, or the frames of a folder."""

_MAGIC_BYTES = 16
_HYPERSTACK = re.compile(r"channels=(?!1\b)\d|SizeC=\"(?!1\")\d")
"""What ImageJ and OME write into a TIFF whose pages are not slices alone."""


def open_slices(
    file: AnyFile, name: str, *, channels: int, formats: Sequence[str] = FORMATS
) -> Slices:
    """The slices of a file or a folder for a network of so many channels. `name` is for errors."""
    if isinstance(file, FrameFolder):
        return FrameSlices(file, name, channels, formats)
    head = file.read(_MAGIC_BYTES)
    file.seek(0)
    if head.startswith(NPY_MAGIC):
        return as_slices(read_npy_volume(file, name, channels=channels), channels, name)
    if is_tiff(head):
        return _tiff_slices(file, name, channels)
    if _is_video(head):
        raise ImageError(f"{name} is a video; {HOW_TO_EXTRACT}")
    return animation_slices(open_undecoded(file, name, formats=formats), name, channels)


def _is_video(head: bytes) -> bool:
    """Whether a file begins as MP4, AVI, Matroska or MPEG do."""
    is_riff_video = head[:4] == b"RIFF" and head[8:11] == b"AVI"
    is_box = head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis", b"heic", b"mif1")
    return is_riff_video or is_box or head[:4] in (b"\x1aE\xdf\xa3", b"\0\0\x01\xba")


def slices_in_memory(image: object, channels: int) -> Slices:
    """The slices of an array, or the frames of an animation that Pillow has opened."""
    if isinstance(image, np.ndarray):
        return as_slices(image, channels, "the array")
    if isinstance(image, TiffImageFile):
        return _slices_of_opened_tiff(TiffPages(image), "the PIL image", channels)
    if isinstance(image, PIL.Image.Image):
        return animation_slices(image, "the PIL image", channels)
    pixels = getattr(image, "pixels", None)
    if isinstance(pixels, np.ndarray) and pixels.ndim == 3:
        raise single_image("the image", pixels.shape[:2])
    raise ImageError(
        "a volume or a clip is a path, an array, a PIL image of several frames, or a float torch "
        f"tensor of the network's input; not {type(image).__name__}"
    )


def animation_slices(image: PIL.Image.Image, name: str, channels: int) -> PageSlices:
    """The frames of an animation."""
    with report_damage(name):
        count = getattr(image, "n_frames", 1)
    if count < 2:
        raise single_image(name, (image.height, image.width))
    refuse_photo(channels, name)
    refuse_long_animation(count, (image.height, image.width), name)
    return PageSlices(image, range(count), name)


def single_image(name: str, size: tuple[int, int]) -> ImageError:
    """The error about one image where the network takes volumes."""
    return ImageError(
        f"{name} is one image of {size[0]} x {size[1]} pixels, and the network takes volumes or "
        "clips; give an .npy of (depth, height, width), a .tif of several pages, an animated GIF "
        "or WebP, or a folder of frames"
    )


def refuse_photo(channels: int, name: str) -> None:
    """Raises unless frames in colours are what the network takes."""
    if channels not in PHOTO_CHANNELS:
        raise ImageError(
            f"{name} has frames in colours, and the network takes {channels} channels; give .npy "
            f"or .tif of {channels} channels"
        )


def _tiff_slices(file: IO[bytes], name: str, channels: int) -> Slices:
    pages = open_tiff_pages(file)
    with report_damage(name):
        if pages is not None and _are_slices(pages):
            return _page_slices(pages, name, channels)
    file.seek(0)
    return read_volume_with_tifffile(file, name, channels=channels)


def _slices_of_opened_tiff(pages: TiffPages, name: str, channels: int) -> Slices:
    """The pages of a TIFF that Pillow has opened; it is left at the page where it was."""
    page = pages.image.tell()
    try:
        with report_damage(name):
            if not _are_slices(pages):
                raise ImageError(
                    f"{name} is a TIFF whose pages are not plain slices; give the path of its file"
                )
            return _page_slices(pages, name, channels)
    finally:
        with suppress(*DAMAGE):
            pages.image.seek(page)


def _are_slices(pages: TiffPages) -> bool:
    """Whether the pages are slices that Pillow reads as they are."""
    is_readable = len(pages.full_pages) == 1 or pages.is_readable or pages.is_photo(3)
    return is_readable and not _has_layout(pages)


def _page_slices(pages: TiffPages, name: str, channels: int) -> Slices:
    """The pages of a TIFF as slices, in the units of the file unless they are photographs."""
    if len(pages.full_pages) < 2:
        raise single_image(name, pages.size)
    if pages.is_readable:
        return as_slices(read_pages_as_arrays(pages, name), channels, name)
    refuse_photo(channels, name)
    return PageSlices(pages.image, pages.full_pages, name)


def _has_layout(pages: TiffPages) -> bool:
    """Whether a TIFF says that its pages are more than slices of one channel."""
    text = pages.description
    if _HYPERSTACK.search(text):
        return True
    try:
        shape: Any = json.loads(text).get("shape", ())
    except (ValueError, AttributeError, RecursionError):
        return False
    return isinstance(shape, list) and len(shape) > 3


def open_source(path: str | Path, *, takes_volumes: bool) -> AnyFile:
    """The file of an image, opened for reading, or the frames of a folder."""
    if takes_volumes and isinstance(path, str | Path) and Path(path).is_dir():
        return FrameFolder.open(Path(path), repr(str(path)))
    return open_path(path)


def holds_slices(path: Path) -> bool:
    """Whether a file holds a volume and not a single image, as far as its header says.

    What cannot be read is left to whoever reads all of it.
    """
    if path.suffix.lower() not in VOLUME_SUFFIXES:
        return False
    if path.suffix.lower() == ".npy":
        return True
    with suppress(OSError, ImageError, *DAMAGE), path.open("rb") as file:
        head = file.read(_MAGIC_BYTES)
        file.seek(0)
        if is_tiff(head):
            pages = open_tiff_pages(file)
            return pages is None or len(pages.full_pages) > 1 or _has_layout(pages)
        return getattr(open_undecoded(file, repr(str(path))), "n_frames", 1) > 1
    return False


class _FrameKind(NamedTuple):
    """What all frames of a clip must have in common."""

    height: int
    width: int
    dtype: str

    def __str__(self) -> str:
        return f"{self.height} x {self.width} pixels of {self.dtype}"


@dataclass(frozen=True, eq=False)
class FrameSlices:
    """The frames of a folder. Only those that are asked for are decoded; all have one size."""

    frames: FrameFolder
    name: str
    channels: int
    formats: Sequence[str] = FORMATS

    @property
    def count(self) -> int:
        return len(self.frames.paths)

    def read(self, numbers: Sequence[int]) -> Iterator[Slice]:
        kinds: dict[_FrameKind, int] = {}
        for number in numbers:
            frame = self._read(number)
            values = np.array(frame)[..., None] if frame.mode in DEEP_MODES else None
            dtype = "uint8" if values is None else values.dtype.name
            kinds.setdefault(_FrameKind(frame.height, frame.width, dtype), number)
            if len(kinds) > 1:
                raise self._mixed_error(kinds)
            yield frame if values is None else values

    def _mixed_error(self, kinds: Mapping[_FrameKind, int]) -> ImageError:
        """The error about frames of which the first of each kind are given."""
        frames = [f"{self.frames.paths[number].name!r} is {kind}" for kind, number in kinds.items()]
        return ImageError(
            f"{self.name} has frames of different sizes or types: {' and '.join(frames)}; save the "
            "frames of one clip in one size and one type"
        )

    def _read(self, number: int) -> PIL.Image.Image:
        """A frame; deep greys stay as they are."""
        path = self.frames.paths[number]
        name = repr(str(path))
        with open_image_file(path, name) as file:
            image = decode_in_mode(file, name, formats=self.formats)
            refuse_photo(self.channels, name)
            return image if image.mode in DEEP_MODES else to_rgb_pil(image)
