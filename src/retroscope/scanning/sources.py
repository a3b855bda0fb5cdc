"""The images of a scan: a folder, a list in a text file, or a data set."""

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
    (
        *(".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".ppm"),
        *(".pgm", ".jp2", ".avif", ".heic", ".jxl"),
    )
)


@runtime_checkable
class Dataset(Protocol):
    """A map-style data set of torch: an image, or a tuple of an image and its label, by index."""

    def __getitem__(self, index: int, /) -> object: ...
    def __len__(self) -> int: ...


ImageSource = str | Path | Sequence[str | Path] | Dataset
"""A folder or a list in a text file, a list of paths, or a data set."""


@dataclass(frozen=True)
class ImageList:
    """The images of a scan, by index: the key and class of each, and a function that loads it.

    A label is an index into `class_names`, or -1. `files` are the paths, unless a data set loads
    the images.
    """

    keys: Sequence[str]
    labels: Sequence[int]
    class_names: Sequence[str]
    load: Callable[[int], AnyImage]
    files: Sequence[str] = ()

    @property
    def fingerprint(self) -> str:
        """A digest of the keys, their order and their classes."""
        digest = blake2b(digest_size=16)
        for key, label in zip(self.keys, self.labels, strict=True):
            name = self.class_names[label] if label >= 0 else ""
            digest.update(f"{key}\0{label}\0{name}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def list_images(
    source: ImageSource, *, glob: str | None = None, labels: str | Path | None = None
) -> ImageList:
    """The images that a source names.

    A folder includes all its sub-folders, which are the classes. A text file has a path on each
    line, relative to the file; a list of paths is relative to the working directory. `labels` is
    a CSV file of paths and classes.
    """
    label_file = None if labels is None else Path(labels)
    if isinstance(source, str | Path):
        return _list_paths(Path(source), glob, label_file)
    if isinstance(source, list | tuple) and all(isinstance(path, str | Path) for path in source):
        if glob:
            raise RetroscopeError("a list names its files; leave glob out", parameter="glob")
        return _list_files([Path(path) for path in source], Path(), label_file)
    if glob or labels:
        raise RetroscopeError(
            "glob and labels are for files; a data set has its own images and classes"
        )
    if not isinstance(source, Dataset):
        raise RetroscopeError(
            f"cannot scan {type(source).__name__}; give a folder, a list of paths, or a data set"
        )
    return _list_dataset(source)


def _list_paths(source: Path, glob: str | None, label_file: Path | None) -> ImageList:
    if not source.exists():
        raise ImageError(
            f"no folder or list {str(source)!r}; give a folder of images or a text file of paths"
        )
    if glob and not source.is_dir():
        raise RetroscopeError(
            f"{str(source)!r} is a list, which names its files; leave glob out", parameter="glob"
        )
    root = source if source.is_dir() else source.parent
    paths = _find_files(source, glob) if source.is_dir() else _read_list(source)
    if not paths:
        raise _no_images(source, glob)
    return _list_files(paths, root, label_file)


def _no_images(source: Path, glob: str | None) -> ImageError:
    start = f"no {glob or 'images'} in {str(source)!r}"
    if not source.is_dir():
        return ImageError(f"{start}; the list is empty, write a path on each line")
    if glob:
        return ImageError(
            f"no file in {str(source)!r} matches {glob!r}; try another pattern", parameter="glob"
        )
    endings = ", ".join(sorted(SUFFIXES))
    return ImageError(
        f"{start}; no file ends in {endings}; a glob such as '*.xyz' selects other files",
        parameter="glob",
    )


def _list_files(paths: Sequence[Path], root: Path, label_file: Path | None) -> ImageList:
    if not paths:
        raise ImageError("the list of images is empty; give the path of at least one")
    keys = [_key(path, root) for path in paths]
    classes = _read_labels(label_file, keys) if label_file else [_folder_class(k) for k in keys]
    class_names = sorted(set(filter(None, classes)))
    label_by_name = {name: label for label, name in enumerate(class_names)}
    labels = [label_by_name.get(name, -1) for name in classes]
    files = list(map(str, paths))
    return ImageList(keys, labels, class_names, files.__getitem__, files)


