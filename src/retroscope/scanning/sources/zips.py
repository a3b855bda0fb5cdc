"""Images in a zip of folders."""

import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from retroscope.errors import ImageError
from retroscope.scanning.sources.folders import is_array_name, is_hidden, no_images
from retroscope.scanning.sources.members import (
    MemberFiles,
    is_image_member,
    member_path,
    refuse_unusable_glob,
)
from retroscope.scanning.sources.shard_images import ShardImages
from retroscope.scanning.sources.stored_files import FileVersion, ShardError, StoredFile

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_LOCAL_SIGNATURE, _ENCRYPTED, _SLACK = b"PK\3\4", 1, 64
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_OTHER_METHODS = {9: "deflate64", zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma", 93: "zstd"}


@dataclass(frozen=True)
class ZipFiles(MemberFiles):
    """Images in a zip, each read by its range of bytes."""

    members: Sequence[zipfile.ZipInfo]

    def read(self, index: int) -> bytes:
        member, name = self.members[index], self.keys[index]
        data = _decompress(member, self._compressed(member, name), name)
        if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
            raise ImageError(f"{name!r} does not match its checksum; pack the image again")
        return data

    def _compressed(self, member: zipfile.ZipInfo, name: str) -> bytes:
        """The bytes of a member as they are in the zip.

        Its local header has a name and extra fields of its own lengths, so both are read at once
        with some bytes to spare, and what lacks afterwards.
        """
        start = member.header_offset
        size = _LOCAL_HEADER.size + len(member.orig_filename.encode()) + len(member.extra) + _SLACK
        end = min(start + size + member.compress_size, self.version.size or start + size)
        head = self.archive.read(start, end)
        if len(head) < _LOCAL_HEADER.size or head[:4] != _LOCAL_SIGNATURE:
            raise ImageError(f"{name!r} is damaged in its zip; copy the zip again")
        name_size, extra_size = _LOCAL_HEADER.unpack_from(head)[-2:]
        first = _LOCAL_HEADER.size + name_size + extra_size
        last = first + member.compress_size
        if last > len(head):
            head += self.archive.read(start + len(head), start + last)
        return head[first:last]


def _decompress(member: zipfile.ZipInfo, data: bytes, name: str) -> bytes:
    if member.compress_type == zipfile.ZIP_STORED:
        return data
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.file_size + 1)
    except zlib.error as error:
        raise ImageError(f"cannot decompress {name!r} ({error}); pack the image again") from error


@dataclass(frozen=True)
class ZipIndex:
    """The images of a zip in the order of their paths."""

    version: FileVersion
    members: Sequence[tuple[str, zipfile.ZipInfo]]
    hidden: Sequence[str]


@lru_cache(maxsize=2)
def index_zip(archive: StoredFile, glob: str | None = None) -> ZipIndex:
    """The images of a zip, read once for all its shards."""
    refuse_unusable_glob(glob)
    with archive.open() as file:
        version = archive.version_of(file)
        try:
            with zipfile.ZipFile(file) as opened:
                infos = opened.infolist()
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise ShardError(
                f"{archive.location!r} is truncated, damaged, or not a zip ({error}); copy it again"
            ) from error
    members = [(member_path(info.filename), info) for info in infos if not info.is_dir()]
    images = [(path, info) for path, info in members if is_image_member(path, glob)]
    if not images:  # of arrays, which are images where there are no others
        images = [(path, info) for path, info in members if not glob and is_array_name(path)]
    hidden = [path for path, _ in images if is_hidden(path)]
    visible = [(path, info) for path, info in images if not is_hidden(path)]
    if not visible:
        raise no_images(archive.location, glob, hidden=len(hidden))
    for _, info in visible:
        _refuse_unreadable(archive, info)
    visible.sort(key=lambda member: PurePosixPath(member[0]))
    return ZipIndex(version, visible, hidden)


def _refuse_unreadable(archive: StoredFile, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise ShardError(
            f"{archive.location!r} is protected by a password; pack it again without one"
        )
    if info.compress_type not in _METHODS:
        method = _OTHER_METHODS.get(info.compress_type, f"method {info.compress_type}")
        raise ShardError(
            f"{archive.location!r} is compressed by {method}; pack it again, stored or deflated"
        )


def zip_images(
    archive: StoredFile, name: str, part: slice, *, glob: str | None = None
) -> ShardImages:
    """A part of the images of a zip, in the order of their paths; keys begin with `name`."""
    archive.check()
    index = index_zip(archive, glob)
    members, prefix = index.members[part], f"{name}/"
    paths = [path for path, _ in members]
    keys = [prefix + path for path in paths]
    infos = [info for _, info in members]
    hidden = [prefix + path for path in index.hidden] if part.start == 0 else []
    return ShardImages(paths, ZipFiles(archive, index.version, keys, infos), keys, hidden=hidden)
