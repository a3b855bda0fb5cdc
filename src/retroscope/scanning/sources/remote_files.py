"""Files behind URLs: read by ranges, or fetched whole to a temporary file."""

import io
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from errno import ENOSPC
from functools import lru_cache
from threading import Lock
from time import monotonic
from typing import IO, Any
from weakref import WeakValueDictionary, finalize

from retroscope.errors import ImageError, RetroscopeError
from retroscope.scanning.sources.file_systems import attempt, open_url
from retroscope.scanning.sources.image_list import (
    FileStatus,
    ImageFiles,
    LocalFiles,
    OpenedImage,
)
from retroscope.scanning.sources.locations import is_url
from retroscope.scanning.sources.shared_cache import SharedCache
from retroscope.scanning.sources.stored_files import (
    FileVersion,
    LocalFile,
    MissingShardError,
    ShardError,
    StoredFile,
)

RECHECK_SECONDS = 60.0
"""How long a file is taken to be the version that was last seen."""

_COPIED_BYTES = 2**32
_CHUNK, _BUFFER = 2**23, 2**20
_ETAG_KEYS = (
    *("ETag", "etag", "e_tag", "md5Hash", "Content-MD5", "Digest", "sha256", "blob_id"),
    *("Last-Modified", "LastModified", "last_modified", "updated", "mtime", "modified", "created"),
)
"""What file systems call the version of a file, the best first."""
_COMMIT = re.compile(r"^hf://.*@[0-9a-f]{40}/")
"""A file of a commit never changes."""
_RANGE_OPTIONS = {"hf": {"cache_type": "none"}}
"""What keeps a file system from reading more than a range."""


def stored_file(location: str, pinned: FileVersion | None = None) -> StoredFile:
    """The file under a path or URL."""
    kind = RemoteFile if is_url(location) else LocalFile
    return kind(location, pinned or FileVersion())


def files_at(locations: Sequence[str]) -> ImageFiles:
    """The images under paths or URLs."""
    return RemoteFiles(locations) if any(map(is_url, locations)) else LocalFiles(locations)


class RangeReader(io.RawIOBase):
    """A file whose ranges a function reads; each reader has a position of its own."""

    def __init__(self, read_range: Callable[[int, int], bytes], size: int) -> None:
        self._read_range, self._size, self._position = read_range, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        stop = min(self._position + len(view), self._size)
        if stop <= self._position:
            return 0
        data = self._read_range(self._position, stop)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


class FetchedCopy:
    """A temporary file, which has no name and is gone with the last reader, or the process."""

    def __init__(self) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this
        self.size = 0
        self._lock = Lock()
        finalize(self, self.file.close)

    def append(self, data: bytes) -> None:
        try:
            self.file.write(data)
            self.file.flush()
        except OSError as error:
            if error.errno == ENOSPC:
                raise RetroscopeError(
                    f"no space for the copy of a remote file in {tempfile.gettempdir()!r}; free "
                    "some, or set TMPDIR to another folder"
                ) from error
            raise
        self.size += len(data)

    def read(self, start: int, stop: int) -> bytes:
        with self._lock:
            self.file.seek(start)
            return self.file.read(stop - start)

    def open(self) -> IO[bytes]:
        return io.BufferedReader(RangeReader(self.read, self.size), _BUFFER)


