"""From what a user names to the images: a folder, a list, archives, URLs, or a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeGuard

from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from retroscope.errors import ImageError, RetroscopeError
from retroscope.imaging.frames import SUFFIXES
from retroscope.methods.image_lists import Dataset, read_image_of
from retroscope.scanning.dataset_facts import sample_classes, sample_keys
from retroscope.scanning.label_files import labels_version
from retroscope.scanning.sources.archives import ARCHIVE_KINDS, archive_kind, archive_shards
from retroscope.scanning.sources.class_rules import ClassRule
from retroscope.scanning.sources.clips import find_clips, refuse_single_images
from retroscope.scanning.sources.folders import (
    ARRAY_SUFFIXES,
    FoundFiles,
    choose_visible,
    find_files,
    is_array_name,
    is_hidden,
    is_image_name,
    note_omitted,
    read_list,
    refuse_repeated_files,
)
from retroscope.scanning.sources.hub import resolve_hub_name
from retroscope.scanning.sources.image_list import ImageList, ListNote
from retroscope.scanning.sources.locations import (
    HUB_PREFIX,
    expand_pattern,
    is_url,
    join_path,
    parent_url,
    strip_file_scheme,
)
from retroscope.scanning.sources.remote_folders import (
    expand_url,
    find_remote,
    is_list_url,
    read_remote_list,
)
from retroscope.scanning.sources.shard_images import join_shards
from retroscope.scanning.sources.shards import IMAGES_PER_SHARD, Shard, ShardKind

_SUFFIXES = SUFFIXES.union(ARCHIVE_KINDS, ARRAY_SUFFIXES)

ImageSource = str | Path | Sequence[str | Path] | Dataset | DataLoader[object]
"""A folder, a list in a text file, archives, a URL or an `hf:` name, a list of paths, or a data
set, also that of a DataLoader."""


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
        if self.shards[0].kind is ShardKind.FILES:
            return _join(self)
        source = replace(self, shards=tuple(self.shards), notes=tuple(self.notes))
        labels = self.rule.labels
        return _join_archives(source, labels_version(labels) if labels else (0, 0))


def _join(source: ShardedSource) -> ImageList:
    shards = [shard.read() for shard in source.shards]
    return join_shards(shards, source.rule, notes=source.notes)


@lru_cache(maxsize=1)
def _join_archives(source: ShardedSource, _labels: tuple[int, int]) -> ImageList:
    """The images of archives, which are read once for an estimate and the scan after it.

    Shards are pinned to versions, so other content is another source.
    """
    return _join(source)


def list_images(
    source: ImageSource,
    *,
    glob: str | None = None,
    labels: str | Path | None = None,
    class_folder: str | None = None,
    takes_volumes: bool = False,
) -> ImageList:
    """The images that a source names.

    A folder includes all its sub-folders but the hidden ones. A text file has a path on each line,
    relative to the file; a list of paths is relative to the working directory. Tars, zips and
    Parquet files may be several, as in `train-{000..146}.tar`, and behind URLs, as all files.

    `labels` is a CSV file of paths and classes. Without it, classes are those that an archive
    states, or else folders: of an image, the `first` below the source, which is the default, the
    `last`, which it lies in, or `all` of them.

    For a network that `takes_volumes`, they are volumes and clips, of which a folder of frames is
    one.
    """
    if _names_files(source):
        rule = _class_rule(labels, class_folder)
        images = _shards(source, glob, rule, takes_volumes=takes_volumes).list_images()
        if takes_volumes:
            refuse_single_images(images.keys)
        return images
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
    takes_volumes: bool = False,
) -> ShardedSource:
    """The shards of a source of files, as `list_images` takes it.

    Tars are not listed, unless there are labels: whether a row names one image or several shows
    only in all of them.
    """
    if not _names_files(source):
        raise RetroscopeError(
            f"cannot split {type(source).__name__} into shards; give a folder or a list of paths"
        )
    rule = _class_rule(labels, class_folder)
    sharded = _shards(source, glob, rule, takes_volumes=takes_volumes)
    if labels is not None:
        sharded.list_images()
    return sharded


def _class_rule(labels: str | Path | None, class_folder: str | None) -> ClassRule:
    return ClassRule(None if labels is None else str(labels), class_folder)


def _names_files(source: object) -> TypeGuard[FileSource]:
    return isinstance(source, str | Path) or (
        isinstance(source, list | tuple) and all(isinstance(path, str | Path) for path in source)
    )


def _shards(
    source: FileSource, glob: str | None, rule: ClassRule, *, takes_volumes: bool
) -> ShardedSource:
    if not isinstance(source, str | Path):
        if glob and not all(archive_kind(str(path)) for path in source):
            raise RetroscopeError("a list names its files; leave glob out", parameter="glob")
        return _shards_of_list([strip_file_scheme(str(path)) for path in source], "", glob, rule)
    location = strip_file_scheme(str(source))
    if is_url(location):
        return _shards_of_url(location, glob, rule)
    if location.startswith(HUB_PREFIX) and not Path(location).exists():
        return _shards_of_archives(resolve_hub_name(location), glob, rule)
    if Path(location).is_dir():
        return _shards_of_folder(location, glob, rule, takes_volumes=takes_volumes)
    if Path(location).exists():
        return _shards_of_file(location, glob, rule)
    return _shards_of_list(expand_pattern(location), "", glob, rule)


def _shards_of_folder(
    folder: str, glob: str | None, rule: ClassRule, *, takes_volumes: bool
) -> ShardedSource:
    """Its images, or else its archives; its volumes and clips, for a network that takes these."""
    if takes_volumes:
        return _shards_of_files(find_clips(folder, glob), rule)
    paths = find_files(Path(folder), glob, _SUFFIXES)
    if glob and not paths:  # then it may be meant for the members of archives
        archives = find_files(Path(folder), None, frozenset(ARCHIVE_KINDS))
        if archives:
            locations = [join_path(folder, path) for path in archives]
            return _shards_of_archives(locations, glob, rule)
    return _shards_of_found(folder, paths, glob, rule)


def _shards_of_url(url: str, glob: str | None, rule: ClassRule) -> ShardedSource:
    """Of one archive or several, a list, or a folder."""
    urls = expand_url(url)
    if len(urls) > 1 or archive_kind(urls[0]):
        return _shards_of_list(urls, "", glob, rule)
    if is_list_url(urls[0]):
        return _shards_of_list(read_remote_list(urls[0]), parent_url(urls[0]), glob, rule)
    return _shards_of_found(urls[0], find_remote(urls[0], glob, _SUFFIXES), glob, rule)


def _shards_of_file(path: str, glob: str | None, rule: ClassRule) -> ShardedSource:
    """An archive, or a list of paths."""
    if archive_kind(path):
        return _shards_of_archives([path], glob, rule)
    if is_image_name(path):
        raise ImageError(
            f"{path!r} is a single image; a scan takes a folder, an archive, or a text file with a "
            "path on each line"
        )
    if glob:
        raise RetroscopeError(
            f"{path!r} is a list, which names its files; leave glob out", parameter="glob"
        )
    paths = read_list(Path(path))
    if not paths:
        raise ImageError(f"no images in {path!r}; the list is empty, write a path on each line")
    return _shards_of_list(paths, str(Path(path).parent), glob, rule)


def _shards_of_list(
    paths: Sequence[str], root: str, glob: str | None, rule: ClassRule
) -> ShardedSource:
    """The archives or the images of a list."""
    archives = [path for path in paths if archive_kind(path)]
    if archives and len(archives) < len(paths):
        raise ImageError(
            f"{archives[0]!r} is an archive among images; list archives and images apart"
        )
    if archives:
        return _shards_of_archives([join_path(root, path) for path in archives], glob, rule)
    return _shards_of_files(_listed_files(paths, root), rule)


def _shards_of_found(
    root: str, paths: Sequence[str], glob: str | None, rule: ClassRule
) -> ShardedSource:
    """The images among files of a folder; or else the archives or arrays, if these are all."""
    archives = [path for path in paths if archive_kind(path) and not is_hidden(path)]
    files = [path for path in paths if not archive_kind(path)]
    photos = [path for path in files if not is_array_name(path)]
    images = photos if (photos or archives) and not glob else files
    arrays = [path for path in files if is_array_name(path)] if images is photos else []
    if archives and not images:
        return _shards_of_archives([join_path(root, path) for path in archives], None, rule)
    if archives and glob:
        raise ImageError(
            f"{archives[0]!r} is an archive among images; choose either with the glob",
            parameter="glob",
        )
    found = choose_visible(images, root, glob)
    notes = [
        *found.notes,
        *note_omitted(archives, "archive"),
        *note_omitted(arrays, "array"),
    ]
    return _shards_of_files(replace(found, notes=notes), rule)


def _shards_of_archives(
    locations: Sequence[str], glob: str | None, rule: ClassRule
) -> ShardedSource:
    refuse_repeated_files(locations)
    return ShardedSource(archive_shards(locations, glob, rule), rule)


def _listed_files(paths: Sequence[str], root: str) -> FoundFiles:
    if not paths:
        raise ImageError("the list of images is empty; give the path of at least one")
    refuse_repeated_files([join_path(root, path) for path in paths])
    return FoundFiles(root, [_path_below(path, root) for path in paths])


def _path_below(path: str, root: str) -> str:
    """The path below a folder, or the whole path if it lies elsewhere."""
    if is_url(path):
        return path
    path = str(Path(path))
    is_below = root and path.startswith("/") and Path(path).is_relative_to(root)
    return str(Path(path).relative_to(root)) if is_below else path


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
        load_entries=partial(read_image_of, dataset),
    )
