"""The pictures of a scan: a folder, a list in a text file, or a data set."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import PIL.Image
import torch

from retroscope.errors import ImageError, RetroscopeError
from retroscope.network import AnyImage

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".png",
        ".webp",
        ".gif",
        ".tif",
        ".tiff",
        ".bmp",
        ".ppm",
        ".pgm",
        ".jp2",
        ".avif",
        ".heic",
        ".jxl",
    ]
)


@runtime_checkable
class Dataset(Protocol):
    """What torch calls a map-style data set: a picture, or a picture and its label, by number."""

    def __getitem__(self, index: int, /) -> object: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Pictures:
    """A numbered list of pictures: what each is called, its class, and how to get it.

    A label is a place in `names`, or -1.
    """

    keys: Sequence[str]
    labels: Sequence[int]
    names: Sequence[str]
    get: Callable[[int], AnyImage]

    @property
    def fingerprint(self) -> str:
        """Changes with the list: its names, their order, and their classes."""
        digest = blake2b(digest_size=16)
        for key, label in zip(self.keys, self.labels, strict=True):
            digest.update(f"{key}\0{label}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def pictures(
    source: str | Path | Dataset, *, glob: str | None = None, labels: str | Path | None = None
) -> Pictures:
    """The pictures that a source names.

    A folder is read with all that is below it; its sub-folders are classes. A text file holds a
    path on each line. `labels` is a CSV file of paths and classes.
    """
    if isinstance(source, str | Path):
        return _from_paths(Path(source), glob, None if labels is None else Path(labels))
    return _from_dataset(source)


def _from_paths(source: Path, glob: str | None, labels: Path | None) -> Pictures:
    if not source.exists():
        raise ImageError(f"no folder or list {str(source)!r}; name a folder of images")
    root = source if source.is_dir() else source.parent
    paths = _in_folder(source, glob) if source.is_dir() else _in_list(source)
    if not paths:
        what = glob or "images"
        raise ImageError(f"no {what} in {str(source)!r}; it has no file of that kind")
    keys = [_key(path, root) for path in paths]
    classes = _from_table(labels, keys) if labels else [_folder_class(key) for key in keys]
    names = sorted(set(filter(None, classes)))
    places = {name: place for place, name in enumerate(names)}
    found = list(map(str, paths))
    return Pictures(keys, [places.get(name, -1) for name in classes], names, found.__getitem__)


def _in_folder(folder: Path, glob: str | None) -> list[Path]:
    every = folder.rglob(glob or "*")
    return sorted(
        path for path in every if path.is_file() and (glob or path.suffix.lower() in SUFFIXES)
    )


def _in_list(file: Path) -> list[Path]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(
            f"cannot read the list {str(file)!r} ({error}); it is a text file with a path a line"
        ) from error
    return [file.parent / line.strip() for line in lines if line.strip()]


def _key(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _folder_class(key: str) -> str:
    """The first folder below the root; pictures beside it have no class."""
    parts = Path(key).parts
    return parts[0] if len(parts) > 1 and not Path(key).is_absolute() else ""


def _from_table(file: Path, keys: Iterable[str]) -> list[str]:
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RetroscopeError(f"cannot read the labels {str(file)!r} ({error})") from error
    if any(len(row) < 2 for row in rows):
        raise RetroscopeError(f"the labels {str(file)!r} need two columns: path,class")
    known = {row[0]: row[1] for row in rows}
    found = [known.get(key, known.get(Path(key).name, "")) for key in keys]
    if not any(found):
        raise RetroscopeError(
            f"the labels {str(file)!r} name none of the images; their paths are relative to the "
            "folder of images"
        )
    return found


def _from_dataset(source: Dataset) -> Pictures:
    count = len(source)
    if count == 0:
        raise ImageError("the data set is empty")
    names = tuple(map(str, getattr(source, "classes", ())))
    given = getattr(source, "targets", None)
    labels = [int(one) for one in given] if names and given is not None else [-1] * count
    return Pictures(
        [str(index) for index in range(count)],
        labels,
        names,
        lambda index: _picture_of(source[index]),
    )


def _picture_of(item: object) -> AnyImage:
    picture = item[0] if isinstance(item, tuple | list) else item
    if isinstance(picture, np.ndarray):
        return PIL.Image.fromarray(picture)
    if isinstance(picture, PIL.Image.Image | torch.Tensor):
        return picture
    raise ImageError(
        f"the data set gives a {type(picture).__name__}; it must give a PIL image, an array of "
        "pixels, or a tensor that the network takes"
    )
