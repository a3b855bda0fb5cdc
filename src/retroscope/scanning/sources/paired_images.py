"""What comes with each image of a list: the file of its name in another folder, or a CSV column."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from os.path import normpath, splitext
from pathlib import Path, PurePath

from retroscope.argument_types import shorten
from retroscope.atlas.reader import Atlas
from retroscope.errors import (
    ImageError,
    MissingInputsError,
    ModelError,
    RetroscopeError,
    did_you_mean,
    list_words,
)
from retroscope.imaging.frames import SUFFIXES
from retroscope.input_binding import undeclared_inputs_error
from retroscope.methods.atlas_match import check_same_inputs
from retroscope.module_inputs import ImageInput, OtherInput
from retroscope.network import AnyImage, Network
from retroscope.scanning.sources.folders import ARRAY_SUFFIXES, find_files, is_hidden
from retroscope.scanning.sources.image_list import ImageList, OtherList, join_other_lists
from retroscope.scanning.sources.listing import ShardedSource

OtherSources = Mapping[str, str | Path]
"""A folder of files or a CSV file for each input that comes with an image, by its name."""

TABLE_SUFFIX = ".csv"


def pair_images(net: Network, image_list: ImageList, sources: OtherSources | None) -> ImageList:
    """The list with what the network takes beside each image."""
    if not isinstance(sources or {}, Mapping):
        raise RetroscopeError(
            f"inputs has a folder or a CSV file for each input, as in {{'right': 'folder'}}, not "
            f"{shorten(sources)}",
            parameter="inputs",
        )
    if sources and net.inputs is None:
        raise undeclared_inputs_error(net)
    given = {} if net.inputs is None else net.inputs.per_image
    sources = sources or {}
    for name in sources:
        if name not in given:
            hint = did_you_mean(name, given) or f"it takes {', '.join(given) or 'an image alone'}"
            raise ModelError(
                f"{net.name} takes no {name!r} with each image; {hint}", parameter="inputs"
            )
    if image_list.load_entries is not None and given and not sources:
        return _with_entries(image_list, image_list.load_entries, net.sample_names)
    missing = [name for name in given if name not in sources]
    if missing:
        raise _missing_sources_error(net, missing)
    others = {
        name: _match(_partners(name, source, given[name]), image_list)
        for name, source in sources.items()
    }
    return replace(image_list, others=others) if others else image_list


def _partners(name: str, source: object, kind: OtherInput) -> "_Partners":
    if not isinstance(source, str | Path):
        raise ImageError(
            f"{name} is {shorten(source)}; give a folder of files named like the images, or a CSV "
            "file whose first column names the images",
            parameter="inputs",
        )
    return _Partners(name, str(source), is_image=isinstance(kind, ImageInput))


def _missing_sources_error(net: Network, missing: Sequence[str]) -> MissingInputsError:
    assert net.inputs is not None
    kinds, first = net.inputs.per_image, missing[0]
    places = {
        name: "FOLDER" if isinstance(kinds[name], ImageInput) else "TABLE.csv" for name in missing
    }
    return MissingInputsError(
        f"{net.name} takes {list_words(list(map(repr, missing)))} with each image; give a folder "
        f"or a CSV file of them, as in inputs={{{first!r}: ...}}, or hold one with "
        f"net.hold({first}=...)",
        network=net.name,
        image=net.inputs.image,
        missing=places,
    )


def _with_entries(
    image_list: ImageList,
    load_entries: Callable[[int, Sequence[str]], AnyImage],
    names: Sequence[str],
) -> ImageList:
    """The samples of a data set with all inputs that they have."""
    return replace(image_list, load=lambda index: load_entries(index, names))


@dataclass(frozen=True)
class _Partners:
    """Where the values of an input are."""

    name: str
    source: str
    is_image: bool

    def read(self) -> tuple[str, Mapping[str, str]]:
        """The folder that paths are relative to, and the value for each image by its path."""
        if PurePath(self.source).suffix.lower() == TABLE_SUFFIX:
            root = str(Path(self.source).parent) if self.is_image else ""
            return root, self._read_table()
        if not Path(self.source).is_dir():
            raise ImageError(
                f"{self.name} is not at {self.source!r}; give a folder of files named like the "
                "images, or a CSV file",
                parameter="inputs",
            )
        if not self.is_image:
            raise ImageError(
                f"{self.name} is numbers; give a CSV file with a column {self.name!r}, not the "
                f"folder {self.source!r}",
                parameter="inputs",
            )
        folder = Path(self.source)  # arrays are images where it has no others, as in a scan
        paths = find_files(folder, None, SUFFIXES) or find_files(folder, None, ARRAY_SUFFIXES)
        return self.source, {path: path for path in paths if not is_hidden(path)}

    def _read_table(self) -> Mapping[str, str]:
        """The value for each image. Raises if there are two for one."""
        values: dict[str, str] = {}
        for path, value in self._read_rows():
            if values.setdefault(path, value) != value:
                raise ImageError(
                    f"{self.source!r} has two values of {self.name!r} for {path!r}; keep one",
                    parameter="inputs",
                )
        return values

    def _read_rows(self) -> Iterator[tuple[str, str]]:
        """The first column names the image; the column of the input's name has its value."""
        try:
            with Path(self.source).open(newline="", encoding="utf-8-sig") as lines:
                header, *rows = [row for row in csv.reader(lines) if row] or [[]]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ImageError(
                f"cannot read {self.source!r} ({error}); give a CSV file with a column "
                f"{self.name!r}",
                parameter="inputs",
            ) from error
        names = [name.strip() for name in header]
        if self.name not in names[1:]:
            raise ImageError(
                f"{self.source!r} has no column {self.name!r} after the first; its first line is "
                f"{','.join(names)!r}, and must name the columns, as in 'image,{self.name}'",
                parameter="inputs",
            )
        column = names.index(self.name)
        for row in rows:
            if len(row) > column and row[column].strip():
                yield normpath(row[0].strip()), row[column].strip()


