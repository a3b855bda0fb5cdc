"""From what a user names to the images: a folder, a list, archives, URLs, or a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeGuard

from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from retroscope.errors import ImageError, RetroscopeError
from retroscope.methods.image_lists import Dataset, read_image_of
from retroscope.scanning.dataset_facts import sample_classes, sample_keys
from retroscope.scanning.sources.class_rules import ClassRule
from retroscope.scanning.sources.folders import (
    SUFFIXES,
    FoundFiles,
    choose_visible,
    find_files,
    read_list,
    refuse_repeated_files,
)
from retroscope.scanning.sources.image_list import ImageList, ListNote
from retroscope.scanning.sources.locations import is_url, join_path
from retroscope.scanning.sources.shard_images import join_shards
from retroscope.scanning.sources.shards import IMAGES_PER_SHARD, Shard, ShardKind

ImageSource = str | Path | Sequence[str | Path] | Dataset | DataLoader[object]
"""A folder or a list in a text file, a list of paths, or a data set, also that of a DataLoader."""


FileSource = str | Path | Sequence[str | Path]
"""A source of files."""


@dataclass(frozen=True)
class ShardedSource:
    """The shards of a source in order. `notes` say what may surprise about how they were found."""

    shards: Sequence[Shard]
    rule: ClassRule = field(default_factory=ClassRule)
    notes: Sequence[ListNote] = ()

    def list_images(self) -> ImageList:
        """The images of all shards, in order."""
        shards = [shard.read() for shard in self.shards]
        return join_shards(shards, self.rule, notes=self.notes)


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
    if _names_files(source):
        return list_shards(
            source, glob=glob, labels=labels, class_folder=class_folder
        ).list_images()
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


def list_shards(
    source: ImageSource,
    *,
    glob: str | None = None,
    labels: str | Path | None = None,
    class_folder: str | None = None,
) -> ShardedSource:
    """The shards of a source of files, as `list_images` takes it."""
    if not _names_files(source):
        raise RetroscopeError(
            f"cannot split {type(source).__name__} into shards; give a folder or a list of paths"
        )
    rule = ClassRule(None if labels is None else str(labels), class_folder)
    found = _find_files(source, glob)
    return _shards_of_files(found, rule)


def _names_files(source: object) -> TypeGuard[FileSource]:
    return isinstance(source, str | Path) or (
        isinstance(source, list | tuple) and all(isinstance(path, str | Path) for path in source)
    )


def _find_files(source: FileSource, glob: str | None) -> FoundFiles:
    if not isinstance(source, str | Path):
        if glob:
            raise RetroscopeError("a list names its files; leave glob out", parameter="glob")
        return _listed_files([str(path) for path in source], "")
    path = Path(source)
    if not path.exists():
        raise ImageError(
            f"no folder or list {str(path)!r}; give a folder of images or a text file of paths"
        )
    if path.is_dir():
        return choose_visible(find_files(path, glob, SUFFIXES), str(path), glob)
    if glob:
        raise RetroscopeError(
            f"{str(path)!r} is a list, which names its files; leave glob out", parameter="glob"
        )
    paths = read_list(path)
    if not paths:
        raise ImageError(
            f"no images in {str(path)!r}; the list is empty, write a path on each line"
        )
    return _listed_files(paths, str(path.parent))


def _listed_files(paths: Sequence[str], root: str) -> FoundFiles:
    if not paths:
        raise ImageError("the list of images is empty; give the path of at least one")
    refuse_repeated_files([join_path(root, path) for path in paths])
    return FoundFiles(root, [_path_below(path, root) for path in paths])


def _path_below(path: str, root: str) -> str:
    """The path below a folder, or the whole path if it lies elsewhere."""
    if is_url(path):
        return path
    is_below = Path(path).is_absolute() and Path(path).is_relative_to(root)
    return str(Path(path).relative_to(root) if is_below else Path(path))


def _shards_of_files(found: FoundFiles, rule: ClassRule) -> ShardedSource:
    """Shards of consecutive files."""
    shards = [
        Shard(
            start // IMAGES_PER_SHARD,
            ShardKind.FILES,
            found.root,
            paths=tuple(found.paths[start : start + IMAGES_PER_SHARD]),
            images=min(IMAGES_PER_SHARD, len(found.paths) - start),
            rule=rule,
        )
        for start in range(0, len(found.paths), IMAGES_PER_SHARD)
    ]
    return ShardedSource(shards, rule, found.notes)


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


def _list_dataset(dataset: Dataset) -> ImageList:
    if len(dataset) == 0:
        raise ImageError("the data set is empty")
    labels, class_names = sample_classes(dataset)
    return ImageList(
        sample_keys(dataset),
        labels,
        class_names,
        partial(read_image_of, dataset),
        shard_starts=range(0, len(dataset), IMAGES_PER_SHARD),
    )
