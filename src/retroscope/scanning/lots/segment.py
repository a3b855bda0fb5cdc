"""What the pass over a lot has found, and its file.

A segment is an uncompressed `.npz`: `numpy.load` reads it without this package, every array has a
checksum, and a file that was cut off lacks its directory. Integers are stored as narrow as they
are, which loses nothing; the pixels come last, one image after the other, so that neither writing
nor reading needs them all at once.
"""

import json
import struct
import zlib
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Self
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch

from retroscope.atlas.queries.table_rows import StoredImageRow
from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.errors import describe_error
from retroscope.scanning.lots.whole_files import PlanError, write_whole
from retroscope.scanning.statistics.class_rankings import ClassRankings
from retroscope.scanning.statistics.class_sums import ClassSums
from retroscope.scanning.statistics.sweep import (
    BY_CLASS,
    CLASS_RANKINGS,
    CLASSES,
    Array,
    Arrays,
    Sweep,
)

SHARD_BITS = 32
"""An image is numbered `shard << 32 | position`: known without counting, in the list's order."""

_FORMAT = 2
_CLASSES_AT_ONCE = 32
_NARROW = (np.int8, np.int16, np.int32)
_DAMAGES = (
    *(OSError, BadZipFile, KeyError, ValueError, EOFError),
    *(RuntimeError, struct.error, zlib.error, MemoryError),  # of a directory that is damaged
    *(TokenError, SyntaxError),  # of the header of an array
)


class LotStage(StrEnum):
    """The pass that a segment is of; the values are what progress shows."""

    SCAN = "scan"
    SCORE_AGAIN = "score again"


@dataclass(frozen=True)
class SegmentFacts:
    """Which lot of which plan a segment is of, and the kind of machine that swept it."""

    plan: str
    lot: int
    stage: LotStage
    machine: str


@dataclass(eq=False)
class LotImages:
    """The images of a lot in order. A label is an index of `class_names`, or -1.

    `errors` are those of images that cannot be read, `files` those of the others, by number.
    """

    numbers: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)
    files: list[ImageFileRow] = field(default_factory=list)

    def add_list(self, first: int, keys: Sequence[str], labels: Sequence[int]) -> None:
        """Adds the images of a shard, numbered from `first`."""
        self.numbers.extend(range(first, first + len(keys)))
        self.keys.extend(keys)
        self.labels.extend(labels)


@dataclass(frozen=True, eq=False)
class Segment:
    """What the pass over a lot has found: the sweep, the images, and the WebPs of its winners.

    The classes of the sweep are indices of the images' `class_names`.
    """

    facts: SegmentFacts
    sweep: Sweep
    images: LotImages
    pixels: Mapping[int, bytes]


