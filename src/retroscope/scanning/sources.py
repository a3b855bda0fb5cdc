"""The images of a scan: a folder, a list in a text file, or a data set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from os.path import normpath
from pathlib import Path

from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from retroscope.errors import ImageError, RetroscopeError, choose
from retroscope.methods.image_lists import Dataset, read_image_of
from retroscope.network import AnyImage
from retroscope.scanning.dataset_facts import sample_classes, sample_keys
from retroscope.scanning.label_files import read_labels

SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".ppm"),
        *(".pgm", ".jp2", ".avif", ".heic", ".jxl"),
    )
)


ImageSource = str | Path | Sequence[str | Path] | Dataset | DataLoader[object]
"""A folder or a list in a text file, a list of paths, or a data set, also that of a DataLoader."""


CLASS_FOLDERS: dict[str, slice] = {"first": slice(1), "last": slice(-1, None), "all": slice(None)}
"""Which of the folders that an image lies in are its class."""


@dataclass(frozen=True)
class ListNote:
    """A remark on how images were listed, and the parameter that changes it."""

    text: str
    parameter: str = ""


@dataclass(frozen=True)
class ImageList:
    """The images of a scan, by index: the key and class of each, and a function that loads it.

    A label is an index into `class_names`, or -1. `files` are the paths, unless a data set loads
    the images. `notes` say how files were read, where that may surprise.
    """

    keys: Sequence[str]
    labels: Sequence[int]
    class_names: Sequence[str]
    load: Callable[[int], AnyImage]
    files: Sequence[str] = ()
    notes: Sequence[ListNote] = ()

    @property
    def fingerprint(self) -> str:
        """A digest of the keys, their order and their classes."""
        digest = blake2b(digest_size=16)
        for key, label in zip(self.keys, self.labels, strict=True):
            name = self.class_names[label] if label >= 0 else ""
            digest.update(f"{key}\0{label}\0{name}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def list_images(
    source: ImageSource,
    *,
    glob: str | None = None,
    labels: str | Path | None = None,
    class_folder: str | None = None,
) -> ImageList:
    """The images that a source names.

    A folder includes all its sub-folders but the hidden ones. A text file has a path on each line,
    relative to the file; a list of paths is relative to the working directory.

    `labels` is a CSV file of paths and classes. Without it, folders are classes: of an image, the
    `first` below the source, which is the default, the `last`, which it lies in, or `all` of them.
    """
    if isinstance(source, str | Path):
        return _list_paths(Path(source), glob, ClassRule(labels, class_folder))
    if isinstance(source, list | tuple) and all(isinstance(path, str | Path) for path in source):
        if glob:
            raise RetroscopeError("a list names its files; leave glob out", parameter="glob")
        rule = ClassRule(labels, class_folder)
        return _list_files([Path(path) for path in source], Path(), rule)
    if glob or labels or class_folder:
        raise RetroscopeError(
            "glob, labels and class_folder are for files; a data set has its own images and classes"
        )
    dataset = _loaded_dataset(source) if isinstance(source, DataLoader) else source
    if not isinstance(dataset, Dataset) or isinstance(dataset, Mapping):
        raise RetroscopeError(
            f"cannot scan {type(dataset).__name__}; give a folder, a list of paths, or a data set"
        )
    return _list_dataset(dataset)


def _loaded_dataset(loader: DataLoader[object]) -> object:
    """The data set of a DataLoader that loads all of it. Their order does not matter to a scan."""
    sampler = loader.sampler
    is_whole = isinstance(sampler, SequentialSampler) or (
        isinstance(sampler, RandomSampler) and not sampler.replacement
    )
    if not is_whole or len(sampler) != len(loader.dataset):  # type: ignore[arg-type]
        raise RetroscopeError(
            "this DataLoader loads a part of its data set; give that part, as in "
            "torch.utils.data.Subset(dataset, indices)"
        )
    return loader.dataset


class ClassRule:
    """Where the classes of files come from: a file of labels, or the folders they lie in."""

    def __init__(self, labels: str | Path | None, class_folder: str | None) -> None:
        if labels is not None and class_folder is not None:
            raise RetroscopeError(
                "the labels give the classes; leave class_folder out", parameter="class_folder"
            )
        self._labels = None if labels is None else Path(labels)
        self._is_default = class_folder is None
        self._folders = choose("class folder", class_folder or "first", CLASS_FOLDERS)

    def classes(self, keys: Sequence[str]) -> list[str]:
        """The class of each key; an empty string for an image that has none."""
        if self._labels is not None:
            return read_labels(self._labels, keys)
        return ["/".join(_folders(key)[self._folders]) for key in keys]

    def notes(self, keys: Sequence[str], classes: Sequence[str]) -> list[ListNote]:
        """What may surprise: images without a label, and folders in folders."""
        if self._labels is not None:
            missing = sum(not name for name in classes)
            text = f"{missing} of {len(keys)} images have no class in {str(self._labels)!r}"
            return [ListNote(text, "labels")] if missing else []
        nested = next((key for key in keys if len(_folders(key)) > 1), None)
        if nested is None or not self._is_default:
            return []
        folders = _folders(nested)
        text = (
            f"the folders have sub-folders: the class of {nested!r} is the first, {folders[0]!r}; "
            f"choose last for {folders[-1]!r} or all for {'/'.join(folders)!r}"
        )
        return [ListNote(text, "class_folder")]


def _folders(key: str) -> tuple[str, ...]:
    """The folders of an image below the source."""
    *folders, _ = Path(key).parts
    return () if Path(key).is_absolute() or ".." in folders else tuple(folders)


def _list_paths(source: Path, glob: str | None, rule: ClassRule) -> ImageList:
    if not source.exists():
        raise ImageError(
            f"no folder or list {str(source)!r}; give a folder of images or a text file of paths"
        )
    if source.is_dir():
        return _list_folder(source, glob, rule)
    if glob:
        raise RetroscopeError(
            f"{str(source)!r} is a list, which names its files; leave glob out", parameter="glob"
        )
    paths = _read_list(source)
    if not paths:
        raise ImageError(
            f"no images in {str(source)!r}; the list is empty, write a path on each line"
        )
    return _list_files(paths, source.parent, rule)


def _list_folder(folder: Path, glob: str | None, rule: ClassRule) -> ImageList:
    paths = _find_files(folder, glob)
    hidden = [path for path in paths if _is_hidden(path.relative_to(folder))]
    visible = sorted(set(paths).difference(hidden))
    if not visible:
        raise _no_images(folder, glob, hidden=len(hidden))
    notes = []
    if hidden:
        names = f"{len(hidden)} hidden " + ("file" if len(hidden) == 1 else "files")
        first = str(hidden[0].relative_to(folder))
        notes.append(ListNote(f"left out {names}, such as {first!r}"))
    return _list_files(visible, folder, rule, notes=notes)


def _is_hidden(path: Path) -> bool:
    """Whether a file or a folder around it is hidden, or is what macOS adds to archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _no_images(folder: Path, glob: str | None, *, hidden: int) -> ImageError:
    if hidden:
        return ImageError(
            f"all {hidden} images in {str(folder)!r} are hidden; to scan a hidden folder, give its "
            "own path"
        )
    if glob:
        return ImageError(
            f"no file in {str(folder)!r} matches {glob!r}; try another pattern", parameter="glob"
        )
    endings = ", ".join(sorted(SUFFIXES))
    return ImageError(
        f"no images in {str(folder)!r}; no file ends in {endings}; a glob such as '*.xyz' selects "
        "other files",
        parameter="glob",
    )