def _find_files(folder: Path, glob: str | None) -> list[Path]:
    try:
        files = [path for path in folder.rglob(glob or "*") if path.is_file()]
    except (ValueError, NotImplementedError) as error:
        raise RetroscopeError(
            f"cannot use the pattern {glob!r} ({error}); write one such as '*.jpg'",
            parameter="glob",
        ) from error
    return sorted(path for path in files if glob or path.suffix.lower() in SUFFIXES)


def _read_list(file: Path) -> list[Path]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(
            f"cannot read the list {str(file)!r} ({error}); give a text file with a path per line"
        ) from error
    return [file.parent / line.strip() for line in lines if line.strip()]


def _key(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _folder_class(key: str) -> str:
    """The first folder below the root; an image beside the folders has no class."""
    parts = Path(key).parts
    is_below_root = not Path(key).is_absolute() and ".." not in parts
    return parts[0] if len(parts) > 1 and is_below_root else ""


def _read_labels(file: Path, keys: Iterable[str]) -> list[str]:
    """The class of each key, or an empty string; rows may give the whole key or the file name."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RetroscopeError(
            f"cannot read the labels {str(file)!r} ({reason}); give a CSV file with rows of "
            "path,class, or leave labels out to use the sub-folders as classes"
        ) from error
    if any(len(row) < 2 for row in rows):
        raise RetroscopeError(f"the labels {str(file)!r} need two columns: path,class")
    class_by_path = {row[0]: row[1] for row in rows}
    classes = [class_by_path.get(key, class_by_path.get(Path(key).name, "")) for key in keys]
    if not any(classes):
        raise RetroscopeError(
            f"the labels {str(file)!r} match none of the images; write paths relative to the "
            "folder of images"
        )
    return classes


def _list_dataset(dataset: Dataset) -> ImageList:
    count = len(dataset)
    if count == 0:
        raise ImageError("the data set is empty")
    class_names = tuple(map(str, getattr(dataset, "classes", ())))
    targets = getattr(dataset, "targets", None)
    if not class_names or targets is None:
        targets = [-1] * count
    labels = [int(target) for target in targets]
    if len(labels) != count or any(label >= len(class_names) for label in labels):
        raise RetroscopeError(
            f"the data set has {count} images and {len(class_names)} classes; its targets must be "
            "a class number for each image"
        )
    return ImageList(
        [str(index) for index in range(count)],
        labels,
        class_names,
        lambda index: _sample_image(_read_sample(dataset, index)),
    )


def _read_sample(dataset: Dataset, index: int) -> object:
    """A file that cannot be read is an unreadable image; any other error is the data set's own."""
    try:
        return dataset[index]
    except OSError as error:
        raise ImageError(f"the data set cannot read image {index} ({error})") from error


def _sample_image(sample: object) -> AnyImage:
    image = sample[0] if isinstance(sample, tuple | list) else sample
    if isinstance(image, np.ndarray):
        return _to_pil(image)
    if isinstance(image, PIL.Image.Image | torch.Tensor):
        return image
    raise ImageError(
        f"the data set returns a {type(image).__name__}; it must return a PIL image, an array of "
        "pixels, or a tensor as the network takes it"
    )


def _to_pil(pixels: npt.NDArray[np.generic]) -> PIL.Image.Image:
    try:
        return PIL.Image.fromarray(pixels)
    except (TypeError, ValueError) as error:
        raise ImageError(
            f"the data set returns an array of {pixels.dtype} and shape {pixels.shape}; pixels "
            "are uint8 of (height, width) or (height, width, 3)"
        ) from error
