"""The members of an archive that are images, and the classes that files beside them state."""

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BytesIO

from retroscope.atlas.schema import Json
from retroscope.errors import ImageError, RetroscopeError
from retroscope.scanning.sources.folders import is_image_name
from retroscope.scanning.sources.image_list import FileStatus, ImageFiles, OpenedImage
from retroscope.scanning.sources.stored_files import FileVersion, ShardError, StoredFile

CLASS_KEYS = ("class_name", "label_name", "class", "label", "cls")
"""Where the JSON of a sample may state its class: the first that is text or an integer."""

_MAX_CLASS_NAME = 1000


@dataclass(frozen=True)
class MemberFiles(ImageFiles):
    """Images in an archive; errors call each by its key."""

    archive: StoredFile
    version: FileVersion
    keys: Sequence[str]

    @abstractmethod
    def read(self, index: int) -> bytes:
        """The bytes of an image."""

    def name(self, index: int) -> str:
        return self.keys[index]

    @contextmanager
    def open(self, index: int) -> Iterator[OpenedImage]:
        data = self.read(index)
        if not data:
            raise ImageError(f"{self.keys[index]!r} is empty (0 bytes); pack the image again")
        yield OpenedImage(BytesIO(data), len(data), self.version.number)

    def status(self, index: int) -> FileStatus:  # noqa: ARG002
        """The archive's: no member changes without it."""
        return FileStatus(None, self.version.number)


def member_path(name: str) -> str:
    """The path of a member as keys have it: `./a.jpg` and `/a.jpg` are `a.jpg`.

    >>> member_path("./cat/1.jpg"), member_path("/cat/1.jpg")
    ('cat/1.jpg', 'cat/1.jpg')
    """
    while name.startswith(("./", "/")):
        name = name[1:].lstrip("/")
    return name


def sample_name(path: str) -> str:
    """The path up to the first dot of its last part: members that share it are one sample.

    >>> sample_name("v1.0/cat.seg.png")
    'v1.0/cat'
    """
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.split(".", 1)[0]


def matches(path: str, glob: str) -> bool:
    """Whether a pattern matches the path from any folder on, as it does for files of a folder.

    >>> matches("train/cat/1.jpg", "cat/*.jpg"), matches("train/cat/1.jpg", "train/*.jpg")
    (True, False)
    >>> matches("train/cat/1.jpg", "train/**/*.jpg")
    True
    """
    parts, patterns = path.split("/"), glob.split("/")
    return any(_match_parts(parts[start:], patterns) for start in range(len(parts)))


def _match_parts(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_match_parts(parts[n:], patterns[1:]) for n in range(len(parts) + 1))
    return (
        bool(parts) and fnmatchcase(parts[0], patterns[0]) and _match_parts(parts[1:], patterns[1:])
    )


def is_image_member(path: str, glob: str | None) -> bool:
    """Whether a member is an image: by the glob, or else by how its name ends."""
    return matches(path, glob) if glob else is_image_name(path)


def refuse_unusable_glob(glob: str | None) -> None:
    """Raises for a pattern that a folder would not accept either."""
    if glob is not None and (glob.startswith("/") or not glob.strip("./")):
        raise RetroscopeError(
            f"cannot use the pattern {glob!r}; write one such as '*.jpg'", parameter="glob"
        )


def class_of_text(data: bytes, name: str) -> str:
    """The class in a `.cls` file: a number, or a name."""
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise _no_class(name, "it is not text") from error
    if len(text) > _MAX_CLASS_NAME or "\n" in text:
        raise _no_class(name, "it has more than a line")
    return text


def class_of_json(data: bytes, name: str) -> str:
    """The class that the JSON of a sample states; an empty string if it states none.

    >>> class_of_json(b'{"label": 7, "caption": "a cat"}', "1.json")
    '7'
    """
    try:
        values: Json = json.loads(data)
    except ValueError as error:
        raise _no_class(name, f"it is not JSON: {error}") from error
    if not isinstance(values, Mapping):
        return ""
    for key in CLASS_KEYS:
        value = values.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool):
            return str(value).strip()
    return ""


def _no_class(name: str, reason: str) -> ShardError:
    return ShardError(
        f"cannot read the class in {name!r} ({reason}); choose a class folder or give labels to do "
        "without it",
        parameter="class_folder",
    )


SIDECARS = {".cls": class_of_text, ".json": class_of_json}
"""Files beside an image that state its class; the first that does is used."""
