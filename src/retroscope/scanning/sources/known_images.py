"""The images of a scan that is done: their keys are known, so archives are listed when needed."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from threading import Lock

from retroscope.errors import RetroscopeError
from retroscope.scanning.sources.image_list import (
    FileStatus,
    ImageFiles,
    ImageList,
    JoinedFiles,
    OpenedImage,
    first_indices,
)
from retroscope.scanning.sources.left_out import LeftOutShards
from retroscope.scanning.sources.listing import FileSource, ShardedSource, list_shards
from retroscope.scanning.sources.shard_images import load_from
from retroscope.scanning.sources.shards import Shard, ShardKind
from retroscope.scanning.sources.stored_files import FileVersion

_CLASS_FOLDER = "first"
"""Classes are not asked for, and those of folders take no reading."""


_WHOLE = LeftOutShards()


def list_known_images(
    source: FileSource,
    keys: Sequence[str],
    *,
    glob: str | None = None,
    left_out: LeftOutShards = _WHOLE,
    takes_volumes: bool = False,
) -> ImageList:
    """The images of a source whose keys an atlas records, without their classes."""
    sharded = list_shards(
        source, glob=glob, class_folder=_CLASS_FOLDER, takes_volumes=takes_volumes
    )
    return known_images(left_out.remove_from(sharded, keys), keys)


def known_images(sharded: ShardedSource, keys: Sequence[str]) -> ImageList:
    """The images of shards whose keys an atlas records.

    Of archives, only those are listed whose images are read. Files are all listed.
    """
    lengths = _lengths(sharded.shards, keys)
    if sharded.shards[0].kind is ShardKind.FILES or sum(lengths) != len(keys):
        return sharded.list_images()
    starts = first_indices(lengths)
    parts = [
        KnownFiles(shard, keys[start : start + length])
        for shard, start, length in zip(sharded.shards, starts, lengths, strict=True)
    ]
    files = JoinedFiles(parts, starts)
    load = partial(load_from, files)
    return ImageList(keys, [-1] * len(keys), (), load, files, shard_starts=starts)


def _lengths(shards: Sequence[Shard], keys: Sequence[str]) -> list[int]:
    """How many images each shard has: as its index says, or as many keys as begin with its name."""
    lengths, start = list[int](), 0
    for shard in shards:
        stop, prefix = start, f"{shard.name}/"
        while shard.images is None and stop < len(keys) and keys[stop].startswith(prefix):
            stop += 1
        lengths.append(stop - start if shard.images is None else shard.images)
        start += lengths[-1]
    return lengths


class KnownFiles(ImageFiles):
    """The images of a shard, which is listed when the first of them is read."""

    def __init__(self, shard: Shard, keys: Sequence[str]) -> None:
        self._shard, self._keys = shard, keys
        self._files: ImageFiles | None = None
        self._lock = Lock()

    def name(self, index: int) -> str:
        return self._keys[index]

    def open(self, index: int) -> AbstractContextManager[OpenedImage]:
        return self.listed.open(index)

    @property
    def listed(self) -> ImageFiles:
        """The images as the shard lists them."""
        with self._lock:
            self._files = self._files or self._list()
        return self._files

    def status(self, index: int) -> FileStatus:  # noqa: ARG002 - one for the whole archive
        return FileStatus(None, FileVersion(self._shard.size, self._shard.etag).number)

    def _list(self) -> ImageFiles:
        images = self._shard.read()
        if list(images.keys) != list(self._keys):
            raise RetroscopeError(
                f"{self._shard.location!r} no longer holds the images that the scan has read; "
                "restore it, or give the images of the scan",
                parameter="images",
            )
        return images.files
