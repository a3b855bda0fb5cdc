"""Reading an atlas: its layers, images, plates, and plain SQL."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self, TypeVar, cast

from retroscope.argument_types import check_arguments
from retroscope.atlas.atlas_images import AtlasImages
from retroscope.atlas.database import MAX_QUERY_SECONDS, TIMEOUT, ReadConnection
from retroscope.atlas.file_versions import file_version
from retroscope.atlas.patch_decoding import format_of, patches_from_rows
from retroscope.atlas.queries import image_queries, number_queries, rankings, reader_queries
from retroscope.atlas.queries.rankings import RankingFacts
from retroscope.atlas.queries.reader_queries import Label
from retroscope.atlas.ranking_lookup import find_ranking, refuse_layer_sample
from retroscope.atlas.row_decoding import (
    HitRow,
    check_layers,
    class_stats_from_row,
    hit_from_row,
    layer_from_row,
    name_from_row,
    number_from_row,
    pattern_from_row,
    sample_from_rows,
    stats_from_cells,
)
from retroscope.atlas.schema import AtlasError, Json, Ranking, Value
from retroscope.atlas.sqlite_errors import quote_path
from retroscope.errors import UnitError, choose
from retroscope.imaging.decoding import RGB
from retroscope.results.layer_lookup import check_unit, find_layer, layers_scanned
from retroscope.results.layers import Layer, layer_name
from retroscope.results.patterns import Pattern
from retroscope.results.plates import MaximaSample, Patch, Plate
from retroscope.results.statistics import ChannelStats
from retroscope.results.unit_numbers import UnitName, UnitNumber
from retroscope.unit import Unit, as_unit

Cached = TypeVar("Cached")
_FEW_CLASSES = 20
"""So many are listed where another one is asked for."""


@check_arguments
def open_atlas(path: str | Path, *, timeout: float = TIMEOUT) -> "Atlas":
    """Opens an atlas file for reading, also while a scan is writing it.

    `timeout` is how many seconds to wait while the scan writes a checkpoint.

    >>> open_atlas("no.atlas")
    Traceback (most recent call last):
    retroscope.atlas.schema.AtlasError: no atlas 'no.atlas'; rs.scan or 'retroscope scan' makes one
    """
    return Atlas(ReadConnection(Path(path), timeout))


class Atlas:
    """All results of a scan, open for reading; `open_atlas` returns one.

    Iterating gives the unit of every channel, `atlas["conv5_3:42"]` the plate of one.
    """

    def __init__(self, connection: ReadConnection) -> None:
        self.path = connection.path
        self._connection = connection
        self._cache: dict[str, object] = {}
        self._cache_version: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file. The atlas cannot be used after that."""
        self._connection.close()

    @property
    def meta(self) -> dict[str, Json]:
        """Facts about the scan; `docs/reference/atlas.md` lists the keys."""
        facts = self._from_cache("facts", lambda: reader_queries.read_facts(self._connection))
        return dict(facts)

    @property
    def file_version(self) -> int:
        """A number that changes when another connection has written the file."""
        return file_version(self._connection)

    @property
    def rules(self) -> str:
        """The rules of the projections that are shown if no others are asked for."""
        return str(self.meta.get("rules", "deconvnet"))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The scanned layers in running order."""
        return tuple(self._layers_by_id().values())

    def layer(self, name: str | Layer) -> Layer:
        """The layer with this name or alias."""
        listing = layers_scanned(self.layers)
        return find_layer(self.layers, layer_name(name), str(self.path), listing=listing)

    @property
    def images(self) -> AtlasImages:
        """All images of the scanned list, including those that could not be read."""
        return AtlasImages(self._connection)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classes of the images."""
        return self._from_cache("labels", lambda: reader_queries.list_labels(self._connection))

    def label(self, name: str) -> Label:
        """The class with this name."""
        labels = {label.name: label for label in self.labels}
        advice = f"{quote_path(self.path)} has {len(labels)} classes, listed by atlas.labels"
        advice = "" if 0 < len(labels) <= _FEW_CLASSES else advice
        return choose("class", name, labels, error=UnitError, advice=advice)

    def image_pixels(self, image: int) -> RGB:
        """An image among the hits by its number, at the size of the network's input.

        Of a volume or a clip, its slices: (slices, height, width, 3).
        """
        if not 0 <= image < len(self.images):
            raise UnitError(
                f"no image {image} in {self.path}; it has {len(self.images)}, numbered from 0"
            )
        blob = image_queries.image_blob(self._connection, image)
        if blob is None:
            raise AtlasError(
                f"{quote_path(self.path)} does not store image {image} "
                f"({self.images[image].key!r}); it stores the images among the hits, once they "
                "are illustrated"
            )
        return format_of(self.meta).decode(blob)

    def __getitem__(self, unit: Unit | str) -> Plate:
        return self.plate(unit)

    def plate(
        self,
        unit: Unit | str,
        *,
        ranked_by: str = "max",
        label: str | None = None,
        rules: str | None = None,
    ) -> Plate:
        """The patches of a channel in a ranking, with their projections if there are any.

        `ranked_by` is `max`, `mean` (over the map), `min` (the lowest minima), or `sample`: the
        images at `SAMPLE_QUANTILES` of its maxima in a random sample, and a random one. `label` is
        a class, for its images with the highest maxima. `rules` are those of the projections.
        Default: `Atlas.rules`.

        A patch is grey where the field leaves the image, and all grey if the image is not stored.
        """
        ranking = find_ranking(self, ranked_by, label)
        channel = self._find_channel(unit)
        stats = self.stats(unit)
        rows = reader_queries.channel_plate(
            self._connection,
            channel.layer_id,
            channel.number,
            ranking=ranking,
            rules=rules or self.rules,
        )
        return Plate(
            channel.unit,
            channel.layer,
            patches_from_rows(channel.layer, rows, ranking.ranked_by, stored=format_of(self.meta)),
            stats,
            ranking.ranked_by.value,
            names=self.names(unit),
            numbers=self.numbers(unit),
            label=label,
        )

    def stats(self, unit: Unit | str) -> ChannelStats:
        """How a channel responds over all images, and to each class."""
        channel = self._find_channel(unit)
        cells = reader_queries.channel_statistics(
            self._connection, channel.layer_id, channel.number
        )
        if cells is None:
            raise AtlasError(
                f"{quote_path(self.path)} has no statistics of {channel.unit} yet, because its "
                "scan is not finished; run the same scan again to complete it"
            )
        profile = reader_queries.class_profile(self._connection, channel.layer_id, channel.number)
        classes = () if profile is None else class_stats_from_row(profile, self.labels)
        return stats_from_cells(cells, classes)

    def patterns(self, unit: Unit | str) -> tuple[Pattern, ...]:
        """The patterns of a channel, one for each recipe, with the maximum over all images."""
        channel = self._find_channel(unit)
        rows = reader_queries.channel_patterns(self._connection, channel.layer_id, channel.number)
        maximum = self.stats(unit).maximum if rows else None
        patterns = (pattern_from_row(channel.layer, row) for row in rows)
        return tuple(replace(pattern, natural=maximum) for pattern in patterns)

    def numbers(self, unit: Unit | str) -> tuple[UnitNumber, ...]:
        """The numbers that `score` has stored of a channel, or of all channels of a layer."""
        layer, layer_id, channels = self._find_channels(unit)
        rows = number_queries.layer_numbers(self._connection, layer_id, channels)
        return tuple(number_from_row(layer, row) for row in rows)

    def names(self, unit: Unit | str) -> tuple[UnitName, ...]:
        """The names of a channel, or of all channels of a layer, those from a file first."""
        layer, layer_id, channels = self._find_channels(unit)
        rows = number_queries.layer_names(self._connection, layer_id, channels)
        return tuple(name_from_row(layer, row) for row in rows)

    def sample(self, unit: Unit | str) -> MaximaSample:
        """The maximum of a channel in each image of a random sample, or of all of a layer.

        A scan samples 128 images, or all if there are no more. They are the same for all channels,
        and in an order that has nothing to do with them.
        """
        find_ranking(self, Ranking.SAMPLE)
        layer, layer_id, channels = self._find_channels(unit)
        images = [row.image for row in rankings.sample_images(self._connection)]
        rows = rankings.channel_samples(self._connection, layer_id, channels)
        sample = sample_from_rows(layer, images, rows, channels=channels)
        return sample if as_unit(unit).channel is None else sample.channel(0)

    def top(
        self,
        layer: str,
        count: int = 9,
        *,
        ranked_by: str = "max",
        label: str | None = None,
        rules: str | None = None,
    ) -> tuple[tuple[Unit, Patch], ...]:
        """The best hits of a layer, over all channels, each with its unit.

        They are those with the highest scores, by `min` those with the lowest. `label` is a class,
        for the best hits in its images.
        """
        ranking = find_ranking(self, ranked_by, label)
        scanned = self.layer(layer)
        refuse_layer_sample(ranking, scanned.name, scanned.channels)
        rows = reader_queries.layer_plate(
            self._connection,
            self._layer_id(scanned),
            count,
            ranking=ranking,
            rules=rules or self.rules,
        )
        patches = patches_from_rows(scanned, rows, ranking.ranked_by, stored=format_of(self.meta))
        units = (
            Unit(scanned.name, row.channel, patch.position)
            for row, patch in zip(rows, patches, strict=True)
        )
        return tuple(zip(units, patches, strict=True))

    def hits(
        self,
        unit: Unit | str,
        count: int = 9,
        *,
        ranked_by: str = "max",
        label: str | None = None,
    ) -> tuple[HitRow, ...]:
        """The hits on the `plate` of a channel, or in the `top` of a layer, without pixels.

        `count` applies to a layer; a channel gives all its hits.
        """
        ranking = find_ranking(self, ranked_by, label)
        address = as_unit(unit)
        if address.channel is None:
            layer = self.layer(address.layer)
            refuse_layer_sample(ranking, layer.name, layer.channels)
            rows = reader_queries.layer_hits(
                self._connection, self._layer_id(layer), count, ranking=ranking
            )
        else:
            channel = self._find_channel(address)
            layer = channel.layer
            rows = reader_queries.channel_hits(
                self._connection, channel.layer_id, channel.number, ranking=ranking
            )
        return tuple(hit_from_row(layer, row) for row in rows)

    @property
    def rankings(self) -> tuple[str, ...]:
        """The rankings that there are. An atlas of an older retroscope lacks `min` and `sample`."""
        rankings = RankingFacts.from_meta(self.meta).rankings
        return tuple(ranking.value for ranking in Ranking if ranking in rankings)

    @property
    def ranked_classes(self) -> tuple[Label, ...]:
        """The classes whose best images there are for each channel, if scanned with `per_class`."""
        ranked = RankingFacts.from_meta(self.meta).labels
        return tuple(label for label in self.labels if label.id in ranked)

    def channel(self, unit: Unit | str) -> Unit:
        """The channel at this address, under its layer's own name."""
        return self._find_channel(unit).unit

    def __contains__(self, unit: object) -> bool:
        """Whether this is the address of a channel in the atlas, under any name of its layer."""
        if not isinstance(unit, str | Unit):
            return False
        try:
            self._find_channel(unit)
        except UnitError:
            return False
        return True

    def __iter__(self) -> Iterator[Unit]:
        for layer in self.layers:
            for channel in range(layer.channels):
                yield Unit(layer.name, channel)

    def __len__(self) -> int:
        return sum(layer.channels for layer in self.layers)

    def sql(
        self, query: str, *values: Value, max_seconds: float = MAX_QUERY_SECONDS
    ) -> list[tuple[Value, ...]]:
        """The rows that answer an SQL query; `?` stands for the values in turn.

        The query can only read this file, and is stopped after `max_seconds`.
        `docs/reference/atlas.md` explains the tables.
        """
        return self._connection.sql(query, *values, max_seconds=max_seconds)

    def __repr__(self) -> str:
        return f"<Atlas {self.path}: {len(self.layers)} layers, {len(self)} channels>"

    def _find_channel(self, unit: Unit | str) -> "_Channel":
        """The channel at this address; refuses addresses of anything else."""
        address = as_unit(unit)
        layer = self.layer(address.layer)
        if address.channel is None:
            raise UnitError(
                f"{address} is a whole layer; name one of its channels, {layer.name}:0 to "
                f"{layer.name}:{layer.channels - 1}"
            )
        if address.position is not None or address.whole_map:
            raise UnitError(
                f"an atlas holds channels, but {address} has a position; write "
                f"{layer.name}:{address.channel}"
            )
        unit = check_unit(address, layer)
        return _Channel(unit, layer, self._layer_id(layer), address.channel)

    def _find_channels(self, unit: Unit | str) -> tuple[Layer, int, range]:
        """A layer, its number in the file, and the channel of this address, or all of the layer."""
        address = as_unit(unit)
        if address.channel is None:
            layer = self.layer(address.layer)
            return layer, self._layer_id(layer), range(layer.channels)
        channel = self._find_channel(address)
        return channel.layer, channel.layer_id, range(channel.number, channel.number + 1)

    def _layer_id(self, layer: Layer) -> int:
        """The layer's number in the file."""
        return next(
            number for number, stored in self._layers_by_id().items() if stored.name == layer.name
        )

    def _layers_by_id(self) -> dict[int, Layer]:
        return self._from_cache("layers", self._read_layers)

    def _read_layers(self) -> dict[int, Layer]:
        rows = reader_queries.list_layers(self._connection)
        check_layers(rows)
        return {row.id: layer_from_row(row) for row in rows}

    def _from_cache(self, name: str, read: Callable[[], Cached]) -> Cached:
        """What was read before, unless the file has been written since."""
        version = self.file_version
        if version != self._cache_version:
            self._cache_version, self._cache = version, {}
        cache = self._cache
        if name not in cache:
            cache[name] = read()
        return cast(Cached, cache[name])


class _Channel(NamedTuple):
    """A channel of an atlas; `unit` has the module path of its layer, `layer_id` its number."""

    unit: Unit
    layer: Layer
    layer_id: int
    number: int
