"""From an image to the network's input, and back to what a screen shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, TypedDict, Unpack, cast

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch

from retroscope.engine.batching import NetworkInput
from retroscope.errors import ImageError, ModelError
from retroscope.geometry import IMAGE_RANK
from retroscope.imaging.bands import (
    BYTES_AS_THEY_ARE,
    STRETCH,
    Bands,
    Limits,
    ShownBands,
    check_bands,
    default_bands,
    describe_bands,
    show_bands,
)
from retroscope.imaging.decoding import FORMATS, RGB
from retroscope.imaging.frames import FrameFolder
from retroscope.imaging.image import Fit, HasPixels, Image, Values, fit_pil, fit_source
from retroscope.imaging.raster import (
    PHOTO_CHANNELS,
    AnyValues,
    Raster,
    ValueRange,
    assumed_range,
    describe_assumed_range,
    fit_raster,
    refuse_other_count,
)
from retroscope.imaging.reading import as_photo, as_raster, read_pixels
from retroscope.imaging.signals import as_signal, read_signal
from retroscope.imaging.slice_files import AnyFile, open_slices, slices_in_memory
from retroscope.imaging.volume_slices import Slice, Slices, describe_choice, evenly_spaced

AnyPhoto = PIL.Image.Image | RGB | HasPixels
InMemory = AnyPhoto | AnyValues
"""An image in memory: a photograph, or an array in the units of a file."""

BYTE_MAX = 255
_BYTE_LIMITS = (0.0, float(BYTE_MAX))


class ReadLimits(TypedDict, total=False):
    """What files of images may be: formats under Pillow's names, and their size."""

    formats: Sequence[str]
    max_pixels: int


