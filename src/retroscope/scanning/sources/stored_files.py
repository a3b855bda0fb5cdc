"""Files that hold images, on a disk or behind a URL: their version, and ranges of their bytes."""

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, NamedTuple

from retroscope.errors import RetroscopeError

_MAX_INTEGER = 2**63
"""What SQLite stores as an integer is below."""


class ShardError(RetroscopeError):
    """A file of images that is missing, truncated, damaged or no longer what was listed.

    It ends a scan, which can go on later: an image that is damaged alone is an ImageError instead.
    """


class MissingShardError(ShardError):
    """A file of images that is not there."""


class FileVersion(NamedTuple):
    """What pins a file: its size, and its ETag or time of modification in nanoseconds."""

    size: int | None = None
    etag: str = ""

    @property
    def number(self) -> int:
        """The time of modification in nanoseconds, or a number made of the ETag."""
        if self.etag.isascii() and self.etag.isdecimal() and int(self.etag) < _MAX_INTEGER:
            return int(self.etag)
        digest = blake2b(self.etag.encode(), digest_size=8).digest()
        return int.from_bytes(digest) >> 1

    def differs_from(self, pinned: "FileVersion") -> bool:
        """Whether this is not the pinned version, as far as both are known."""
        sizes, etags = (self.size, pinned.size), (self.etag, pinned.etag)
        return (None not in sizes and sizes[0] != sizes[1]) or (all(etags) and etags[0] != etags[1])


@dataclass(frozen=True)
class StoredFile(ABC):
    """A file under a path or URL. With `pinned`, another version of it is refused."""

    location: str
    pinned: FileVersion = field(default_factory=FileVersion)

    @abstractmethod
    def version(self) -> FileVersion:
        """The version that is there now."""

    @abstractmethod
    def version_of(self, file: IO[bytes]) -> FileVersion:
        """The version that has been opened."""

    @abstractmethod
    def read(self, start: int, stop: int) -> bytes:
        """These bytes. Threads may read at the same time."""

    @abstractmethod
    def open(self) -> IO[bytes]:
        """The file, opened for reading at any position."""

    def open_whole(self) -> IO[bytes]:
        """The file, opened for reading all of it."""
        return self.open()

    def hold(self) -> object:
        """What keeps the copy of a remote file, as long as somebody has it."""
        return None

    def check(self) -> None:
        """Raises if the file is missing, or not the pinned version."""
        self.refuse_change(self.version())

    def refuse_change(self, version: FileVersion) -> None:
        """Raises if this is not the pinned version."""
        if version.differs_from(self.pinned):
            raise ShardError(
                f"{self.location!r} has changed since it was listed; restore it, or scan again "
                "with restart",
                parameter="restart",
            )

    def cut_off(self) -> ShardError:
        return ShardError(f"{self.location!r} is truncated; copy it again")


@dataclass(frozen=True)
class LocalFile(StoredFile):
    """A file on a disk."""

    def version(self) -> FileVersion:
        with self.open() as file:
            return _version_of(file)

    def version_of(self, file: IO[bytes]) -> FileVersion:
        return _version_of(file)

    def read(self, start: int, stop: int) -> bytes:
        with self.open() as file:
            file.seek(start)
            data = file.read(stop - start)
        if len(data) < stop - start:
            raise self.cut_off()
        return data

    def open(self) -> IO[bytes]:
        try:
            file = Path(self.location).open("rb")  # noqa: SIM115 - the caller closes it
        except FileNotFoundError as error:
            raise MissingShardError(f"no file {self.location!r}; check the path") from error
        except OSError as error:
            reason = error.strerror or error
            raise ShardError(f"cannot open {self.location!r} ({reason}); check the path") from error
        try:
            if self.pinned != FileVersion():
                self.refuse_change(_version_of(file))
        except ShardError:
            file.close()
            raise
        return file


def _version_of(file: IO[bytes]) -> FileVersion:
    status = os.fstat(file.fileno())
    return FileVersion(status.st_size, str(status.st_mtime_ns))
