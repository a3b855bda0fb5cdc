"""The lists of images of several atlases as one list."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations
from pathlib import Path

from retroscope.atlas.queries import join_queries
from retroscope.atlas.queries.join_queries import ListedImageRow
from retroscope.atlas.queries.query import damaged_error
from retroscope.atlas.queries.writer_queries import ImageFileRow, image_files
from retroscope.atlas.reader import Atlas
from retroscope.atlas.schema import AtlasError, ImageStatus
from retroscope.atlas.sqlite_errors import quote_path
from retroscope.scanning.sources.image_list import first_indices

_IMAGES_AT_ONCE, _BLOBS_AT_ONCE = 10_000, 256


@dataclass(frozen=True, eq=False)
class JoinedImages:
    """The images of all atlases, one list after the other; `starts` are their first numbers.

    `labels` are indices of `class_names`, or -1. `class_numbers` are, for each atlas, the new
    numbers of its classes.
    """

    keys: Sequence[str]
    labels: Sequence[int]
    class_names: Sequence[str]
    errors: Mapping[int, str]
    starts: Sequence[int]
    class_numbers: Sequence[Sequence[int]]


def join_images(atlases: Sequence[Atlas]) -> JoinedImages:
    """The joined list. Raises AtlasError if an image is in two atlases."""
    rows = [list(_read_rows(atlas)) for atlas in atlases]
    keys = [[row.key for row in part] for part in rows]
    _refuse_common_images(atlases, keys)
    class_names, class_numbers = _join_classes(list(map(_class_names, atlases)))
    starts = first_indices([len(part) for part in rows])
    return JoinedImages(
        _distinct_keys(atlases, keys),
        [
            -1 if row.label is None else numbers[row.label]
            for part, numbers in zip(rows, class_numbers, strict=True)
            for row in part
        ],
        class_names,
        {
            start + row.id: row.error or ""
            for part, start in zip(rows, starts, strict=True)
            for row in part
            if row.status == ImageStatus.UNREADABLE
        },
        starts,
        class_numbers,
    )


def read_files(atlas: Atlas, start: int) -> Iterator[list[ImageFileRow]]:
    """The files of an atlas's images, some at a time, under numbers that begin at `start`."""
    for images in _portions(len(atlas.images)):
        files = join_queries.image_files(atlas, images)
        yield [file._replace(image=start + file.image) for file in files]


def _class_names(atlas: Atlas) -> list[str]:
    if [label.id for label in atlas.labels] != list(range(len(atlas.labels))):
        raise damaged_error("numbers of classes are missing")
    return [label.name for label in atlas.labels]


def _read_rows(atlas: Atlas) -> Iterator[ListedImageRow]:
    for images in _portions(len(atlas.images)):
        yield from join_queries.listed_images(atlas, images)


def _portions(count: int) -> Iterator[range]:
    for start in range(0, count, _IMAGES_AT_ONCE):
        yield range(start, min(start + _IMAGES_AT_ONCE, count))


def _join_classes(
    names: Sequence[Sequence[str]],
) -> tuple[Sequence[str], list[Sequence[int]]]:
    """The classes of all atlases by name, and the new numbers of those of each.

    They are sorted if those of each atlas are, as a scan of folders sorts them.
    """
    if all(own == names[0] for own in names):  # also if two classes have one name
        return names[0], [range(len(names[0]))] * len(names)
    joined = list(dict.fromkeys(name for own in names for name in own))
    if all(list(own) == sorted(own) for own in names):
        joined.sort()
    number_by_name = {name: number for number, name in enumerate(joined)}
    return joined, [[number_by_name[name] for name in own] for own in names]


def _distinct_keys(atlases: Sequence[Atlas], keys: Sequence[Sequence[str]]) -> list[str]:
    """The keys of all atlases. One that two have begins with the name of its source or atlas."""
    sources = [atlas.meta.get("source") for atlas in atlases]
    schemes: list[list[str]] = []
    if all(isinstance(source, str) for source in sources):
        paths = [Path(str(source)) for source in sources]
        schemes += [[path.name for path in paths], list(map(str, paths))]
    schemes += [[atlas.path.stem for atlas in atlases], [str(atlas.path) for atlas in atlases]]
    for prefixes in schemes:
        joined = _prefix_keys(keys, prefixes)
        if all(prefixes) and len(set(joined)) == len(joined):
            return joined
    raise AtlasError(
        f"the keys of {quote_path(atlases[0].path)} and {quote_path(atlases[1].path)} cannot "
        "be distinguished; rename the atlases"
    )


def _prefix_keys(keys: Sequence[Sequence[str]], prefixes: Sequence[str]) -> list[str]:
    counts = Counter(key for part in keys for key in set(part))
    return [
        key if counts[key] == 1 else f"{prefix}/{key}"
        for part, prefix in zip(keys, prefixes, strict=True)
        for key in part
    ]


def _refuse_common_images(atlases: Sequence[Atlas], keys: Sequence[Sequence[str]]) -> None:
    """Raises AtlasError if two atlases have an image under one key, with the same content."""
    parts = list(zip(atlases, keys, strict=True))
    for (first, first_keys), (second, second_keys) in combinations(parts, 2):
        numbers = {key: number for number, key in enumerate(first_keys)}
        pairs = [(numbers[key], number) for number, key in enumerate(second_keys) if key in numbers]
        contents = _contents(first, [pair[0] for pair in pairs])
        others = _contents(second, [pair[1] for pair in pairs])
        common = [pair for pair in pairs if contents[pair[0]] == others[pair[1]] != b""]
        if common:
            more = f", and so are {len(common) - 1:,} more" if common[1:] else ""
            raise AtlasError(
                f"the image {first_keys[common[0][0]]!r} is in {quote_path(first.path)} and in "
                f"{quote_path(second.path)}{more}; join atlases of different images"
            )


def _contents(atlas: Atlas, images: Sequence[int]) -> dict[int, bytes]:
    """What an atlas knows of the content of images: a digest of each file, or of its pixels.

    It is empty for an image of a data set that is not among the hits.
    """
    contents = dict.fromkeys(images, b"")
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        files = image_files(atlas, images[start : start + _IMAGES_AT_ONCE])
        contents.update({file.image: file.digest for file in files})
    unknown = [image for image, content in contents.items() if not content]
    for start in range(0, len(unknown), _BLOBS_AT_ONCE):
        rows = join_queries.image_blobs(atlas, unknown[start : start + _BLOBS_AT_ONCE])
        contents.update({row.image: blake2b(row.blob).digest() for row in rows})
    return contents
