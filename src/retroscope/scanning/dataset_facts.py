"""What a data set of torch says about its samples: the file and the class of each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from torch.utils.data import ConcatDataset, Subset
from torch.utils.data import Dataset as TorchDataset

from retroscope.errors import RetroscopeError
from retroscope.methods.image_lists import Dataset


class SampleFile(NamedTuple):
    """The file of a sample, and the folder of its data set, if it has one."""

    path: Path
    root: Path | None

    @property
    def name(self) -> str:
        """The path below the folder, or the path as it is."""
        path = self.path
        is_below = self.root is not None and path.is_relative_to(self.root)
        return str(path.relative_to(self.root)) if self.root and is_below else str(path)


class SampleClasses(NamedTuple):
    """The class number of each sample, -1 for none, and the names of the classes."""

    labels: list[int]
    names: tuple[str, ...]


_FILE_ATTRIBUTES = ("samples", "imgs", "images")
"""Where torchvision's data sets list their files, alone or in tuples with a class number."""


def sample_keys(dataset: Dataset) -> list[str]:
    """A name for each sample: its file below the folder of the data set.

    Where two samples have the same, it is the whole path; if that is the same too, or the data set
    lists no files, it is the index.
    """
    files = _sample_files(dataset) or []
    for keys in ([file.name for file in files], [str(file.path.absolute()) for file in files]):
        if len(set(keys)) == len(dataset):
            return keys
    return [str(index) for index in range(len(dataset))]


def sample_classes(dataset: Dataset) -> SampleClasses:
    """The classes of the samples; those of joined data sets are matched by name."""
    if isinstance(dataset, Subset):
        labels, names = sample_classes(_part(dataset.dataset))
        return SampleClasses([labels[int(index)] for index in dataset.indices], names)
    if isinstance(dataset, ConcatDataset):
        return _join_classes([sample_classes(_part(part)) for part in dataset.datasets])
    count, names = len(dataset), tuple(map(str, getattr(dataset, "classes", None) or ()))
    targets = getattr(dataset, "targets", None)
    if not names or targets is None:
        return SampleClasses([-1] * count, names)
    labels = [int(target) for target in targets]
    if len(labels) != count or any(label >= len(names) for label in labels):
        raise RetroscopeError(
            f"the data set has {count} images and {len(names)} classes; its targets must be "
            "a class number for each image"
        )
    return SampleClasses(labels, names)


def _part(dataset: TorchDataset[Any]) -> Dataset:
    """A data set inside another one; torch's type for all kinds does not know its length."""
    return cast("Dataset", dataset)


def _join_classes(parts: Sequence[SampleClasses]) -> SampleClasses:
    if len({part.names for part in parts}) == 1:  # two classes may have one name
        return SampleClasses([label for part in parts for label in part.labels], parts[0].names)
    names = tuple(dict.fromkeys(name for part in parts for name in part.names))
    labels = [
        names.index(part.names[label]) if label >= 0 else -1
        for part in parts
        for label in part.labels
    ]
    return SampleClasses(labels, names)


def _sample_files(dataset: Dataset) -> list[SampleFile] | None:
    """The file of each sample; None if a data set does not list any."""
    if isinstance(dataset, Subset):
        files = _sample_files(_part(dataset.dataset))
        return None if files is None else [files[int(index)] for index in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [_sample_files(_part(part)) for part in dataset.datasets]
        listed = [part for part in parts if part is not None]
        return [file for part in listed for file in part] if len(listed) == len(parts) else None
    root = getattr(dataset, "root", None)
    folder = Path(root) if isinstance(root, str | Path) else None
    for attribute in _FILE_ATTRIBUTES:
        paths = _paths(getattr(dataset, attribute, None))
        if len(paths) == len(dataset):
            return [SampleFile(path, folder) for path in paths]
    return None


def _paths(entries: object) -> list[Path]:
    """The paths in a list of paths, or of tuples that begin with one; nothing for other lists."""
    if not isinstance(entries, list | tuple):
        return []
    heads = [entry[0] if isinstance(entry, tuple | list) and entry else entry for entry in entries]
    return [Path(head) for head in heads if isinstance(head, str | Path)]
