"""The classes of images from a file of labels: rows of a path and a class."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from os.path import normpath
from pathlib import Path
from typing import NamedTuple

from retroscope.errors import RetroscopeError


class LabelledPath(NamedTuple):
    """What a row may call an image: its key, its path in its archive, or the name of its file."""

    key: str
    path: str

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


def read_labels(file: str, images: Sequence[LabelledPath]) -> list[str]:
    """The class of each image, or an empty string."""
    class_by_path = _read_table(file)
    names = [_row_name(image, class_by_path) for image in images]
    return ["" if name is None else class_by_path[name] for name in names]


def refuse_unusable_labels(file: str, images: Sequence[LabelledPath]) -> None:
    """Raises if no row matches an image, or a row matches several images."""
    class_by_path = _read_table(file)
    names = [_row_name(image, class_by_path) for image in images]
    if not any(name is not None for name in names):
        raise RetroscopeError(
            f"the labels {file!r} match none of the images; write paths relative to the "
            "folder of images",
            parameter="labels",
        )
    _refuse_ambiguous_rows(file, images, names)


def _row_name(image: LabelledPath, class_by_path: Mapping[str, str]) -> str | None:
    """The path in the row of an image."""
    for name in (image.key, image.path, image.name):
        if name in class_by_path:
            return name
    return None


def _refuse_ambiguous_rows(
    file: str, images: Sequence[LabelledPath], names: Sequence[str | None]
) -> None:
    """Raises if a row gives less than the key, and several images are called so."""
    paths = Counter(image.path for image in images)
    file_names = Counter(image.name for image in images)
    for image, name in zip(images, names, strict=True):
        if name is None or name == image.key:
            continue
        count = paths[name] if name == image.path else file_names[name]
        if count > 1:
            raise RetroscopeError(
                f"the labels {file!r} have a row {name!r}, the name of {count} images, "
                f"such as {image.key!r}; write paths relative to the folder of images",
                parameter="labels",
            )


def labels_version(file: str) -> tuple[int, int]:
    """The time and size of a file of labels; zeros if there is none."""
    try:
        status = Path(file).stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _read_table(file: str) -> Mapping[str, str]:
    return _read_version(file, labels_version(file))


@lru_cache(maxsize=2)
def _read_version(file: str, _version: tuple[int, int]) -> Mapping[str, str]:
    """The class of each path, read once for all shards unless the file changes."""
    class_by_path: dict[str, str] = {}
    for text, label in _read_rows(Path(file)):
        path = normpath(text.replace("\\", "/"))
        if class_by_path.setdefault(path, label) != label:
            raise RetroscopeError(
                f"the labels {file!r} give {text!r} two classes, {class_by_path[path]!r} and "
                f"{label!r}; write one row for each image",
                parameter="labels",
            )
    return class_by_path


def _read_rows(file: Path) -> list[tuple[str, str]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RetroscopeError(
            f"cannot read the labels {str(file)!r} ({reason}); give a CSV file with rows of "
            "path,class, or leave labels out to use the sub-folders as classes",
            parameter="labels",
        ) from error
    if any(len(row) < 2 for row in rows):
        raise RetroscopeError(
            f"the labels {str(file)!r} need two columns: path,class", parameter="labels"
        )
    return [(row[0].strip(), row[1].strip()) for row in rows]