@dataclass(frozen=True)
class RemoteFile(StoredFile):
    """A file behind a URL. What is read comes from its copy, while there is one."""

    def version(self) -> FileVersion:
        file_system, path = open_url(self.location)
        if not _COMMIT.search(self.location):
            file_system.invalidate_cache(path)
        info = attempt(lambda: file_system.info(path), self.location)
        _SEEN_AT[self] = monotonic()
        return _version_in(info)

    def version_of(self, file: IO[bytes]) -> FileVersion:  # noqa: ARG002
        return self.version() if self.pinned == FileVersion() else self.pinned

    def read(self, start: int, stop: int) -> bytes:
        copy = _COPIES.get(self)
        if copy is None and not has_ranges(self.location):
            copy = self.fetch()
        if copy is None and monotonic() - _SEEN_AT.get(self, -RECHECK_SECONDS) > RECHECK_SECONDS:
            self.refuse_change(self.version())
        data = self._request(start, stop) if copy is None else copy.read(start, stop)
        if len(data) != stop - start:
            raise self.cut_off()
        return data

    def _request(self, start: int, stop: int) -> bytes:
        file_system, path = open_url(self.location)
        options = _RANGE_OPTIONS.get(self.location.partition("://")[0], {})
        data: bytes = attempt(
            lambda: file_system.cat_file(path, start, stop, **options), self.location
        )
        return data

    def open(self) -> IO[bytes]:
        version = self.version()
        self.refuse_change(version)
        if version.size is None or not has_ranges(self.location):
            return self.open_whole()
        return io.BufferedReader(RangeReader(self.read, version.size), _BUFFER)

    def open_whole(self) -> IO[bytes]:
        return self.fetch().open()

    def hold(self) -> object:
        return self.fetch()

    def fetch(self) -> FetchedCopy:
        """The copy of the whole file, which all threads share."""
        copy = _COPIES.get(self)
        return copy or _LATEST_COPIES.get(self, self._download)

    def _download(self) -> FetchedCopy:
        version, copy = self.version(), FetchedCopy()
        self.refuse_change(version)
        if version.size is not None and has_ranges(self.location):
            for start in range(0, version.size, _CHUNK):
                copy.append(self._request(start, min(start + _CHUNK, version.size)))
        else:
            copy = attempt(self._download_stream, self.location)
        if version.size not in {None, copy.size}:
            raise self.cut_off()
        if self.version().differs_from(version):
            raise ShardError(f"{self.location!r} changes while it is read; wait until it is whole")
        _COPIES[self] = copy
        return copy

    def _download_stream(self) -> FetchedCopy:
        file_system, path = open_url(self.location)
        copy = FetchedCopy()
        with file_system.open(path, "rb", block_size=0) as stream:
            while chunk := stream.read(_CHUNK):
                copy.append(chunk)
        return copy


_SEEN_AT: dict[RemoteFile, float] = {}
_COPIES: WeakValueDictionary[RemoteFile, FetchedCopy] = WeakValueDictionary()
_LATEST_COPIES: SharedCache[RemoteFile, FetchedCopy] = SharedCache(
    lambda copy: copy.size, max_bytes=_COPIED_BYTES
)


def forget_copies() -> None:
    """Drops the copies that nobody uses, and when files were last seen."""
    _LATEST_COPIES.clear()
    _SEEN_AT.clear()


@lru_cache(maxsize=4096)
def has_ranges(url: str) -> bool:
    """Whether a part of a file can be read without the rest, which some web servers refuse."""
    file_system, path = open_url(url)
    if not url.startswith(("http://", "https://")):
        return True

    def read_second_byte() -> bool:
        with file_system.open(path, "rb", block_size=_BUFFER, cache_type="none") as file:
            if not file.seekable():
                return False
            file.seek(1)
            try:
                return len(file.read(1)) == 1
            except ValueError:
                return False

    return attempt(read_second_byte, url)


def _version_in(info: Mapping[str, Any]) -> FileVersion:
    etag = next((str(info[key]) for key in _ETAG_KEYS if info.get(key)), "")
    size = info.get("size")
    return FileVersion(int(size) if size is not None else None, etag)


@dataclass(frozen=True)
class RemoteFiles(ImageFiles):
    """Images behind URLs, or URLs and paths."""

    locations: Sequence[str]

    def name(self, index: int) -> str:
        return self.locations[index]

    def open(self, index: int) -> AbstractContextManager[OpenedImage]:
        if is_url(self.locations[index]):
            return self._open_url(self.locations[index])
        return LocalFiles(self.locations).open(index)

    @contextmanager
    def _open_url(self, url: str) -> Iterator[OpenedImage]:
        file_system, path = open_url(url)
        try:
            data: bytes = attempt(lambda: file_system.cat_file(path), url)
        except MissingShardError as error:
            raise ImageError(str(error)) from error
        if not data:
            raise ImageError(f"{url!r} is an empty file (0 bytes); copy the image again")
        yield OpenedImage(io.BytesIO(data), len(data), 0)

    def status(self, index: int) -> FileStatus | None:
        """Unknown for a URL, where it would take a request; reading compares the content."""
        if is_url(self.locations[index]):
            return None
        return LocalFiles(self.locations).status(index)
