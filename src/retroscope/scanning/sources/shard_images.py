"""The images of shards as they are in the source, and the list of images they make."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import PIL.Image

from retroscope.errors import ImageError
from retroscope.imaging.decoding import decode_to_pil
from retroscope.imaging.frames import FrameFolder
from retroscope.network import AnyImage
from retroscope.scanning.label_files import LabelledPath
from retroscope.scanning.sources.class_rules import ClassRule, sort_classes
from retroscope.scanning.sources.folders import note_omitted
from retroscope.scanning.sources.image_list import (
    ImageFiles,
    ImageList,
    JoinedFiles,
    ListNote,
    LocalFiles,
    first_indices,
)


@dataclass(frozen=True)
class ShardImages:
    """The images of a shard under their paths in the source or archive, in order.

    `keys` are the paths, unless they are in an archive. `stated` are the classes that an archive
    gives, if it does. `hidden` and `links` are the keys of files that were left out, `repeated`
    those of samples that have several images.
    """

    paths: Sequence[str]
    files: ImageFiles
    keys: Sequence[str] = ()
    stated: Sequence[str] = ()
    hidden: Sequence[str] = ()
    links: Sequence[str] = ()
    repeated: Sequence[str] = ()

    def labelled_paths(self) -> list[LabelledPath]:
        return list(map(LabelledPath, self.keys or self.paths, self.paths))

    def stated_classes(self) -> Sequence[str]:
        """The stated class of each image; an empty string for none."""
        return self.stated or [""] * len(self.paths)


def list_shard(shard: ShardImages, rule: ClassRule) -> ImageList:
    """The images of one shard. What only shows in all of them together is not checked."""
    images = shard.labelled_paths()
    refuse_repeated_keys([image.key for image in images])
    return _image_list([shard], rule, images)


def join_shards(
    shards: Sequence[ShardImages], rule: ClassRule, *, notes: Sequence[ListNote] = ()
) -> ImageList:
    """The images of all shards of a source, in order."""
    images = [image for shard in shards for image in shard.labelled_paths()]
    if not images:
        raise ImageError("no image of the source matches the glob; try another", parameter="glob")
    refuse_repeated_keys([image.key for image in images])
    rule.refuse_unusable_labels(images)
    return _image_list(shards, rule, images, notes=notes)


def _image_list(
    shards: Sequence[ShardImages],
    rule: ClassRule,
    images: Sequence[LabelledPath],
    *,
    notes: Sequence[ListNote] = (),
) -> ImageList:
    stated = list(chain.from_iterable(shard.stated_classes() for shard in shards))
    classes = rule.classes(images, stated)
    class_names = sort_classes(classes)
    label_by_name = {name: label for label, name in enumerate(class_names)}
    files = _join_files(shards)
    return ImageList(
        [image.key for image in images],
        [label_by_name.get(name, -1) for name in classes],
        class_names,
        _loader(files),
        files,
        [*notes, *_notes_on_archives(shards), *rule.notes(images, classes, stated)],
        first_indices([len(shard.paths) for shard in shards]),
    )


def _notes_on_archives(shards: Sequence[ShardImages]) -> list[ListNote]:
    hidden = [key for shard in shards for key in shard.hidden]
    links = [key for shard in shards for key in shard.links]
    repeated = [key for shard in shards for key in shard.repeated]
    notes = [*note_omitted(hidden, "hidden file"), *note_omitted(links, "link")]
    if repeated:
        text = (
            f"samples such as {repeated[0]!r} have several images, which are all scanned; a glob "
            "such as '*.jpg' selects some"
        )
        notes.append(ListNote(text, "glob"))
    return notes


def refuse_repeated_keys(keys: Sequence[str]) -> None:
    """Raises if two images have one key, so that nobody could tell them apart."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ImageError(f"two images of the source are {key!r}; pack each image once")
        seen.add(key)


def _join_files(shards: Sequence[ShardImages]) -> ImageFiles:
    parts = [shard.files for shard in shards]
    if len(parts) == 1:
        return parts[0]
    local = [part for part in parts if isinstance(part, LocalFiles)]
    if len(local) == len(parts):
        return LocalFiles([path for part in local for path in part.paths])
    return JoinedFiles(parts, first_indices([len(shard.paths) for shard in shards]))


def _loader(files: ImageFiles) -> Callable[[int], AnyImage]:
    return files.paths.__getitem__ if isinstance(files, LocalFiles) else partial(load_from, files)


def load_from(files: ImageFiles, index: int) -> PIL.Image.Image:
    """An image of files, decoded."""
    with files.open(index) as image:
        if isinstance(image.file, FrameFolder):
            raise ImageError(f"{files.name(index)!r} is a folder of frames, not an image")
        return decode_to_pil(image.file, repr(files.name(index)))