@dataclass(frozen=True)
class Preprocessing:
    """From an image to the network's input: fit, scale to 0-1, subtract mean, divide by std.

    A single mean is for grey networks, three for colour, others for as many channels. `bands` are
    the channels that are shown, counted from 1, if they were chosen. `value_range` is what becomes
    0 and 1, if it was stated; otherwise it is that of the type of an image's values.
    """

    fit: Fit
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    bands: Bands = ()
    value_range: ValueRange | None = None

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ModelError(
                f"mean has {len(self.mean)} values and std {len(self.std)}; give one of each for "
                "every channel that the network takes"
            )
        if not all(isfinite(value) for value in (*self.mean, *self.std)) or 0 in self.std:
            raise ModelError(
                f"mean {self.mean} and std {self.std} must be finite, and no std may be zero, "
                "since pixels are divided by it"
            )
        if self.bands:
            check_bands(self.bands, self.channels)

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def rank(self) -> int:
        """The number of axes of what the network takes: 1 for signals, 2 images, 3 volumes."""
        return len(self.fit.shape)

    @property
    def takes_photos(self) -> bool:
        """Whether its images may be photographs: one channel or three, and 255 is white."""
        return self.channels in PHOTO_CHANNELS and self.value_range is None

    @property
    def takes_volumes(self) -> bool:
        """Whether its images are volumes or clips, of `fit.depth` slices."""
        return bool(self.fit.depth)

    @property
    def shown_bands(self) -> Bands:
        """The channels of an image that are shown; none if it is shown as it is."""
        is_photo = self.channels in PHOTO_CHANNELS
        return self.bands or (() if is_photo else default_bands(self.channels))

    @property
    def pixel_rule(self) -> str:
        """What counts as 0 and 1, and what is shown, of images that are no photographs."""
        if self.rank < IMAGE_RANK or (self.takes_photos and not self.bands):
            return ""
        low, high = self.value_range or (0, 1)
        rule = f"pixels from {low:g} to {high:g} count as 0 to 1"
        if self.value_range is None:
            rule = "uint8 is divided by 255, uint16 by 65535, floating point is used as it is"
        return f"{rule}; {self._shown_rule}"

    @property
    def _shown_rule(self) -> str:
        bands = self.shown_bands or default_bands(self.channels)
        shown = f"shown: {describe_bands(bands, self.channels)}"
        if self.takes_photos:
            return shown
        return f"{shown}, each image {STRETCH}{'' if self.value_range else BYTES_AS_THEY_ARE}"

    def stated(self, value_range: Sequence[float] | None = None) -> dict[str, Any]:
        """The options of a Network with this preprocessing, without its fit.

        With another `value_range`, mean and std stay in the units of a file, if they are in these.
        """
        low, high = check_value_range(self.value_range or value_range or (0, 1))
        return {
            "mean": tuple(low + value * (high - low) for value in self.mean),
            "std": tuple(value * (high - low) for value in self.std),
            "bands": self.bands,
            "value_range": value_range or self.value_range,
        }

    def read(self, file: AnyFile, source: str, **limits: Unpack[ReadLimits]) -> NetworkInput:
        """The network's input for an image in an open file. JPEGs may be decoded coarsely.

        A volume or a clip may also be the frames of a folder.
        """
        if self.rank < IMAGE_RANK:
            signal = read_signal(file, repr(source), channels=self.channels)
            return self._prepare_signal(signal, source)
        if self.fit.depth:
            formats = limits.get("formats", FORMATS)
            slices = open_slices(file, repr(source), channels=self.channels, formats=formats)
            return self._prepare_volume(slices, source, depth=self.fit.depth)
        if isinstance(file, FrameFolder):
            raise ImageError(f"{source!r} is a folder, and the network takes images; give a file")
        pixels = read_pixels(
            file,
            repr(source),
            channels=self.channels,
            is_scaled=self.value_range is not None,
            at_least=self.fit.decoding_size,
            **limits,
        )
        if isinstance(pixels, PIL.Image.Image):
            return self._prepare_photo(fit_pil(pixels, self.fit, source))
        return self._prepare_raster(Raster(pixels, source))

    def prepare(self, image: InMemory) -> NetworkInput:
        """The network's input for an image in memory."""
        if self.rank < IMAGE_RANK:
            signal = as_signal(image, "the array", channels=self.channels)
            return self._prepare_signal(signal, "memory")
        if self.fit.depth:
            slices = slices_in_memory(image, self.channels)
            return self._prepare_volume(slices, "memory", depth=self.fit.depth)
        if self.takes_photos:
            return self._prepare_photo(fit_source(cast("AnyPhoto", image), self.fit))
        return self._prepare_raster(as_raster(image, self.channels))

    def _prepare_signal(self, values: Values, source: str) -> NetworkInput:
        """The network's input for a signal, whole and as it is."""
        low, high = self.value_range or (0, 1)
        values = (values - np.float32(low)) / np.float32(high - low)
        tensor = torch.from_numpy(self._normalise(values))
        shown, notes = self.show_input(tensor.numpy())
        return NetworkInput(tensor, shown, source, self.fit, notes)

    def _prepare_photo(self, image: Image) -> NetworkInput:
        """The network's input for a photograph that is fitted already."""
        tensor = torch.from_numpy(self.to_input(image.pixels))
        return NetworkInput(tensor, self._in_bands(image.pixels), image.source, self.fit)

    def _prepare_volume(self, slices: Slices, source: str, *, depth: int) -> NetworkInput:
        """The network's input for evenly spaced slices of a volume or a clip."""
        numbers, notes = evenly_spaced(slices.count, depth), describe_choice(slices.count, depth)
        photos, rasters = list[RGB](), list[Values]()
        first: Raster | None = None
        for number, piece in zip(numbers, slices.read(numbers), strict=True):
            name = f"{source}, slice {number + 1}"
            photo = self._as_photo(piece)
            if photo is not None:
                photos.append(fit_pil(photo, self.fit, name).pixels)
                continue
            raster = Raster(np.asarray(piece), name)
            first = first or raster
            rasters.append(fit_raster(raster, self.fit, fill=self._fill(first)))
        if first is None:
            pixels = np.stack(photos)
            tensor = torch.from_numpy(self.to_input(pixels))
            return NetworkInput(tensor, self._in_bands(pixels), source, self.fit, notes)
        planes = np.stack(rasters, axis=1)
        return self._input_of_planes(replace(first, source=source), planes, notes)

    def _as_photo(self, piece: Slice) -> PIL.Image.Image | None:
        """A slice for Pillow in mode RGB, if 255 is white in it; None for other numbers."""
        if self.value_range is not None or self.channels not in PHOTO_CHANNELS:
            return None
        if isinstance(piece, np.ndarray):
            return as_photo(piece) if piece.dtype == np.uint8 else None
        return piece

    def to_input(self, pixels: RGB) -> npt.NDArray[np.float32]:
        """The network's input for these pixels: channels, then (slices,) height, width."""
        refuse_other_count(3, self.channels, "the image")
        colours = pixels if self.channels == 3 else pixels.mean(axis=-1, keepdims=True)
        planes = np.array(np.moveaxis(colours, -1, 0), np.float32, order="C")
        planes /= np.float32(255)
        return self._normalise(planes)

    def _prepare_raster(self, raster: Raster) -> NetworkInput:
        """The network's input for an image of any number of channels, in its own units."""
        refuse_other_count(raster.channels, self.channels, repr(raster.source))
        planes = fit_raster(raster, self.fit, fill=self._fill(raster))
        return self._input_of_planes(raster, planes)

    def _limits(self, raster: Raster) -> ValueRange:
        """The values that become 0 and 1."""
        return self.value_range or assumed_range(raster.values.dtype, repr(raster.source))

    def _fill(self, raster: Raster) -> float:
        """The value outside of an image."""
        low, high = self._limits(raster)
        return low + self.fit.outside / BYTE_MAX * (high - low)

    def _input_of_planes(
        self, raster: Raster, planes: Values, notes: Sequence[str] = ()
    ) -> NetworkInput:
        """The network's input for planes (channels, height, width), or slices of each channel.

        They are fitted already; the raster has their type and their source.
        """
        dtype = raster.values.dtype
        low, high = self._limits(raster)
        if not self.value_range:
            notes = [*notes, describe_assumed_range(raster, planes)]
        is_bytes = dtype == np.uint8 and self.value_range is None
        shown = self._show(planes, [_BYTE_LIMITS] * 3 if is_bytes else None)
        planes -= np.float32(low)
        planes /= np.float32(high - low)
        if len(planes) < self.channels:
            planes = np.repeat(planes, self.channels, axis=0)
        elif len(planes) > self.channels:
            planes = planes.mean(axis=0, keepdims=True, dtype=np.float32)
        tensor = torch.from_numpy(self._normalise(planes))
        caveats = (*notes, shown.note)
        return NetworkInput(tensor, shown.pixels, raster.source, self.fit, caveats)

    def show_input(self, values: npt.NDArray[np.float32]) -> tuple[RGB, tuple[str, ...]]:
        """The pixels of an input (channels, (slices,) height, width), and notes on them.

        A signal is shown as an image of one row.
        """
        if self.rank < IMAGE_RANK:
            values = values[:, None]
        if self.takes_photos:
            return self._in_bands(self.to_rgb(values)), ()
        low, high = self.value_range or (0, 1)
        planes = values * _per_channel(self.std, values) + _per_channel(self.mean, values)
        shown = self._show(planes * np.float32(high - low) + np.float32(low), None)
        return shown.pixels, (shown.note,)

    def to_rgb(self, values: npt.NDArray[np.float32]) -> RGB:
        """The pixels of an input (channels, (slices,) height, width), as a screen can show them."""
        scaled = np.moveaxis(values, 0, -1) * _float32(self.std) + _float32(self.mean)
        levels = np.clip(np.nan_to_num(scaled), 0, 1) * 255
        if levels.shape[-1] != 3:
            levels = np.repeat(levels.mean(axis=-1, keepdims=True), 3, axis=-1)
        pixels: RGB = np.rint(levels).astype(np.uint8)
        return pixels

    def level(self, value: float) -> torch.Tensor:
        """The input for a grey level from 0 (black) to 1 (white): channels, and 1 for each axis."""
        levels = (value - torch.tensor(self.mean, device="cpu")) / torch.tensor(
            self.std, device="cpu"
        )
        return levels.view(-1, *[1] * self.rank)

    def _normalise(self, planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        planes -= _per_channel(self.mean, planes)
        planes /= _per_channel(self.std, planes)
        return planes

    def _show(self, planes: Values, limits: Limits | None) -> ShownBands:
        count = len(planes)
        bands = self.shown_bands if count == self.channels else ()
        return show_bands(planes, bands or default_bands(count), limits)

    def _in_bands(self, pixels: RGB) -> RGB:
        if not self.bands or self.channels != 3:
            return pixels
        chosen = [self.bands[colour % len(self.bands)] for colour in range(3)]
        return np.ascontiguousarray(pixels[..., [band - 1 for band in chosen]])


def state_preprocessing(
    fit: Fit,
    channels: int,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    bands: Sequence[int],
    value_range: Sequence[float] | None,
) -> Preprocessing:
    """The preprocessing as a user states it: with a value range, mean and std are in its units."""
    limits = None if value_range is None else check_value_range(value_range)
    if limits:
        mean, std = scale_statistics(mean, std, limits)
    mean, std = mean or (0.0,) * channels, std or (1.0,) * channels
    return Preprocessing(fit, mean, std, check_bands(bands, channels) if bands else (), limits)


def scale_statistics(
    mean: tuple[float, ...], std: tuple[float, ...], value_range: ValueRange
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std in the units of a value range, for values that it scales to 0-1.

    >>> scale_statistics((1500.0,), (250.0,), (0, 10000))
    ((0.15,), (0.025,))
    """
    low, high = value_range
    if std and max(map(abs, std)) < 1 and high - low >= 255:
        raise ModelError(
            f"std {std} is for values from 0 to 1, and the value range is {low:g} to {high:g}; "
            "give mean, std and the range in the same units",
            parameter="std",
        )
    span = high - low
    return tuple((value - low) / span for value in mean), tuple(value / span for value in std)


def check_value_range(value_range: object) -> ValueRange:
    """The two values as numbers. Raises unless the first is the lower one.

    >>> check_value_range([0, 10000])
    (0.0, 10000.0)
    """
    try:
        low, high = (float(value) for value in value_range)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not (isfinite(low) and isfinite(high) and low < high):
        raise ModelError(
            "value_range is the two values that count as 0 and 1, the lower one first, such as "
            f"(0, 65535), not {value_range!r}",
            parameter="value_range",
        )
    return low, high


def _float32(values: tuple[float, ...]) -> npt.NDArray[np.float32]:
    return np.array(values, np.float32)


def _per_channel(values: tuple[float, ...], planes: Values) -> Values:
    """A number for each channel, for planes whose first dimension is that of the channels."""
    return _float32(values).reshape(-1, *(1,) * (planes.ndim - 1))
