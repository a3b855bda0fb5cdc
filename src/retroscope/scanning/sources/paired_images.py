"""What comes with each image of a list: the file of its name in another folder, or a CSV column."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import normpath
from pathlib import Path, PurePath

from retroscope.errors import ImageError, ModelError, RetroscopeError, did_you_mean
from retroscope.imaging.frames import SUFFIXES
from retroscope.module_inputs import ImageInput
from retroscope.network import AnyImage, Network
from retroscope.scanning.sources.folders import find_files, is_hidden
from retroscope.scanning.sources.image_list import ImageList, OtherList

OtherSources = Mapping[str, str | Path]
"""A folder of files or a CSV file for each input that comes with an image, by its name."""

TABLE_SUFFIX = ".csv"


def pair_images(net: Network, image_list: ImageList, sources: OtherSources | None) -> ImageList:
    """The list with what the network takes beside each image."""
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
    for name in given:
        if name not in sources:
            raise ModelError(
                f"{net.name} takes {name!r} with each image; give a folder or a CSV file of them, "
                f"as in inputs={{{name!r}: ...}}, or hold one with net.hold({name}=...)",
                parameter="inputs",
            )
    others = {
        name: _match(
            _Partners(name, str(source), is_image=isinstance(given[name], ImageInput)), image_list
        )
        for name, source in sources.items()
    }
    return replace(image_list, others=others) if others else image_list


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
            return root, dict(self._read_table())
        if not Path(self.source).is_dir():
            raise ImageError(
                f"{self.name} is not at {self.source!r}; give a folder of files named as the "
                "images, or a CSV file",
                parameter="inputs",
            )
        if not self.is_image:
            raise ImageError(
                f"{self.name} is numbers; give a CSV file with a column {self.name!r}, not the "
                f"folder {self.source!r}",
                parameter="inputs",
            )
        paths = find_files(Path(self.source), None, SUFFIXES)
        return self.source, {path: path for path in paths if not is_hidden(path)}

    def _read_table(self) -> Iterator[tuple[str, str]]:
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
    """The value for each image: of its path, of its path with another ending, or of its name."""
    root, by_path = partners.read()
    lookups = [_by(by_path, key) for key in (str, _without_suffix, _file_name, _stem)]
    values = [_find(key, lookups) for key in image_list.keys]
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


def _find(key: str, lookups: Sequence[Mapping[str, str]]) -> str | None:
    path = normpath(key)
    names = (path, _without_suffix(path), _file_name(path), _stem(path))
    return next((by[name] for by, name in zip(lookups, names, strict=True) if name in by), None)


def _by(by_path: Mapping[str, str], shorten: Callable[[str], str]) -> dict[str, str]:
    """The values by shorter names, without those that several share."""
    names = {path: shorten(path) for path in by_path}
    counts = Counter(names.values())
    return {name: by_path[path] for path, name in names.items() if counts[name] == 1}


def _without_suffix(path: str) -> str:
    return str(PurePath(path).with_suffix(""))


def _file_name(path: str) -> str:
    return PurePath(path).name


def _stem(path: str) -> str:
    return PurePath(path).stem


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
    net: Network, image_list: ImageList, meta: Mapping[str, object]
) -> ImageList:
    """The images of a finished scan with what came with them, from where the scan has read it."""
    recorded = meta.get("input_sources")
    sources = recorded if isinstance(recorded, dict) else {}
    return pair_images(net, image_list, sources)


def refuse_several_inputs(net: Network, sources: OtherSources | None = None) -> None:
    """Workers open the network by themselves, and do not know what is held for its inputs."""
    if net.inputs is not None or sources:
        raise ModelError(
            f"{net.name} takes several inputs, and is scanned in one process; leave out "
            "the workers",
            parameter="on",
        )
