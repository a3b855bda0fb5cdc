"""A shard: a numbered, immutable piece of a source's images, which lists itself in any process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from retroscope.atlas.schema import Json
from retroscope.errors import RetroscopeError
from retroscope.scanning.sources.class_rules import ClassRule
from retroscope.scanning.sources.image_list import ImageList, LocalFiles
from retroscope.scanning.sources.locations import is_url, join_path
from retroscope.scanning.sources.shard_images import ShardImages, list_shard

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

    >>> shard = Shard(0, ShardKind.FILES, "/photos", paths=("a.jpg",), images=1)
    >>> Shard.from_json(shard.to_json()) == shard
    True
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

    def list_images(self) -> ImageList:
        """Its images in order, with those classes that occur among them."""
        return list_shard(self.read(), self.rule)

    def read(self) -> ShardImages:
        """Its images as they are in the source."""
        files = LocalFiles([join_path(self.location, path) for path in self.paths])
        return ShardImages(self.paths, files)

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
        }

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
        )


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

    def _error(self, name: str) -> RetroscopeError:
        value = self.values.get(name)
        return RetroscopeError(f"a shard's {name} is {value!r}; make the plan again")
