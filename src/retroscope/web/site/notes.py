"""Stars and short notes on units, in a file of their own beside the atlas.

The atlas is never written: who shares it shares no notes by accident.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import IO, Any

from retroscope.atlas.sqlite_errors import quote_path
from retroscope.errors import RetroscopeError

MAX_TEXT = 2000
"""Characters of a note."""
MAX_NOTES = 10_000
_MAX_BYTES = 2**24
_SUFFIX = ".notes.json"


class NotesError(RetroscopeError):
    """Notes that cannot be read or written."""


@dataclass(frozen=True)
class Note:
    """A star, a text, or both, on a unit."""

    star: bool = False
    text: str = ""


class Notes:
    """The notes of an atlas. Every call reads the file anew, as another server may have written it.

    The file is written whole under another name and then renamed, so a crash leaves the old one.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path
        self.writable = writable
        self._lock = Lock()

    def read(self) -> dict[str, Note]:
        """All notes by the address of their unit; none without a file."""
        with self._explain("read"):
            is_link = self.path.is_symlink()
            data = b"" if is_link or not self.path.exists() else _read_start(self.path)
        if is_link:
            raise NotesError(f"{quote_path(self.path)} is a link, which is not followed; remove it")
        return _decode(data, self.path) if data else {}

    def put(self, unit: str, note: Note) -> None:
        """Replaces the note on a unit; one without a star and a text is removed."""
        assert self.writable
        if len(note.text) > MAX_TEXT:
            raise NotesError(
                f"a note of {len(note.text)} characters is too long; the limit is {MAX_TEXT}"
            )
        with self._lock:
            notes = self.read()
            notes.pop(unit, None)
            if note.star or note.text:
                notes[unit] = note
            if len(notes) > MAX_NOTES:
                raise NotesError(f"there are {MAX_NOTES:,} notes already; remove some first")
            with self._explain("written"):
                _replace_file(self.path, _encode(notes))

    @contextmanager
    def _explain(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise NotesError(
                f"{quote_path(self.path)} cannot be {action} ({error.strerror or error})"
            ) from error


def notes_of(atlas_path: Path, *, writable: bool = False) -> Notes:
    """The notes beside an atlas.

    >>> notes_of(Path("runs/vgg16.atlas")).path.name
    'vgg16.notes.json'
    """
    return Notes(atlas_path.with_suffix(_SUFFIX), writable=writable)


def _read_start(path: Path) -> bytes:
    """The file, or enough of it to see that it is too long."""
    with path.open("rb") as file:
        return file.read(_MAX_BYTES + 1)


def _encode(notes: Mapping[str, Note]) -> bytes:
    rows = {unit: {"star": note.star, "text": note.text} for unit, note in sorted(notes.items())}
    return json.dumps({"notes": rows}, indent=1).encode()


def _decode(data: bytes, path: Path) -> dict[str, Note]:
    try:
        rows: Any = json.loads(data) if len(data) <= _MAX_BYTES else None
        return {unit: _note(row) for unit, row in rows["notes"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotesError(f"{quote_path(path)} is not a file of notes; move it away") from error


def _note(row: Mapping[str, object]) -> Note:
    match row:
        case {"star": bool(star), "text": str(text)}:
            return Note(star, text)
    raise TypeError("a note is a star and a text")


def _replace_file(path: Path, data: bytes) -> None:
    """Writes a file whole, or not at all."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        _write_through(file, data)
    try:
        os.replace(file.name, path)  # noqa: PTH105 - the one that replaces on every system
    except OSError:
        Path(file.name).unlink(missing_ok=True)
        raise


def _write_through(file: IO[bytes], data: bytes) -> None:
    """Writes to the disk; a file that could not be written is removed."""
    try:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    except OSError:
        Path(file.name).unlink(missing_ok=True)
        raise
