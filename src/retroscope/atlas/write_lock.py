"""One writer at a time: a lock on a file beside the atlas, which ends with its process.

SQLite's own lock is held only while a transaction is written, so that the atlas can be read during
a scan. This one is held as long as an atlas is open for writing. It is the system's record lock
(`lockf`, on Windows `locking`): a killed process leaves the file behind, but not the lock. Unlike
`flock`, forked children do not inherit it, and network disks pass it on to other machines.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EPERM, EROFS
from pathlib import Path
from platform import node
from threading import RLock
from typing import NamedTuple
from weakref import finalize

from retroscope.atlas.schema import AtlasError
from retroscope.atlas.sqlite_errors import quote_path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_SUFFIX = "-lock"
_LOCKED_BYTE = 2**30
"""Far behind the text of the file: a byte that Windows locks cannot be read either."""

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
"""The file is overwritten: a link beside an atlas from a stranger may lead to any file."""


class _FileIdentity(NamedTuple):
    device: int
    inode: int


_guard = RLock()
_held: dict[_FileIdentity, int] = {}
"""The locks of this process, with its number: a record lock does not exclude threads, is lost when
its process closes the file a second time, and is not inherited by a fork, as this table is."""


class WriteLock:
    """The right to write an atlas, from its creation to `release`.

    Raises AtlasError if another writer has it.
    """

    def __init__(self, path: Path) -> None:
        lock_file = lock_path(path)
        with _guard, _explain_failure(path, lock_file):
            descriptor = _acquire(path, lock_file)
            identity = _identity(os.fstat(descriptor))
            _held[identity] = os.getpid()
        self.release = finalize(self, _release, lock_file, descriptor, identity)


def refuse_second_writer(path: Path) -> None:
    """Raises AtlasError if an atlas is being written, before work starts that would be in vain."""
    if lock_path(path).exists():
        WriteLock(path).release()


def lock_path(path: Path) -> Path:
    """The file that a writer locks: beside the atlas itself, not beside a link to it."""
    resolved = path.resolve()
    return resolved.with_name(resolved.name + _SUFFIX)


def _acquire(path: Path, lock_file: Path) -> int:
    """The descriptor of the locked file, which is the one that others find under its name."""
    while True:
        with suppress(FileNotFoundError):
            if _held.get(_identity(lock_file.stat())) == os.getpid():
                raise _second_writer(path, f"{os.getpid()} {node()}")
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o666)
        if not _try_lock(descriptor):
            holder = os.read(descriptor, 200).decode(errors="replace")
            os.close(descriptor)
            raise _second_writer(path, holder)
        if _has_name(descriptor, lock_file):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} {node()}\n".encode())
            return descriptor
        os.close(descriptor)  # its last holder has just deleted it


def _has_name(descriptor: int, lock_file: Path) -> bool:
    try:
        return _identity(lock_file.stat()) == _identity(os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _second_writer(path: Path, holder: str) -> AtlasError:
    number, _, machine = holder.strip().partition(" ")
    process = f" (process {number}{f' on {machine}' if machine != node() else ''})"
    return AtlasError(
        f"another scan is writing {quote_path(path)}{process if number.isdecimal() else ''}; wait "
        "for it or choose another file"
    )


def _release(lock_file: Path, descriptor: int, identity: _FileIdentity) -> None:
    """Deletes the file while it is locked, so the lock of a later writer is never deleted."""
    with _guard:
        if _held.get(identity) != os.getpid():  # a forked child has inherited the object
            return
        del _held[identity]
        if sys.platform == "win32":  # an open file cannot be deleted there
            os.close(descriptor)
        with suppress(OSError):
            lock_file.unlink()
        if sys.platform != "win32":
            os.close(descriptor)


@contextmanager
def _explain_failure(path: Path, lock_file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "the folder is read-only; change its mode, or use a copy"
        if error.errno not in (EACCES, EPERM, EROFS) or lock_file.exists():
            reason = (
                f"its lock {quote_path(lock_file)} cannot be opened ({error.strerror}); delete it "
                "if no scan is running, or use a disk with file locks"
            )
        raise AtlasError(f"{quote_path(path)} cannot be written: {reason}") from error


def _identity(status: os.stat_result) -> _FileIdentity:
    return _FileIdentity(status.st_dev, status.st_ino)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
