"""A shard: a numbered, immutable piece of a source's images, which lists itself in any process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from retroscope.atlas.schema import Json
from retroscope.errors import RetroscopeError
from retroscope.scanning.sources.class_rules import ClassRule
from retroscope.scanning.sources.image_list import ImageList, LocalFiles, OtherList
from retroscope.scanning.sources.locations import is_url, join_path
from retroscope.scanning.sources.parquets import parquet_images
from retroscope.scanning.sources.remote_files import files_at, stored_file
from retroscope.scanning.sources.shard_images import ShardImages, list_shard
from retroscope.scanning.sources.stored_files import FileVersion, StoredFile
from retroscope.scanning.sources.tars import TarFiles, tar_images
from retroscope.scanning.sources.zips import zip_images

IMAGES_PER_SHARD = 2048
"""Images of a folder, a list or a zip that make a shard; of Parquet, about as many rows."""


class ShardKind(StrEnum):
    """What a shard is a piece of."""

    FILES = "files"
    TAR = "tar"
    ZIP = "zip"
    PARQUET = "parquet"


@dataclass(frozen=True)
class Shard:
    """A piece of the images of a source; `number` counts the pieces in order.

    `location` is the folder of files, or the path or URL of an archive, which keys call `name`.
    `paths` are files below the folder, or elsewhere if they are absolute. `start` and `stop` are a
    range of the images in an archive. `size` and `etag` pin the archive; the time of modification
    stands for the ETag of a local file. `images` is how many there are, if known without reading.
    `shown_location` is what errors call the folder of files, if that is not its location. `others`
    are the other inputs of the network that come with its images, by name.

    >>> shard = Shard(0, ShardKind.FILES, "/photos", paths=("a.jpg",), images=1)
    >>> Shard.from_json(shard.to_json()).list_images().keys
    ['a.jpg']
    """

    number: int
    kind: ShardKind
    location: str
    name: str = ""
    paths: tuple[str, ...] = field(default=(), repr=False)
    start: int = 0
    stop: int | None = None
    images: int | None = None
    size: int | None = None
    etag: str = ""
    glob: str | None = None
    rule: ClassRule = field(default_factory=ClassRule)
    shown_location: str | None = None
    others: Mapping[str, OtherList] = field(default_factory=dict, repr=False, hash=False)

    def list_images(self) -> ImageList:
        """Its images in order, with those classes that occur among them.

        The copy of a remote tar is there as long as the list is.
        """
        images = self.read()
        if isinstance(images.files, TarFiles):
            images = replace(images, files=replace(images.files, copy=self.archive.hold()))
        return replace(list_shard(images, self.rule), others=self.others)

    def read(self) -> ShardImages:
        """Its images as they are in the source."""
        return _READERS[self.kind](self)

    @property
    def part(self) -> slice:
        """Which of the archive's images are in the shard."""
        return slice(self.start, self.stop)

    @property
    def archive(self) -> StoredFile:
        """The file that holds its images, pinned."""
        return stored_file(self.location, FileVersion(self.size, self.etag))

    def to_json(self) -> dict[str, Json]:
        """The shard for a file that any process can read: paths of local files are absolute."""
        return {
            "number": self.number,
            "kind": self.kind,
            "location": _absolute(self.location),
            "name": self.name,
            "paths": list(self.paths),
            "start": self.start,
            "stop": self.stop,
            "images": self.images,
            "size": self.size,
            "etag": self.etag,
            "glob": self.glob,
            "labels": self.rule.labels and _absolute(self.rule.labels),
            "class_folder": self.rule.class_folder,
            "shown_location": self.location if self.shown_location is None else self.shown_location,
            **self._others_json(),
        }

    def _others_json(self) -> dict[str, Json]:
        others: dict[str, Json] = {name: other.to_json() for name, other in self.others.items()}
        return {"others": others} if others else {}

    @classmethod
    def from_json(cls, values: Mapping[str, Json]) -> "Shard":
        """The shard that `to_json` has written."""
        read = _Fields(values)
        return cls(
            number=read.count("number"),
            kind=ShardKind(read.text("kind")),
            location=read.text("location"),
            name=read.text("name"),
            paths=read.texts("paths"),
            start=read.count("start"),
            stop=read.optional_count("stop"),
            images=read.optional_count("images"),
            size=read.optional_count("size"),
            etag=read.text("etag"),
            glob=read.optional_text("glob"),
            rule=ClassRule(read.optional_text("labels"), read.optional_text("class_folder")),
            shown_location=read.optional_text("shown_location"),
            others=read.other_lists("others"),
        )


def _read_files(shard: Shard) -> ShardImages:
    files = files_at([join_path(shard.location, path) for path in shard.paths])
    if isinstance(files, LocalFiles) and shard.shown_location is not None:
        names = [join_path(shard.shown_location, path) for path in shard.paths]
        files = LocalFiles(files.paths, names)
    return ShardImages(shard.paths, files)


def _read_tar(shard: Shard) -> ShardImages:
    reads_classes = shard.rule.accepts_stated_classes
    return tar_images(shard.archive, shard.name, glob=shard.glob, reads_classes=reads_classes)


def _read_zip(shard: Shard) -> ShardImages:
    return zip_images(shard.archive, shard.name, shard.part, glob=shard.glob)


def _read_parquet(shard: Shard) -> ShardImages:
    reads_classes = shard.rule.accepts_stated_classes
    return parquet_images(
        shard.archive, shard.name, shard.part, glob=shard.glob, reads_classes=reads_classes
    )


_READERS: dict[ShardKind, Callable[[Shard], ShardImages]] = {
    ShardKind.FILES: _read_files,
    ShardKind.TAR: _read_tar,
    ShardKind.ZIP: _read_zip,
    ShardKind.PARQUET: _read_parquet,
}


def _absolute(location: str) -> str:
    return location if is_url(location) else str(Path(location).absolute())


@dataclass(frozen=True)
class _Fields:
    """The fields of a shard in JSON, each of the type that it must have."""

    values: Mapping[str, Json]

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self._error(name)
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self.values.get(name) is None else self.text(name)

    def count(self, name: str) -> int:
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._error(name)
        return value

    def optional_count(self, name: str) -> int | None:
        return None if self.values.get(name) is None else self.count(name)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.values.get(name)
        if not isinstance(value, list):
            raise self._error(name)
        return tuple(str(text) for text in value)

    def other_lists(self, name: str) -> dict[str, OtherList]:
        values: Any = self.values.get(name) or {}
        try:
            return {input_name: OtherList.from_json(of) for input_name, of in values.items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RetroscopeError(
                f"what comes with the images of a shard is damaged ({error!r}); make the plan again"
            ) from error

    def _error(self, name: str) -> RetroscopeError:
        value = self.values.get(name)
        return RetroscopeError(f"a shard's {name} is {value!r}; make the plan again")
