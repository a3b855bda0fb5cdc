"""The images of a scan: their keys, their classes, and where their bytes are."""

import os
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from stat import S_ISDIR
from typing import Any, Self

from retroscope.atlas.schema import Json
from retroscope.errors import ImageError
from retroscope.imaging.decoding import open_image_file
from retroscope.imaging.frames import FrameFolder
from retroscope.imaging.slice_files import AnyFile
from retroscope.network import AnyImage


@dataclass(frozen=True)
class ListNote:
    """A remark on how images were listed, and the parameter that changes it."""

    text: str
    parameter: str = ""


@dataclass(frozen=True)
class FileStatus:
    """What shows without reading that bytes are still the same.

    `modified` is the time in nanoseconds, or a number made of an ETag. The size of a value in a
    Parquet file is not known.
    """

    size: int | None
    modified: int


@dataclass(frozen=True)
class OpenedImage:
    """The bytes of an image, their number, and when their file was modified.

    The file is that of an image, or a folder of frames.
    """

    file: AnyFile
    size: int
    modified: int


class ImageFiles(ABC):
    """The bytes of the images of a list, by index: in files, or in an archive."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The image as errors call it."""

    @abstractmethod
    def open(self, index: int) -> AbstractContextManager[OpenedImage]:
        """The image, opened for reading. Raises ImageError if only this image is damaged."""

    @abstractmethod
    def status(self, index: int) -> FileStatus | None:
        """Its size and time without reading it, if that is cheap. Raises OSError if it is gone."""


