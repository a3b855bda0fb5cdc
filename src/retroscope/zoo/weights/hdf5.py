"""Reads HDF5 without following links out of the file, within the file's byte budget."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import error as StructError
from struct import unpack_from
from types import ModuleType
from typing import Any
from zlib import decompressobj

import numpy as np

from retroscope.errors import ModelError
from retroscope.zoo.weights.file_limits import ByteBudget
from retroscope.zoo.weights.hdf5_headers import text_lengths
from retroscope.zoo.weights.imported_weights import AnyArray, natural_sort_key

MAGIC = b"\x89HDF\r\n\x1a\n"
HEAP_MAGIC = b"GCOL\1\0\0\0"
HEAP_HEADER = 16
"""Bytes at the start of a global heap and of each of its objects."""
DEFLATE, CHECKSUM = 1, 3
CHECKSUM_BYTES = 4
LAST_BUILT_IN_FILTER = CHECKSUM
"""Deflate, shuffle and checksum; HDF5 would load code for any other filter."""


class Hdf5File:
    """An open file, whose members are reached by hard links only: they cannot leave the file."""

    def __init__(self, path: Path, h5py: Any, root: Any, content: mmap) -> None:
        self.path, self.h5py, self.root, self.content = path, h5py, root, content
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
        sizes = (prod(dataset.shape), prod(dataset.chunks or ()))  # HDF5 reads whole chunks
        self.budget.spend(max(sizes) * dataset.dtype.itemsize, name)
        if DEFLATE in filters:
            self._check_compressed_chunks(dataset, filters, name)

    def _check_compressed_chunks(self, dataset: Any, filters: list[int], name: str) -> None:
        """Decompresses each chunk up to its size, because HDF5 does not stop there."""
        chunk_bytes = prod(dataset.chunks) * dataset.dtype.itemsize
        is_last = filters[filters.index(DEFLATE) :] in ([DEFLATE], [DEFLATE, CHECKSUM])
        for index in range(dataset.id.get_num_chunks()):
            chunk = dataset.id.get_chunk_info(index)
            mask, stored = dataset.id.read_direct_chunk(chunk.chunk_offset)
            stream = decompressobj()
            stream.decompress(stored, chunk_bytes + CHECKSUM_BYTES)
            if mask or not is_last or not stream.eof:
                raise ModelError(
                    f"{self.path}: a chunk of {name!r} does not decompress to its size; it is "
                    "damaged or malicious"
                )

    def attribute(self, member: Any, name: str) -> Any | None:
        """The value of an attribute, or None. A damaged length can stand for billions of texts."""
        if name not in member.attrs:
            return None
        attribute = member.attrs.get_id(name)
        count = prod(attribute.shape or ())
        budget = ByteBudget(self.path, expansion=1)  # attributes are never compressed
        budget.spend(count * attribute.dtype.itemsize, name)
        if attribute.dtype.kind == "O":  # of variable length
            budget.spend(self._text_bytes(member, name, count), name)
        return member.attrs[name]

    def _text_bytes(self, member: Any, name: str, count: int) -> int:
        """How long the texts of an attribute are together."""
        address = self.h5py.h5o.get_info(member.id).addr
        try:
            return sum(text_lengths(self.content, address, name=name, count=count))
        except (ValueError, IndexError, StructError) as error:
            raise ModelError(
                f"{self.path}: the texts of the attribute {name!r} cannot be measured; the file is "
                "damaged or truncated, or saved with other settings than h5py's defaults"
            ) from error

    def text_list(self, member: Any, name: str) -> list[str] | None:
        """An attribute that lists texts; Keras splits long ones into `name0`, `name1`, ..."""
        whole = self.attribute(member, name)
        if whole is not None:
            return [_to_text(value) for value in np.atleast_1d(whole)]
        parts = sorted(
            (part for part in member.attrs if _is_part_of(part, name)), key=natural_sort_key
        )
        if not parts:
            return None
        values = [np.atleast_1d(np.asarray(self.attribute(member, part))) for part in parts]
        return [_to_text(value) for value in np.concatenate(values)]

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
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        _check_heaps(content)
        with h5py.File(path, "r") as root:
            yield Hdf5File(path, h5py, root, content)


def _check_heaps(content: mmap) -> None:
    """Raises if an object of a heap of texts has an impossible size: HDF5 loops forever on 0."""
    start = content.find(HEAP_MAGIC)
    while start >= 0:
        (size,) = unpack_from("<Q", content, start + len(HEAP_MAGIC))
        stop = min(start + size, len(content))
        offset = start + HEAP_HEADER
        while offset + HEAP_HEADER <= stop:
            index, object_size = unpack_from("<H6xQ", content, offset)
            # Index 0 is the free space up to the end, and its size includes its header.
            step = object_size if index == 0 else HEAP_HEADER + -(-object_size // 8) * 8
            if not HEAP_HEADER <= step <= stop - offset:
                raise ValueError("a heap object of impossible size")
            offset += step
        start = content.find(HEAP_MAGIC, start + 1)


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
