"""Reads HDF5 without leaving the file, and no more of it than it can hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from retroscope.errors import ModelError
from retroscope.zoo.weights.bounds import Allowance
from retroscope.zoo.weights.foreign import by_number

MAGIC = b"\x89HDF\r\n\x1a\n"
LAST_BUILT_IN_FILTER = 3
"""Deflate, shuffle and the checksum; others are code that HDF5 would look for."""


class Hdf5:
    """An open file. Members are reached by plain links only, which lead nowhere else."""

    def __init__(self, path: Path, h5py: Any, root: Any) -> None:
        self.path, self.h5py, self.root = path, h5py, root
        self.allowance = Allowance(path)

    def member(self, group: Any, name: str) -> Any | None:
        """What stands in a group under this path, if anything."""
        here = group
        for part in filter(None, name.split("/")):
            link = here.get(part, getlink=True) if isinstance(here, self.h5py.Group) else None
            if link is None:
                return None
            if not isinstance(link, self.h5py.HardLink):
                raise ModelError(
                    f"{self.path}: {name!r} is a link to another place; weight files have none"
                )
            here = here[part]
        return here

    def group(self, group: Any, name: str) -> Any:
        """The group of this path, which must be there."""
        found = self.member(group, name)
        if not isinstance(found, self.h5py.Group):
            raise ModelError(f"{self.path} has no layer {name!r}, though it says so; it is damaged")
        return found

    def members(self, group: Any) -> list[str]:
        """The names in a group, in the order of their numbers."""
        return sorted(group, key=by_number)

    def numbers(self, group: Any, name: str) -> npt.NDArray[np.generic]:
        """The array of this path."""
        found = self.member(group, name)
        if not isinstance(found, self.h5py.Dataset):
            raise ModelError(
                f"{self.path} has no array {name!r} in {group.name!r}, though its names say so; it "
                "is damaged"
            )
        self._check(found, name)
        numbers: npt.NDArray[np.generic] = found[()]
        return np.asarray(numbers)

    def _check(self, found: Any, name: str) -> None:
        settings = found.id.get_create_plist()
        filters = [settings.get_filter(index)[0] for index in range(settings.get_nfilters())]
        odd = found.dtype.kind != "f" or found.shape is None
        if (
            odd
            or found.is_virtual
            or found.external
            or max(filters, default=0) > (LAST_BUILT_IN_FILTER)
        ):
            raise ModelError(
                f"{self.path}: {name!r} is not a plain array of numbers in this file; it is not "
                "read"
            )
        self.allowance.take(prod(found.shape) * found.dtype.itemsize, name)

    def texts(self, thing: Any, name: str) -> list[str] | None:
        """An attribute that is a list of texts; Keras spreads long ones over `name0`, `name1`."""
        if name in thing.attrs:
            return [_text(one) for one in np.atleast_1d(thing.attrs[name])]
        parts = sorted((one for one in thing.attrs if _is_part(one, name)), key=by_number)
        return [_text(one) for part in parts for one in thing.attrs[part]] if parts else None

    def text(self, name: str) -> str:
        """An attribute of the whole file, or nothing."""
        return "".join(self.texts(self.root, name) or [])


def _is_part(attribute: str, name: str) -> bool:
    return attribute.startswith(name) and attribute[len(name) :].isdigit()


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@contextmanager
def opened(path: Path) -> Iterator[Hdf5]:
    """The file, open for reading."""
    h5py = _h5py()
    with h5py.File(path, "r") as root:
        yield Hdf5(path, h5py, root)


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise ModelError(
            "Keras's weight files need the package h5py; pip install 'retroscope[h5py]'"
        ) from error
    else:
        found: ModuleType = h5py
        return found
