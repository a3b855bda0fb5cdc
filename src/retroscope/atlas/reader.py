"""Reading an atlas: its layers, images, plates, and plain SQL. No torch."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import escape
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast

from retroscope.atlas.database import PATIENCE, Reading, Row
from retroscope.atlas.pattern_rows import OF_CHANNEL as PATTERNS_OF_CHANNEL
from retroscope.atlas.pattern_rows import pattern_of
from retroscope.atlas.pictures import decode_picture
from retroscope.atlas.plates import OF_CHANNEL, OF_LAYER, patch_of
from retroscope.atlas.rows import (
    LAYER_COLUMNS,
    HitRow,
    Images,
    Label,
    classes_of,
    layer_of,
    stats_of,
)
from retroscope.atlas.schema import RANKINGS, TABLES, VIEWS, AtlasError, Json, Value
from retroscope.atlas.sqlite_errors import named
from retroscope.errors import UnitError, did_you_mean
from retroscope.results.layer_lookup import checked, find_layer
from retroscope.results.values import (
    ChannelStats,
    ClassStats,
    Layer,
    Patch,
    Pattern,
    Picture,
    Plate,
    layer_asked,
)
from retroscope.unit import Unit, as_unit

Kept = TypeVar("Kept")

_LAYERS = f"SELECT {LAYER_COLUMNS} FROM layers ORDER BY step, id"  # noqa: S608 - our own names
_STATS = (
    "SELECT images, positions, mean, std, maximum, fired_images, fired_positions, non_finite, "
    "histogram FROM channels WHERE layer = ? AND channel = ?"
)
_HITS = (
    "SELECT channel, y, x, score, image, key, label FROM named_hits "
    "WHERE layer = ? AND ranked_by = ? AND "
)
_BEST_FIRST = "ORDER BY score DESC, image, channel LIMIT ?"
_HAS_PATTERNS = "SELECT 1 FROM sqlite_master WHERE name = 'patterns'"
_CLASSES = "SELECT mean_maximum, fired_share FROM class_stats WHERE layer = ? AND channel = ?"


def open_atlas(path: str | Path, *, patience: float = PATIENCE) -> "Atlas":
    """The atlas in a file, for reading; also while a scan writes it.

    `patience` is how many seconds to wait for the writer to finish a checkpoint.

    >>> open_atlas("no-such.atlas")
    Traceback (most recent call last):
    retroscope.atlas.schema.AtlasError: no atlas 'no-such.atlas'; 'retroscope scan' makes one
    """
    if not isinstance(path, str | PathLike):
        raise AtlasError(f"an atlas is opened by the path of its file, not {path!r}; name one")
    return Atlas(Reading(Path(path), patience))


class Atlas:
    """All that a scan found, open for reading: `open_atlas` opens one.

    Iterating gives the unit of every channel, `atlas["conv5_3:42"]` the plate of one.
    """

    def __init__(self, reading: Reading) -> None:
        self.path = reading.path
        self._reading = reading
        self._kept: dict[str, object] = {}
        self._version: object = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; nothing can be asked after that."""
        self._reading.close()

    @property
    def meta(self) -> dict[str, Json]:
        """What the scan wrote down about itself; `docs/reference/atlas.md` lists the keys."""
        return {key: json.loads(value) for key, value in self._ask("SELECT key, value FROM meta")}

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that were scanned, in running order."""
        return tuple(layer for _, layer in self._numbered_layers())

    def layer(self, name: str | Layer) -> Layer:
        """The layer of this name or alias."""
        layers = self.layers
        listing = "it keeps no layers yet"
        if layers:
            listing = f"it keeps {len(layers)} layers, {layers[0].name} to {layers[-1].name}"
        return find_layer(layers, layer_asked(name), str(self.path), listing=listing)

    @property
    def images(self) -> Images:
        """Every image of the list, also those that could not be read."""
        return Images(self._reading.ask)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classes of the images."""
        return self._cached("labels", self._read_labels)

    def label(self, name: str) -> Label:
        """The class of this name."""
        by_name = {label.name: label for label in self.labels}
        if name not in by_name:
            hint = did_you_mean(name, by_name) or f"it has {len(by_name)} classes"
            raise UnitError(f"no class {name!r} in {self.path}; {hint}")
        return by_name[name]

    def picture(self, image: int) -> Picture:
        """A winning image at the size that the network takes."""
        if not 0 <= image < len(self.images):
            raise UnitError(
                f"no image {image} in {self.path}; it has {len(self.images)}, numbered from 0"
            )
        found = self._ask("SELECT blob FROM winner_pictures WHERE image = ?", image)
        if not found:
            raise AtlasError(
                f"{named(self.path)} does not keep image {image} ({self.images[image].key!r}); it "
                "keeps those that are among the hits, once they are illustrated"
            )
        return decode_picture(found[0][0])

    def __getitem__(self, unit: Unit | str) -> Plate:
        return self.plate(unit)

    def plate(self, unit: Unit | str, *, ranked_by: str = "max", rules: str = "deconvnet") -> Plate:
        """The patches that excite a channel most, with their projections where there are any.

        A patch is grey where its picture is not kept yet, as it is outside of the picture.
        """
        _refuse_unknown_ranking(ranked_by)
        unit, layer = self._channel(unit)
        stats = self.stats(unit)
        values = (self._number(layer), unit.channel, ranked_by, rules)
        patches = tuple(patch_of(layer, row) for row in self._ask(OF_CHANNEL, *values))
        return Plate(unit, layer, patches, stats, ranked_by)

    def stats(self, unit: Unit | str) -> ChannelStats:
        """How a channel responds over all images, and to each class."""
        unit, layer = self._channel(unit)
        values = (self._number(layer), unit.channel)
        found = self._ask(_STATS, *values)
        if not found:
            raise AtlasError(
                f"{named(self.path)} has nothing on {unit} yet, its scan is not finished; run the "
                "same 'retroscope scan' again, it goes on"
            )
        classes: tuple[ClassStats, ...] = ()
        for row in self._ask(_CLASSES, *values):
            classes = classes_of(row, self.labels)
        return stats_of(found[0], classes)

    def patterns(self, unit: Unit | str) -> tuple[Pattern, ...]:
        """The patterns of a channel, one for each recipe, beside what its best image reaches."""
        unit, layer = self._channel(unit)
        if not self._ask(_HAS_PATTERNS):
            return ()
        rows = self._ask(PATTERNS_OF_CHANNEL, self._number(layer), unit.channel)
        natural = self.stats(unit).maximum if rows else None
        return tuple(replace(pattern_of(layer, row), natural=natural) for row in rows)

    def top(
        self, layer: str, count: int = 9, *, ranked_by: str = "max", rules: str = "deconvnet"
    ) -> tuple[tuple[Unit, Patch], ...]:
        """The strongest hits of a whole layer, whatever their channel, each with its unit."""
        _refuse_unknown_ranking(ranked_by)
        found = self.layer(layer)
        rows = self._ask(OF_LAYER, self._number(found), ranked_by, count, rules)
        patches = ((row[0], patch_of(found, row)) for row in rows)
        return tuple(
            (Unit(found.name, channel, patch.position), patch) for channel, patch in patches
        )

    def hits(
        self, unit: Unit | str, count: int = 9, *, ranked_by: str = "max"
    ) -> tuple[HitRow, ...]:
        """What `plate` shows of a channel, or `top` of a layer, as numbers and names."""
        _refuse_unknown_ranking(ranked_by)
        asked = as_unit(unit)
        if asked.channel is None:
            layer = self.layer(asked.layer)
            found = self._ask(f"{_HITS} TRUE {_BEST_FIRST}", layer.name, ranked_by, count)
        else:
            asked, layer = self._channel(asked)
            query = f"{_HITS} channel = ? ORDER BY rank"
            found = self._ask(query, layer.name, ranked_by, asked.channel)
        return tuple(
            HitRow(Unit(layer.name, channel, (y, x)), *row) for channel, y, x, *row in found
        )

    def __contains__(self, unit: object) -> bool:
        """Whether an address is that of a channel that there is, under any name of its layer."""
        if not isinstance(unit, str | Unit):
            return False
        try:
            self._channel(unit)
        except UnitError:
            return False
        return True

    def __iter__(self) -> Iterator[Unit]:
        for layer in self.layers:
            for channel in range(layer.channels):
                yield Unit(layer.name, channel)

    def __len__(self) -> int:
        return sum(layer.channels for layer in self.layers)

    def sql(self, query: str, *values: Value) -> list[tuple[Value, ...]]:
        """The rows that answer a query; `?` in it stands for the values in turn. It only reads.

        `docs/reference/atlas.md` explains the tables.
        """
        try:
            return self._reading.ask(query, values)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise AtlasError(
                f"{named(self.path)} cannot answer {query!r}: {error}; its tables are "
                f"{', '.join((*TABLES, *VIEWS))}"
            ) from error

    def __repr__(self) -> str:
        return f"<Atlas {self.path}: {len(self.layers)} layers, {len(self)} channels>"

    def _repr_html_(self) -> str:
        meta = self.meta
        facts: dict[str, object] = {
            "atlas": self.path,
            "model": meta.get("model", ""),
            "state": meta.get("state", ""),
            "images": f"{len(self.images):,}",
            "layers": f"{len(self.layers):,}",
            "channels": f"{len(self):,}",
        }
        rows = (
            f"<tr><th>{name}</th><td>{escape(str(fact))}</td></tr>" for name, fact in facts.items()
        )
        return f"<table>{''.join(rows)}</table>"

    def _ask(self, query: str, *values: Value) -> list[Row]:
        return self._reading.ask(query, values)

    def _channel(self, unit: Unit | str) -> tuple[Unit, Layer]:
        """The unit under its layer's own name, known to be a whole channel that there is."""
        asked = as_unit(unit)
        layer = self.layer(asked.layer)
        if asked.channel is None:
            raise UnitError(
                f"{asked} is a whole layer; name one of its channels, {layer.name}:0 to "
                f"{layer.name}:{layer.channels - 1}"
            )
        if asked.position is not None or asked.whole_map:
            raise UnitError(
                f"an atlas is asked for channels; {asked} has a position, write "
                f"{layer.name}:{asked.channel}"
            )
        return checked(asked, layer), layer

    def _number(self, layer: Layer) -> int:
        """The layer's id in the file."""
        return next(number for number, own in self._numbered_layers() if own.name == layer.name)

    def _numbered_layers(self) -> tuple[tuple[int, Layer], ...]:
        return self._cached("layers", self._read_layers)

    def _read_layers(self) -> tuple[tuple[int, Layer], ...]:
        return tuple((row[0], layer_of(row)) for row in self._ask(_LAYERS))

    def _read_labels(self) -> tuple[Label, ...]:
        return tuple(Label(*row) for row in self._ask("SELECT id, name, images FROM labels"))

    def _cached(self, name: str, read: Callable[[], Kept]) -> Kept:
        """What was read before, while nobody has written the file since."""
        ((version,),) = self._ask("PRAGMA data_version")
        if version != self._version:
            self._version, self._kept = version, {}
        kept = self._kept
        if name not in kept:
            kept[name] = read()
        return cast(Kept, kept[name])


def _refuse_unknown_ranking(ranked_by: str) -> None:
    if ranked_by not in RANKINGS:
        raise UnitError(f"no ranking {ranked_by!r}; there are {' and '.join(RANKINGS)}")
