"""The classes of images from a file of labels: rows of a path and a class."""

import csv
from collections import Counter
from collections.abc import Sequence
from os.path import normpath
from pathlib import Path

from retroscope.errors import RetroscopeError


def read_labels(file: Path, keys: Sequence[str]) -> list[str]:
    """The class of each key, or an empty string; rows give the whole key or the name of a file."""
    class_by_path = _class_by_path(file)
    _refuse_ambiguous_names(file, keys, class_by_path)
    classes = [class_by_path.get(key, class_by_path.get(Path(key).name, "")) for key in keys]
    if not any(classes):
        raise RetroscopeError(
            f"the labels {str(file)!r} match none of the images; write paths relative to the "
            "folder of images",
            parameter="labels",
        )
    return classes


def _class_by_path(file: Path) -> dict[str, str]:
    class_by_path: dict[str, str] = {}
    for text, label in _read_rows(file):
        path = normpath(text.replace("\\", "/"))
        if class_by_path.setdefault(path, label) != label:
            raise RetroscopeError(
                f"the labels {str(file)!r} give {text!r} two classes, {class_by_path[path]!r} and "
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


def _refuse_ambiguous_names(file: Path, keys: Sequence[str], class_by_path: dict[str, str]) -> None:
    """Raises if a row gives only the name of a file, and several images have this name."""
    names = Counter(Path(key).name for key in keys)
    for key in keys:
        name = Path(key).name
        if key not in class_by_path and name in class_by_path and names[name] > 1:
            raise RetroscopeError(
                f"the labels {str(file)!r} have a row {name!r}, the name of {names[name]} images, "
                f"such as {key!r}; write paths relative to the folder of images",
                parameter="labels",
            )