def _list_files(
    paths: Sequence[Path], root: Path, rule: ClassRule, *, notes: Sequence[ListNote] = ()
) -> ImageList:
    if not paths:
        raise ImageError("the list of images is empty; give the path of at least one")
    _refuse_repeated_files(paths)
    keys = [_key(path, root) for path in paths]
    classes = rule.classes(keys)
    class_names = sorted(set(filter(None, classes)))
    label_by_name = {name: label for label, name in enumerate(class_names)}
    labels = [label_by_name.get(name, -1) for name in classes]
    files, notes = list(map(str, paths)), [*notes, *rule.notes(keys, classes)]
    return ImageList(keys, labels, class_names, files.__getitem__, files, notes)


def _refuse_repeated_files(paths: Sequence[Path]) -> None:
    """Raises if two paths lead to one file, which would take two places among the hits."""
    number_by_path: dict[str, int] = {}
    for number, path in enumerate(paths, start=1):
        first = number_by_path.setdefault(normpath(path.absolute()), number)
        if first != number:
            raise ImageError(
                f"images {first} and {number} of the list are one file, {str(path)!r}; list each "
                "image once"
            )


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
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(
            f"cannot read the list {str(file)!r} ({error}); give a text file with a path per line"
        ) from error
    return [file.parent / line.strip() for line in lines if line.strip()]


def _key(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _list_dataset(dataset: Dataset) -> ImageList:
    if len(dataset) == 0:
        raise ImageError("the data set is empty")
    labels, class_names = sample_classes(dataset)
    return ImageList(sample_keys(dataset), labels, class_names, partial(read_image_of, dataset))
