"""The pictures of a scan: a folder, a list in a text file, or a data set."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
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


Source = str | Path | Sequence[str | Path] | Dataset
"""A folder or a list in a text file, a list of paths, or a data set."""


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
            name = self.names[label] if label >= 0 else ""
            digest.update(f"{key}\0{label}\0{name}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def pictures(
    source: Source, *, glob: str | None = None, labels: str | Path | None = None
) -> Pictures:
    """The pictures that a source names.

    A folder is read with all that is below it; its sub-folders are classes. A text file holds a
    path on each line; so does a list of paths, which are relative to where we are. `labels` is a
    CSV file of paths and classes.
    """
    table = None if labels is None else Path(labels)
    if isinstance(source, str | Path):
        return _from_paths(Path(source), glob, table)
    if isinstance(source, list | tuple) and all(isinstance(one, str | Path) for one in source):
        if glob:
            raise RetroscopeError("a list names its files; leave glob out")
        return _of_files([Path(one) for one in source], Path(), table)
    if glob or labels:
        raise RetroscopeError(
            "glob and labels are of files; a data set brings its own pictures and classes"
        )
    if not isinstance(source, Dataset):
        raise RetroscopeError(
            f"a {type(source).__name__} cannot be scanned; give a folder, a list of paths, or a "
            "data set"
        )
    return _from_dataset(source)


def _from_paths(source: Path, glob: str | None, labels: Path | None) -> Pictures:
    if not source.exists():
        raise ImageError(f"no folder or list {str(source)!r}; name a folder of images")
    if glob and not source.is_dir():
        raise RetroscopeError(f"{str(source)!r} is a list, which names its files; leave glob out")
    root = source if source.is_dir() else source.parent
    paths = _in_folder(source, glob) if source.is_dir() else _in_list(source)
    if not paths:
        raise ImageError(f"no {glob or 'images'} in {str(source)!r}; {_why_none(source, glob)}")
    return _of_files(paths, root, labels)


def _why_none(source: Path, glob: str | None) -> str:
    if not source.is_dir():
        return "it names no file; write a path on each line"
    if glob:
        return "no file's name is like that; write a pattern such as '*.jpg'"
    endings = ", ".join(sorted(SUFFIXES))
    return f"no file below it ends in {endings}; glob (--glob '*.xyz') takes other endings"


def _of_files(paths: Sequence[Path], root: Path, labels: Path | None) -> Pictures:
    if not paths:
        raise ImageError("the list of images is empty; give the paths of some")
    keys = [_key(path, root) for path in paths]
    classes = _from_table(labels, keys) if labels else [_folder_class(key) for key in keys]
    names = sorted(set(filter(None, classes)))
    places = {name: place for place, name in enumerate(names)}
    found = list(map(str, paths))
    return Pictures(keys, [places.get(name, -1) for name in classes], names, found.__getitem__)


def _in_folder(folder: Path, glob: str | None) -> list[Path]:
    try:
        every = [path for path in folder.rglob(glob or "*") if path.is_file()]
    except (ValueError, NotImplementedError) as error:
        raise RetroscopeError(
            f"cannot look for files like {glob!r} ({error}); write a pattern such as '*.jpg'"
        ) from error
    return sorted(path for path in every if glob or path.suffix.lower() in SUFFIXES)


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
    below = not Path(key).is_absolute() and ".." not in parts
    return parts[0] if len(parts) > 1 and below else ""


def _from_table(file: Path, keys: Iterable[str]) -> list[str]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise RetroscopeError(
            f"cannot read the labels {str(file)!r} ({reason}); give a CSV file with rows of "
            "path,class, or leave labels out: then the sub-folders are the classes"
        ) from error
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
    if len(labels) != count or any(label >= len(names) for label in labels):
        raise RetroscopeError(
            f"the data set has {count} pictures and {len(names)} classes; its targets must be one "
            "number of a class for each picture"
        )
    return Pictures(
        [str(index) for index in range(count)],
        labels,
        names,
        lambda index: _picture_of(_item(source, index)),
    )


def _item(source: Dataset, index: int) -> object:
    """A file that cannot be read is one picture less; any other error is the data set's own."""
    try:
        return source[index]
    except OSError as error:
        raise ImageError(f"the data set cannot read picture {index} ({error})") from error


def _picture_of(item: object) -> AnyImage:
    picture = item[0] if isinstance(item, tuple | list) else item
    if isinstance(picture, np.ndarray):
        return _of_array(picture)
    if isinstance(picture, PIL.Image.Image | torch.Tensor):
        return picture
    raise ImageError(
        f"the data set gives a {type(picture).__name__}; it must give a PIL image, an array of "
        "pixels, or a tensor that the network takes"
    )


def _of_array(pixels: npt.NDArray[np.generic]) -> PIL.Image.Image:
    try:
        return PIL.Image.fromarray(pixels)
    except (TypeError, ValueError) as error:
        raise ImageError(
            f"the data set gives an array of {pixels.dtype} and shape {pixels.shape}; pixels are "
            "uint8 of (height, width) or (height, width, 3)"
        ) from error
