"""What a file may ask for: no more memory than a file of its size can honestly hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retroscope.errors import ModelError, RetroscopeError
from retroscope.network import in_words

EXPANSION = 64
"""Weights are nearly incompressible; sixteen-fold happens where most of them are zero."""


class Allowance:
    """The bytes that may still be made of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left = EXPANSION * path.stat().st_size

    def take(self, wanted: int, what: str) -> None:
        """Count these bytes, or refuse them."""
        self.left -= wanted
        if self.left < 0 or wanted < 0:
            raise ModelError(
                f"{self.path}: {what!r} would be {wanted} bytes, more than a file of "
                f"{self.path.stat().st_size} bytes can hold; it is damaged or made to do harm"
            )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a reader stumbles over inside is one line that names the file."""
    try:
        yield
    except RetroscopeError:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:
        raise ModelError(
            f"{path} is damaged or cut off ({in_words(error)}); get it again"
        ) from error
