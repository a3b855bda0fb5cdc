"""Reads HDF5 without following links out of the file, within the file's byte budget."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from retroscope.errors import ModelError
from retroscope.zoo.weights.file_limits import ByteBudget
from retroscope.zoo.weights.imported_weights import AnyArray, natural_sort_key

MAGIC = b"\x89HDF\r\n\x1a\n"
LAST_BUILT_IN_FILTER = 3
"""Deflate, shuffle and checksum; HDF5 would load code for any other filter."""


class Hdf5File:
    """An open file, whose members are reached by hard links only: they cannot leave the file."""

    def __init__(self, path: Path, h5py: Any, root: Any) -> None:
        self.path, self.h5py, self.root = path, h5py, root
        self.budget = ByteBudget(path)

    def find(self, group: Any, name: str) -> Any | None:
        """The member of this path below a group, or None."""
        member = group
        for part in filter(None, name.split("/")):
            is_group = isinstance(member, self.h5py.Group)
            link = member.get(part, getlink=True) if is_group else None
            if link is None:
                return None
            if not isinstance(link, self.h5py.HardLink):
                raise ModelError(
                    f"{self.path}: {name!r} links to another location, which weight files never "
                    "do; get the weights from a source you trust"
                )
            member = member[part]
        return member

    def group(self, group: Any, name: str) -> Any:
        """The group of this path, which must exist."""
        member = self.find(group, name)
        if not isinstance(member, self.h5py.Group):
            raise ModelError(
                f"{self.path} lists the layer {name!r} but does not contain it; download it again"
            )
        return member

    def sorted_names(self, group: Any) -> list[str]:
        """The names in a group, sorted by the numbers in them."""
        return sorted(group, key=natural_sort_key)

    def array(self, group: Any, name: str) -> AnyArray:
        """The array of this path, which must exist."""
        dataset = self.find(group, name)
        if not isinstance(dataset, self.h5py.Dataset):
            raise ModelError(
                f"{self.path} lists the array {name!r} in {group.name!r} but does not contain it; "
                "download it again"
            )
        self._check_dataset(dataset, name)
        array: AnyArray = dataset[()]
        return np.asarray(array)

    def _check_dataset(self, dataset: Any, name: str) -> None:
        settings = dataset.id.get_create_plist()
        filters = [settings.get_filter(index)[0] for index in range(settings.get_nfilters())]
        if (
            dataset.dtype.kind != "f"
            or dataset.shape is None
            or dataset.is_virtual
            or dataset.external
            or max(filters, default=0) > LAST_BUILT_IN_FILTER
        ):
            raise ModelError(
                f"{self.path}: {name!r} is not a plain array of floating-point numbers stored in "
                "this file; only such arrays are read"
            )
        self.budget.spend(prod(dataset.shape) * dataset.dtype.itemsize, name)

    def text_list(self, member: Any, name: str) -> list[str] | None:
        """An attribute that lists texts; Keras splits long ones into `name0`, `name1`, ..."""
        if name in member.attrs:
            return [_to_text(value) for value in np.atleast_1d(member.attrs[name])]
        parts = sorted(
            (part for part in member.attrs if _is_part_of(part, name)), key=natural_sort_key
        )
        if not parts:
            return None
        return [_to_text(value) for part in parts for value in member.attrs[part]]

    def root_text(self, name: str) -> str:
        """A text attribute of the whole file, or an empty text."""
        return "".join(self.text_list(self.root, name) or [])


def _is_part_of(attribute: str, name: str) -> bool:
    return attribute.startswith(name) and attribute[len(name) :].isdigit()


def _to_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@contextmanager
def open_hdf5(path: Path) -> Iterator[Hdf5File]:
    """The file, open for reading."""
    h5py = _import_h5py()
    with h5py.File(path, "r") as root:
        yield Hdf5File(path, h5py, root)


def _import_h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise ModelError(
            "Keras weight files need the package h5py; pip install 'retroscope[h5py]'"
        ) from error
    else:
        module: ModuleType = h5py
        return module