def _match(partners: _Partners, image_list: ImageList) -> OtherList:
    """The value for each image: that of its path, or of the path that ends as no other does."""
    root, by_path = partners.read()
    lookup = _PathLookup(list(by_path), [normpath(key) for key in image_list.keys])
    paths = list(map(lookup.find, lookup.keys))
    values = [None if path is None else by_path[path] for path in paths]
    missing = [key for key, value in zip(image_list.keys, values, strict=True) if value is None]
    if missing:
        raise ImageError(
            f"{len(missing)} of {len(values)} images have no {partners.name} in "
            f"{partners.source!r}, such as {missing[0]!r}; add them, or scan a list without them",
            parameter="inputs",
        )
    names = [value for value in values if value is not None]
    if not partners.is_image:
        return OtherList(names, numbers=[_numbers(partners, name) for name in names])
    return OtherList(names, root)


class _PathLookup:
    """Finds the partner of a key among paths.

    It has the key's path. Otherwise it has the path with another ending, or they share the end of
    their paths, which no other key and no other partner has.
    """

    def __init__(self, paths: Sequence[str], keys: Sequence[str]) -> None:
        self.keys, self._paths = keys, dict.fromkeys(paths)

    def find(self, key: str) -> str | None:
        """The path that belongs to a key, if there is one."""
        if key in self._paths:
            return key
        stem = _without_suffix(key)
        if self._keys_by_stem[stem] == key and self._by_stem.get(stem):
            return self._by_stem[stem]
        return self._find_by_end(key)

    def _find_by_end(self, key: str) -> str | None:
        ends = (end for end in _ends(key) if self._keys_by_end[end] == key)
        return next(filter(None, map(self._by_end.get, ends)), None)

    @cached_property
    def _by_stem(self) -> dict[str, str | None]:
        return _owners((path, [_without_suffix(path)]) for path in self._paths)

    @cached_property
    def _keys_by_stem(self) -> dict[str, str | None]:
        return _owners((key, [_without_suffix(key)]) for key in self.keys)

    @cached_property
    def _by_end(self) -> dict[str, str | None]:
        return _owners((path, _ends(path)) for path in self._paths)

    @cached_property
    def _keys_by_end(self) -> dict[str, str | None]:
        return _owners((key, _ends(key)) for key in self.keys)


