"""Signals: numbers along one axis, in an array or a `.npy` file."""

from typing import IO

import numpy as np

from retroscope.errors import ImageError
from retroscope.imaging.decoding import MAX_PIXELS
from retroscope.imaging.frames import FrameFolder
from retroscope.imaging.image import Values
from retroscope.imaging.npy_files import NPY_MAGIC, read_npy_values


def read_signal(file: IO[bytes] | FrameFolder, name: str, *, channels: int) -> Values:
    """The signal in an open file, (channels, length)."""
    if isinstance(file, FrameFolder) or not _is_npy(file):
        raise ImageError(
            f"{name} is not a .npy file, and the network takes signals; save one with numpy.save, "
            f"as an array of ({channels}, length)"
        )
    return as_signal(read_npy_values(file, name, most=MAX_PIXELS), name, channels=channels)


def _is_npy(file: IO[bytes]) -> bool:
    head = file.read(len(NPY_MAGIC))
    file.seek(0)
    return head == NPY_MAGIC


def as_signal(values: object, name: str, *, channels: int) -> Values:
    """The signal in an array, (channels, length). A single channel needs no dimension.

    >>> as_signal(np.zeros((400, 2)), "memory", channels=2).shape
    (2, 400)
    """
    forms = f"({channels}, length) or (length, {channels})"
    if channels == 1:
        forms = f"(length,), {forms}"
    if not isinstance(values, np.ndarray):
        raise ImageError(
            f"the network takes signals: an array or a float tensor of {forms}, not "
            f"{type(values).__name__}"
        )
    if values.dtype.kind not in "buif":
        raise ImageError(f"{name} has values of {values.dtype}; a signal has numbers")
    signal = values[None] if values.ndim == channels == 1 else values
    if signal.ndim == len("cl") and channels not in signal.shape[:1]:
        signal = signal.T
    if signal.ndim != len("cl") or signal.shape[0] != channels or not signal.size:
        raise ImageError(f"{name} has shape {values.shape}, and the network takes signals: {forms}")
    return np.array(signal, np.float32)