@dataclass(frozen=True)
class LocalFiles(ImageFiles):
    """Files by their paths; `names` are what errors call them, if that is something else.

    A path of a folder is that of its frames, which are one clip or volume.
    """

    paths: Sequence[str]
    names: Sequence[str] = field(default=(), repr=False)

    def name(self, index: int) -> str:
        return self.names[index] if self.names else self.paths[index]

    @contextmanager
    def open(self, index: int) -> Iterator[OpenedImage]:
        name = repr(self.name(index))
        if Path(self.paths[index]).is_dir():
            frames = FrameFolder.open(Path(self.paths[index]), name)
            yield OpenedImage(frames, frames.size, frames.modified)
            return
        with open_image_file(Path(self.paths[index]), name) as file:
            before = os.fstat(file.fileno())
            yield OpenedImage(file, before.st_size, before.st_mtime_ns)
            after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ImageError(f"{name} changes while it is read; wait until it is written")

    def status(self, index: int) -> FileStatus:
        status = Path(self.paths[index]).stat()
        if S_ISDIR(status.st_mode):
            frames = FrameFolder.open(Path(self.paths[index]), repr(self.name(index)))
            return FileStatus(frames.size, frames.modified)
        return FileStatus(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class JoinedFiles(ImageFiles):
    """The images of several lists, one list after the other; `starts` are their first indices."""

    parts: Sequence[ImageFiles]
    starts: Sequence[int]

    def name(self, index: int) -> str:
        part, position = self._find(index)
        return part.name(position)

    def open(self, index: int) -> AbstractContextManager[OpenedImage]:
        part, position = self._find(index)
        return part.open(position)

    def status(self, index: int) -> FileStatus | None:
        part, position = self._find(index)
        return part.status(position)

    def _find(self, index: int) -> tuple[ImageFiles, int]:
        part = bisect_right(self.starts, index) - 1
        return self.parts[part], index - self.starts[part]


@dataclass(frozen=True)
class OtherList:
    """What comes with each image of a list: the paths of files below a folder, or numbers.

    `shown_root` is what errors call the folder, if that is not its path. Of numbers, the names are
    the texts that they were read from.
    """

    names: Sequence[str]
    root: str = ""
    numbers: Sequence[Sequence[float]] = ()
    shown_root: str | None = None

    def value(self, index: int) -> str | Sequence[float]:
        """The path or the numbers for an image."""
        return self.numbers[index] if self.numbers else str(Path(self.root) / self.names[index])

    def file(self, index: int) -> LocalFiles:
        """The file for an image, under the name that errors call it, unless it has numbers."""
        shown = self.root if self.shown_root is None else self.shown_root
        paths = [str(Path(root) / self.names[index]) for root in (self.root, shown)]
        return LocalFiles(paths[:1], paths[1:])

    def select(self, indices: Sequence[int]) -> Self:
        """What comes with some of the images."""
        numbers = [self.numbers[index] for index in indices] if self.numbers else ()
        return replace(self, names=[self.names[index] for index in indices], numbers=numbers)

    def to_json(self) -> dict[str, Json]:
        """The list for a file that any process can read: the path of the folder is absolute."""
        return {
            "names": list(self.names),
            "root": "" if self.numbers else str(Path(self.root).absolute()),
            "numbers": [list(numbers) for numbers in self.numbers],
            "shown_root": self.root if self.shown_root is None else self.shown_root,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The list that `to_json` has written. Raises KeyError or TypeError for another one."""
        return cls(
            list(map(str, values["names"])),
            str(values["root"]),
            [list(map(float, numbers)) for numbers in values["numbers"]],
            str(values["shown_root"]),
        )


def join_other_lists(parts: Sequence[OtherList]) -> OtherList:
    """What comes with the images of several lists, one list after the other."""
    return OtherList(
        [str(Path(part.root) / name) for part in parts for name in part.names],
        numbers=[numbers for part in parts for numbers in part.numbers],
    )


@dataclass(frozen=True)
class ImageList:
    """The images of a scan, by index: the key and class of each, and a function that loads it.

    A label is an index into `class_names`, or -1. `files` are the bytes, unless a data set loads
    the images. `notes` say how files were read, where that may surprise. `shard_starts` are the
    first indices of the shards, in ascending order. `others` are the other inputs of the network
    that come with each image, by name. `load_entries` loads entries of a sample of a data set.
    """

    keys: Sequence[str]
    labels: Sequence[int]
    class_names: Sequence[str]
    load: Callable[[int], AnyImage]
    files: ImageFiles | None = None
    notes: Sequence[ListNote] = ()
    shard_starts: Sequence[int] = field(default=(0,))
    others: Mapping[str, OtherList] = field(default_factory=dict)
    load_entries: Callable[[int, Sequence[str]], AnyImage] | None = None

    @property
    def fingerprint(self) -> str:
        """A digest of the keys, their order and their classes."""
        fingerprint = ListFingerprint()
        fingerprint.add(self.keys, self.labels, self.class_names)
        fingerprint.add_others({name: other.names for name, other in self.others.items()})
        return fingerprint.digest

    def batches(self, indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
        """These indices, which ascend, in batches of up to `size`; none crosses a shard.

        The results of a convolution can depend on how many images run at once, so the same images
        meet in a batch whether a machine runs all shards or one.

        >>> images = ImageList("abcdefg", [-1] * 7, [], str, shard_starts=(0, 5))
        >>> [list(batch) for batch in images.batches(range(1, 7), 3)]
        [[1, 2, 3], [4], [5, 6]]
        """
        start = 0
        while start < len(indices):
            stop = min(start + size, len(indices))
            shard = bisect_right(self.shard_starts, indices[start])
            if shard < len(self.shard_starts):
                stop = bisect_left(indices, self.shard_starts[shard], start, stop)
            yield indices[start:stop]
            start = stop


class ListFingerprint:
    """A digest of the keys of images, their order and their classes, added part by part."""

    def __init__(self) -> None:
        self._digest = blake2b(digest_size=16)

    def add(self, keys: Sequence[str], labels: Sequence[int], class_names: Sequence[str]) -> None:
        """Adds images; a label is an index of `class_names`, or -1."""
        for key, label in zip(keys, labels, strict=True):
            name = class_names[label] if label >= 0 else ""
            self._digest.update(f"{key}\0{label}\0{name}\n".encode("utf-8", "surrogateescape"))

    def add_others(self, names: Mapping[str, Sequence[str]]) -> None:
        """Adds what comes with each image, by the names of inputs."""
        for name, values in sorted(names.items()):
            self.add([name, *values], [-1] * (len(values) + 1), ())

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


def key_hash(key: str) -> int:
    """A number of 64 bits that stands for a key; the lowest decide which images are sampled.

    >>> key_hash("cat/1.jpg") == key_hash("cat/1.jpg") != key_hash("cat/2.jpg")
    True
    """
    digest = blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def first_indices(lengths: Sequence[int]) -> list[int]:
    """The first index of each part of a list, by their lengths.

    >>> first_indices([5, 0, 2])
    [0, 5, 5]
    """
    return list(accumulate(lengths, initial=0))[:-1]