class SegmentError(PlanError):
    """A segment that cannot be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the segment {str(path)!r} {reason}; delete it and sweep the plan again, which does "
            "this lot alone"
        )
        self.reason = reason


def write_segment(path: Path, segment: Segment) -> None:
    """Writes a segment, whole or not at all."""
    images, arrays = segment.images, segment.sweep.to_arrays()
    header = {
        "format": _FORMAT,
        "plan": segment.facts.plan,
        "lot": segment.facts.lot,
        "stage": segment.facts.stage,
        "machine": segment.facts.machine,
        "class_names": list(images.class_names),
        "per_class": segment.sweep.class_rankings.count,
        "errors": sorted(images.errors.items()),
        "types": {name: array.dtype.str for name, array in arrays.items()},
    }
    numbers = sorted(segment.pixels)
    with write_whole(path) as file, ZipFile(file, "w") as archive:
        _put(archive, "header", np.frombuffer(json.dumps(header).encode(), np.uint8))
        for name, array in arrays.items():
            _put(archive, _SWEEP + name, _narrow(array))
        for name, array in _image_arrays(images).items():
            _put(archive, _IMAGES + name, array)
        _put(archive, "pixels.numbers", np.array(numbers, np.int64))
        sizes = np.array([len(segment.pixels[number]) for number in numbers], np.int64)
        _put(archive, "pixels.sizes", sizes)
        with archive.open("pixels.webp.npy", "w", force_zip64=True) as member:
            _write_array_header(member, int(sizes.sum()))
            for number in numbers:
                member.write(segment.pixels[number])


_SWEEP, _IMAGES = "sweep.", "images."


def _image_arrays(images: LotImages) -> dict[str, Array]:
    keys = [key.encode("utf-8", "surrogateescape") for key in images.keys]
    digests = [file.digest for file in images.files]
    return {
        "numbers": np.array(images.numbers, np.int64),
        "labels": np.array(images.labels, np.int32),
        **_join_blobs("keys", keys),
        "file_images": np.array([file.image for file in images.files], np.int64),
        "file_sizes": np.array([file.size for file in images.files], np.int64),
        "file_times": np.array([file.modified for file in images.files], np.int64),
        **_join_blobs("file_digests", digests),
    }


def _join_blobs(name: str, blobs: Sequence[bytes]) -> dict[str, Array]:
    return {
        name: np.frombuffer(b"".join(blobs), np.uint8),
        f"{name}_sizes": np.array([len(blob) for blob in blobs], np.int64),
    }


def _split_blobs(name: str, arrays: Arrays) -> list[bytes]:
    content, ends = arrays[name].tobytes(), np.cumsum(arrays[f"{name}_sizes"]).tolist()
    return [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _narrow(array: Array) -> Array:
    """Integers in the narrowest type that holds them all."""
    if array.dtype.kind != "i" or array.size == 0:
        return array
    lowest, highest = int(array.min()), int(array.max())
    for narrow in _NARROW:
        limits = np.iinfo(narrow)
        if limits.min <= lowest and highest <= limits.max:
            return array.astype(narrow)
    return array


def _put(archive: ZipFile, name: str, array: Array) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def _write_array_header(member: IO[bytes], count: int) -> None:
    """The header of an array of bytes that follow."""
    facts = {"descr": "|u1", "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(member, facts)


class SegmentFile:
    """A segment that is read part by part. Raises SegmentError if it is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = ZipFile(path)
        except _DAMAGES as error:
            raise SegmentError(path, _describe_damage(error)) from error
        try:
            self._header = self._read_header()
        except BaseException:
            self._archive.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._archive.close()

    def _read_header(self) -> dict[str, Any]:
        try:
            header = json.loads(self._read("header").tobytes())
            version = header["format"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise SegmentError(self.path, "is damaged: it has no header") from error
        if version != _FORMAT:
            raise SegmentError(self.path, f"has format {version}, and this version {_FORMAT}")
        return dict(header)

    @property
    def facts(self) -> SegmentFacts:
        """Which lot of which plan it is of."""
        header = self._header
        stage = LotStage(header["stage"])
        return SegmentFacts(header["plan"], header["lot"], stage, header["machine"])

    @property
    def class_names(self) -> list[str]:
        """The classes of the lot."""
        return list(self._header["class_names"])

    @property
    def errors(self) -> dict[int, str]:
        """Why images could not be read, by their numbers."""
        return {number: str(reason) for number, reason in self._header["errors"]}

    def read_sweep(self) -> Sweep:
        """The sweep of the lot."""
        return Sweep.from_arrays(
            {name: self._read_sweep_array(name) for name in self._header["types"]}
        )

    def read_channels(self) -> Sweep:
        """The sweep of the lot without its classes."""
        types: Mapping[str, str] = self._header["types"]
        arrays = {
            name: self._read_sweep_array(name) for name in types if not name.startswith(BY_CLASS)
        }
        channels, per_class = len(arrays["by_max.score"]), self._header["per_class"]
        shapes = {CLASSES: (channels,), CLASS_RANKINGS: (channels, per_class)}
        for table, shape in shapes.items():
            for name in self._columns(table):
                rest = () if name == "labels" else shape
                arrays[table + name] = np.empty((0, *rest), types[table + name])
        return Sweep.from_arrays(arrays)

    def read_class_sums(self) -> Iterator[ClassSums]:
        """The sums of the lot's classes, some classes at a time: all would take much memory."""
        return map(ClassSums.from_tensors, self._read_by_class(CLASSES))

    def read_class_rankings(self) -> Iterator[ClassRankings]:
        """The rankings by class of the lot, some classes at a time."""
        return map(ClassRankings.from_tensors, self._read_by_class(CLASS_RANKINGS))

    def _read_by_class(self, table: str) -> Iterator[dict[str, torch.Tensor]]:
        """The rows of a table that has one for each class."""
        types = self._header["types"]
        narrow = {name: self._read(_SWEEP + table + name) for name in self._columns(table)}
        for start in range(0, len(narrow["labels"]), _CLASSES_AT_ONCE):
            part = slice(start, start + _CLASSES_AT_ONCE)
            yield {
                name: torch.from_numpy(array[part].astype(types[table + name]))
                for name, array in narrow.items()
            }

    def _columns(self, table: str) -> list[str]:
        """The names of the arrays of a table."""
        return [
            name.removeprefix(table) for name in self._header["types"] if name.startswith(table)
        ]

    def _read_sweep_array(self, name: str) -> Array:
        return self._read(_SWEEP + name).astype(self._header["types"][name], copy=False)

    def count_shard_images(self) -> dict[int, int]:
        """How many images each shard has."""
        shards, counts = np.unique(
            self._read(f"{_IMAGES}numbers").astype(np.int64) >> SHARD_BITS, return_counts=True
        )
        return dict(zip(shards.tolist(), counts.tolist(), strict=True))

    def count_class_images(self) -> dict[int, int]:
        """How many images each class has, by its index."""
        labels = self._read(f"{_IMAGES}labels").astype(np.int64)
        return dict(enumerate(np.bincount(labels[labels >= 0]).tolist()))

    def read_images(self) -> LotImages:
        """The images of the lot."""
        arrays = {name: self._read(_IMAGES + name) for name in _image_arrays(LotImages())}
        keys = _split_blobs("keys", arrays)
        columns = (arrays[f"file_{name}"].tolist() for name in ("images", "sizes", "times"))
        rows = zip(*columns, _split_blobs("file_digests", arrays), strict=True)
        return LotImages(
            arrays["numbers"].tolist(),
            [key.decode("utf-8", "surrogateescape") for key in keys],
            arrays["labels"].tolist(),
            self.class_names,
            self.errors,
            [ImageFileRow(*row) for row in rows],
        )

    def read_pixels(self, wanted: Container[int]) -> Iterator[StoredImageRow]:
        """The WebPs of those winners that are wanted, one at a time, by number."""
        numbers, sizes = self._read("pixels.numbers"), self._read("pixels.sizes")
        try:
            with self._archive.open("pixels.webp.npy") as member:
                np.lib.format.read_magic(member)
                np.lib.format.read_array_header_1_0(member)
                for number, size in zip(numbers.tolist(), sizes.tolist(), strict=True):
                    webp = member.read(size)
                    if number in wanted:
                        yield StoredImageRow(number, webp)
        except _DAMAGES as error:
            raise SegmentError(self.path, _describe_damage(error)) from error

    def _read(self, name: str) -> Array:
        try:
            with self._archive.open(f"{name}.npy") as member:
                array: Array = np.lib.format.read_array(member, allow_pickle=False)
        except _DAMAGES as error:
            raise SegmentError(self.path, _describe_damage(error)) from error
        return array


def _describe_damage(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or error})"
    return f"is damaged ({describe_error(error)})"