def _owners(names: Iterable[tuple[str, Iterable[str]]]) -> dict[str, str | None]:
    """The path that has a name, by the names; None for a name of several paths."""
    owners: dict[str, str | None] = {}
    for path, names_of_path in names:
        for name in names_of_path:
            owners[name] = path if owners.get(name, path) == path else None
    return owners


def _ends(path: str) -> Iterator[str]:
    """The ends of a path, the longest first, each also without the ending of the file.

    >>> list(_ends("a/b.png"))
    ['a/b.png', 'a/b', 'b.png', 'b']
    """
    parts = path.split("/")
    for start in range(len(parts)):
        end = "/".join(parts[start:])
        yield from (end, _without_suffix(end))


def _without_suffix(path: str) -> str:
    return splitext(path)[0]  # noqa: PTH122 - which takes a tenth of the time


def _numbers(partners: _Partners, text: str) -> list[float]:
    try:
        return [float(number) for number in text.replace(";", " ").split()]
    except ValueError as error:
        raise RetroscopeError(
            f"{partners.name} is {text!r} in {partners.source!r}; write numbers, with spaces "
            "between them",
            parameter="inputs",
        ) from error


def pair_scanned_images(
    net: Network,
    image_list: ImageList,
    atlas: Atlas,
    sources: OtherSources | None = None,
) -> ImageList:
    """The images of a finished scan with what came with them.

    It is in these sources, or where the scan has read it, which a joined atlas records for each of
    its parts.
    """
    check_same_inputs(atlas, net, repr(str(atlas.path)))
    if sources:
        return pair_images(net, image_list, sources)
    meta = atlas.meta
    parts = meta.get("sources")
    if net.sample_names and isinstance(parts, list):
        return _pair_parts(
            net, image_list, [part if isinstance(part, dict) else {} for part in parts]
        )
    return pair_images(net, image_list, _recorded_sources(meta))


def _recorded_sources(facts: Mapping[str, object]) -> OtherSources:
    recorded = facts.get("input_sources")
    return recorded if isinstance(recorded, dict) else {}


def _pair_parts(
    net: Network, image_list: ImageList, parts: Sequence[Mapping[str, object]]
) -> ImageList:
    counts = [count if isinstance(count := part.get("images"), int) else 0 for part in parts]
    if sum(counts) != len(image_list.keys):
        return image_list  # which is not that of the atlas, and refused
    bounds = pairwise(accumulate(counts, initial=0))
    paired = [
        pair_images(
            net, replace(image_list, keys=image_list.keys[start:stop]), _recorded_sources(part)
        ).others
        for part, (start, stop) in zip(parts, bounds, strict=True)
    ]
    others = {name: join_other_lists([part[name] for part in paired]) for name in paired[0]}
    return replace(image_list, others=others)


def pair_shards(net: Network, source: ShardedSource, sources: OtherSources | None) -> ShardedSource:
    """The shards with what the network takes beside each of their images.

    All images are listed for that, also those of archives, so that whoever lacks something is
    refused before workers start.
    """
    if not net.sample_names and not sources:
        return source
    images = pair_images(net, source.list_images(), sources)
    bounds = pairwise([*images.shard_starts, len(images.keys)])
    shards = [
        replace(shard, others=_select(images.others, range(start, stop)))
        for shard, (start, stop) in zip(source.shards, bounds, strict=True)
    ]
    return replace(source, shards=shards)


def _select(others: Mapping[str, OtherList], indices: range) -> dict[str, OtherList]:
    return {name: other.select(indices) for name, other in others.items()}
