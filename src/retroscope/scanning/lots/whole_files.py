"""Files that appear whole or not at all, whoever is killed while writing them."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from retroscope.errors import RetroscopeError


class PlanError(RetroscopeError):
    """A plan folder that cannot be read or written, or that does not fit what is asked."""


@contextmanager
def write_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which gets its name at the end; it replaces one of the same name.

    It lies in the same folder until then, under a name of its own, so that several processes may
    write the same file. Of a killed process such a file is left: `delete_unfinished` finds it.
    """
    with explain_failure(path):
        with NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED, delete=False
        ) as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                with suppress(OSError):
                    file.close()
                Path(file.name).unlink(missing_ok=True)
                raise
        Path(file.name).chmod(0o666 & ~_umask())
        Path(file.name).replace(path)


_UNFINISHED = ".part"


def delete_unfinished(folder: Path) -> None:
    """Deletes what killed processes have left; nobody may be writing here."""
    for path in folder.glob(f".*{_UNFINISHED}"):
        path.unlink(missing_ok=True)


@contextmanager
def explain_failure(path: Path) -> Iterator[None]:
    """Turns an error of the disk into one line about the file that was to be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        advice = "check the folder"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason, advice = "the disk is full", "free some space"
        raise PlanError(
            f"cannot write {str(path)!r}: {reason}; {advice} and run the same again, everything "
            "that is finished is kept"
        ) from error


def _umask() -> int:
    """The mask of the process; a temporary file would be readable by its owner alone."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
