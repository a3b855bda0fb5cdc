"""Limits on what reading a weight file may cost, and one error for every damaged file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

from retroscope.errors import ModelError, RetroscopeError, describe_error

EXPANSION = 64
"""Weights barely compress; even a file of mostly zeros expands about sixteen-fold."""

UNCOMPRESSED_EXPANSION = 8
"""For formats without compression: float16 and int8 become float32, and pickles copy arrays."""


class ByteBudget:
    """How many bytes may still be unpacked from a file: at most `expansion` times its size."""

    def __init__(self, path: Path, expansion: int = EXPANSION) -> None:
        self.path = path
        self.limit = self.remaining = expansion * path.stat().st_size

    def spend(self, byte_count: int, name: str) -> None:
        """Deducts the bytes of an array or archive member; raises if the budget is exceeded."""
        self.remaining -= byte_count
        if self.remaining < 0 or byte_count < 0:
            raise ModelError(
                f"{self.path}: with {name!r} it would expand to over {self.limit} bytes, more than "
                f"a file of {self.path.stat().st_size} bytes can hold; it is damaged or malicious"
            )


def check_archive_size(path: Path) -> None:
    """Raises if the members of a zip archive would unpack to more than its budget."""
    budget = ByteBudget(path)
    with ZipFile(path) as archive:
        for member in archive.infolist():
            budget.spend(member.file_size, member.filename)


@contextmanager
def translate_read_errors(path: Path) -> Iterator[None]:
    """Turns any exception of a file reader into one line that names the file.

    A damaged or malicious file can make a parser raise anything, so the type decides nothing.
    """
    try:
        yield
    except RetroscopeError:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; check the path") from error
    except Exception as error:
        raise ModelError(
            f"{path} is damaged or truncated ({describe_error(error)}); download it again"
        ) from error
