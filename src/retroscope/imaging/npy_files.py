"""Images and volumes in `.npy` files: numbers alone, in as many channels as a network takes."""

from math import prod
from threading import Lock
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from retroscope.errors import ImageError
from retroscope.imaging.raster import (
    AnyValues,
    channels_last,
    channels_last_shape,
    refuse_impossible_raster,
    refuse_unusable_type,
)
from retroscope.imaging.volume_slices import refuse_impossible_volume, volume_shape

NPY_MAGIC = b"\x93NUMPY"

_READ_HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
"""By the version of the format; the third only adds names of fields."""


def read_npy(file: IO[bytes], name: str, *, channels: int) -> AnyValues:
    """The image in an open file, (height, width, channels). Pickles are never loaded.

    The header is checked before any value is read.
    """
    header = _read_header(file, name)
    refuse_unusable_type(header.dtype, name)
    refuse_impossible_raster(channels_last_shape(header.shape, channels, name), name)
    return channels_last(_read_values(file, name, header), channels, name)


def read_npy_volume(file: IO[bytes], name: str, *, channels: int) -> AnyValues:
    """The volume in an open file, in the order of its dimensions, for so many channels."""
    header = _read_header(file, name)
    refuse_unusable_type(header.dtype, name)
    refuse_impossible_volume(volume_shape(header.shape, channels, name), name)
    return _read_values(file, name, header)


def read_npy_values(file: IO[bytes], name: str, *, most: int) -> AnyValues:
    """The array in an open file, of any shape with at most so many numbers."""
    header = _read_header(file, name)
    refuse_unusable_type(header.dtype, name)
    if prod(header.shape) > most:
        raise ImageError(f"{name} has {prod(header.shape):,} numbers, over the limit of {most:,}")
    return _read_values(file, name, header)


class _Header(NamedTuple):
    """The header of a file: what the array after it is."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[np.generic]


def _read_values(file: IO[bytes], name: str, header: _Header) -> AnyValues:
    """The array after a header that has been read."""
    start = file.tell()
    stored, promised = file.seek(0, 2) - start, prod(header.shape) * header.dtype.itemsize
    if stored < promised:
        raise ImageError(
            f"{name} is truncated: {stored:,} bytes of pixels, and its header promises "
            f"{promised:,}; copy it again"
        )
    file.seek(start)
    values = np.frombuffer(file.read(promised), header.dtype)
    return values.reshape(header.shape, order="F" if header.is_fortran else "C")


def _refuse_version(_file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    raise ValueError("a version of the format that has no plain arrays")


_PARSING = Lock()
"""numpy parses a header as Python, which CPython 3.11 does not do in two threads at once: it says
`AST constructor recursion depth mismatch` now and then (cpython issue 106905).
"""


def _read_header(file: IO[bytes], name: str) -> _Header:
    try:
        version = npy.read_magic(file)
        with _PARSING:
            return _Header(*_READ_HEADER.get(version, _refuse_version)(file))
    except (ValueError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(
            f"cannot read the header of {name} ({reason}); save it again with numpy.save"
        ) from error
