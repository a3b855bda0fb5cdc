"""Volumes and signals as images: some slices of a volume side by side, and a signal as a band."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from retroscope.geometry import IMAGE_RANK, Box
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import Scalar
from retroscope.results.heat_maps import HeatMap
from retroscope.results.projections import Projection

MOST_SLICES = 8
_GAP = 1
_WHITE = 255
_LEAST_ROWS, _BAND_SHARE = 8, 8

Array = npt.NDArray[Scalar]


def choose_slices(
    strengths: npt.NDArray[np.floating],
    most: int = MOST_SLICES,
    *,
    including: Sequence[int] = (),
) -> tuple[int, ...]:
    """Slices at even distances, the strongest one among them; all of them if they are few.

    >>> choose_slices(np.array([0.0, 0, 9, 0, 0, 0]), most=3)
    (0, 2, 5)
    >>> choose_slices(np.array([0.0, 0, 9, 0, 0, 0]), most=3, including=[4])
    (0, 2, 4)
    """
    count = min(most, len(strengths))
    chosen: list[int] = np.rint(np.linspace(0, len(strengths) - 1, count)).astype(int).tolist()
    wanted = (int(np.nan_to_num(strengths).argmax()), *including)
    for slice_number in wanted:
        free = [place for place in range(count) if chosen[place] not in wanted]
        if slice_number not in chosen and free:
            nearest = min(free, key=lambda place: abs(chosen[place] - slice_number))
            chosen[nearest] = slice_number
    return tuple(sorted(chosen))


def strength_of_slices(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The largest magnitude in each slice."""
    flat = np.nan_to_num(np.abs(values.reshape(len(values), -1)).astype(np.float64))
    largest: npt.NDArray[np.float64] = flat.max(axis=1, initial=0)
    return largest


def lay_out(values: Array[Scalar], rank: int, slices: Sequence[int] = ()) -> Array[Scalar]:
    """An array with the axes in front as one with rows and columns.

    The slices of a volume stand side by side; a signal is repeated over some rows.

    >>> lay_out(np.arange(8).reshape(2, 2, 2), rank=3, slices=(0, 1)).tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    if rank > IMAGE_RANK:
        return np.concatenate([values[number] for number in slices], axis=1)
    if rank < IMAGE_RANK:
        rows = max(_LEAST_ROWS, len(values) // _BAND_SHARE)
        return np.repeat(values[None], rows, axis=0)
    return values


def separate(pixels: RGB, count: int) -> RGB:
    """The pixels of so many slices side by side, with a gap between two.

    >>> separate(np.zeros((1, 4, 3), np.uint8), 2)[0, :, 0].tolist()
    [0, 0, 255, 0, 0]
    """
    if count <= 1:
        return pixels
    parts = np.split(pixels, count, axis=1)
    padding = ((0, 0), (0, _GAP), (0, 0))
    padded = [np.pad(part, padding, constant_values=_WHITE) for part in parts[:-1]]
    return np.concatenate([*padded, parts[-1]], axis=1)


def describe_slices(slices: Sequence[int], depth: int, first: int = 0) -> str:
    """Which slices stand side by side.

    >>> describe_slices((0, 4), 9, first=2)
    'slices z 2, 6 of 0 to 8'
    """
    numbers = ", ".join(str(first + number) for number in slices)
    return f"slices z {numbers} of 0 to {depth - 1}" if slices else ""


def slice_lines(slices: Sequence[int], depth: int, first: int = 0) -> tuple[str, ...]:
    """The same as a line of a caption; no line for an image."""
    return (describe_slices(slices, depth, first),) if slices else ()


def flatten_projection(projection: Projection) -> tuple[Projection, tuple[int, ...]]:
    """A projection as one in an image, and the slices of its box that stand side by side."""
    rank = len(projection.size)
    if rank == IMAGE_RANK:
        return projection, ()
    slices: tuple[int, ...] = ()
    if rank > IMAGE_RANK:
        slices = choose_slices(strength_of_slices(projection.pixels))
    pixels = lay_out(projection.pixels, rank, slices)
    patch = projection.patch
    if patch is not None:
        patch = lay_out(patch if rank > IMAGE_RANK else patch[0], rank, slices)
    height, width = pixels.shape[:2]
    box = Box(0, 0, height, width)
    return replace(projection, pixels=pixels, patch=patch, box=box, size=(height, width)), slices


def flatten_heat(heat: HeatMap) -> tuple[HeatMap, tuple[int, ...]]:
    """A heat map as one of an image, and the slices that stand side by side.

    A mask in a volume is left out: it is marked in each slice alone.
    """
    rank = len(heat.size)
    if rank == IMAGE_RANK:
        return heat, ()
    values = heat.full()
    slices: tuple[int, ...] = ()
    if rank > IMAGE_RANK:
        middle = () if heat.mask is None else (int(heat.mask.sum(axis=(1, 2)).argmax()),)
        slices = choose_slices(strength_of_slices(values), including=middle)
    flat = lay_out(values, rank, slices)
    mask = None if heat.mask is None or slices else lay_out(heat.mask, rank)
    image = heat.image
    if image is not None:
        image = lay_out(image if rank > IMAGE_RANK else image[0], rank, slices)
    pixels = None if heat.pixels is None else lay_out(heat.pixels, rank, slices)
    height, width = flat.shape
    size = height, width
    flattened = replace(
        heat, values=flat, image=image, pixels=pixels, mask=mask, size=size, fit=None
    )
    return flattened, slices
