"""Files of many channels, written by numpy, by Pillow and by tifffile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import tifffile

Numbers = npt.NDArray[Any]


def numbers(
    channels: int, height: int = 11, width: int = 17, *, dtype: str = "uint16", seed: int = 0
) -> Numbers:
    """Noise over the whole range of a type (height, width, channels); of floats, from -1 to 3."""
    generator = np.random.default_rng(seed)
    shape = height, width, channels
    if np.dtype(dtype).kind == "f":
        return generator.uniform(-1, 3, shape).astype(dtype)
    return generator.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def write_npy_channels_first(path: Path, values: Numbers) -> Path:
    np.save(path.with_suffix(".npy"), np.moveaxis(values, 2, 0))
    return path.with_suffix(".npy")


def write_npy_channels_last(path: Path, values: Numbers) -> Path:
    np.save(path.with_suffix(".npy"), values)
    return path.with_suffix(".npy")


def write_npy_in_columns(path: Path, values: Numbers) -> Path:
    np.save(path.with_suffix(".npy"), np.asfortranarray(values))
    return path.with_suffix(".npy")


def write_pages(path: Path, values: Numbers) -> Path:
    """A page for each channel, as Pillow writes them."""
    first, *others = (PIL.Image.fromarray(plane) for plane in np.moveaxis(values, 2, 0))
    first.save(path.with_suffix(".tif"), save_all=True, append_images=others)
    return path.with_suffix(".tif")


def _write_tiff(**options: Any) -> Callable[[Path, Numbers], Path]:
    def write(path: Path, values: Numbers) -> Path:
        planes = np.moveaxis(values, 2, 0)
        array = values if options.get("planarconfig") == "contig" else planes
        tifffile.imwrite(path.with_suffix(".tif"), array, photometric="minisblack", **options)
        return path.with_suffix(".tif")

    return write


write_chunky = _write_tiff(planarconfig="contig")
write_planar = _write_tiff(planarconfig="separate")
WRITERS: dict[str, Callable[[Path, Numbers], Path]] = {
    "npy, channels first": write_npy_channels_first,
    "npy, channels last": write_npy_channels_last,
    "npy, in columns": write_npy_in_columns,
    "pages by Pillow": write_pages,
    "pages by tifffile": _write_tiff(),
    "chunky": write_chunky,
    "planar": write_planar,
    "big-endian": _write_tiff(planarconfig="contig", byteorder=">"),
    "big TIFF": _write_tiff(planarconfig="contig", bigtiff=True),
    "deflated": _write_tiff(planarconfig="contig", compression="zlib", predictor=True),
    "in tiles": _write_tiff(planarconfig="contig", tile=(16, 16)),
}
"""Whatever writes an image (height, width, channels) to a path without a suffix."""
