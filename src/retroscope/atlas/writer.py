"""Writing an atlas: every change is inside a transaction, so a kill loses only the last one.

The journal is SQLite's rollback journal: between transactions there is one file and nothing
beside it. A write-ahead log would leave two more files after a kill, does not work on a shared
network disk, and cannot be read in a read-only folder. The price is that readers wait while a
transaction is written to the disk.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from retroscope.atlas.database import TIMEOUT, WriteConnection, encode_text
from retroscope.atlas.queries import (
    image_queries,
    number_queries,
    reader_queries,
    writer_queries,
)
from retroscope.atlas.queries.rankings import DefaultRankings, HitRanking
from retroscope.atlas.queries.table_rows import (
    ClassStatsRow,
    GraphRow,
    LayerRow,
    NameRow,
    NumberRow,
    PatternRow,
    ProjectionRow,
    StoredImageRow,
)
from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.atlas.ranking_writer import RankingWriter
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.row_encoding import (
    Array,
    channel_columns,
    channel_rows,
    class_stats_rows,
    fact_rows,
    graph_row,
    image_rows,
    label_rows,
    layer_row,
    name_row,
    number_row,
    pattern_row,
    projection_row,
    stored_image_row,
)
from retroscope.atlas.schema import AtlasError, ImageStatus, Json
from retroscope.atlas.sqlite_errors import quote_path
from retroscope.imaging.decoding import RGB
from retroscope.results.layers import GraphStep, Layer
from retroscope.results.patterns import Pattern
from retroscope.results.projections import Projection
from retroscope.results.slice_stacks import from_stack
from retroscope.results.unit_numbers import UnitName, UnitNumber


@dataclass(frozen=True)
class MissingProjection:
    """A hit without a projection. `score` is its activation, None if it is a hit by mean alone.

    `rank` is that of the ranking by maximum; of a hit by mean alone, that by mean. `y` and `x` are
    those of the stack of a volume's slices; `map_size` is that of the layer's maps, and may be left
    out for images.
    """

    layer: str
    channel: int
    image: int
    y: int
    x: int
    score: float | None
    rank: int
    map_size: tuple[int, ...] = field(default=(), compare=False)

    @property
    def position(self) -> tuple[int, ...]:
        """Where the unit is in its map."""
        return from_stack(self.y, self.x, self.map_size)


class AtlasWriter(RankingWriter):
    """An atlas open for writing: created if it does not exist, continued if it does.

    `restart` empties it. `is_new` says that it holds nothing yet. Another writer of the same file
    is refused until this one is closed.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, AtlasWriter(Path(folder, "a.atlas")) as writer:
    ...     with writer.transaction():
    ...         writer.put_meta({"model": "vgg16"})
    ...     writer.meta["model"]
    'vgg16'
    """

    def __init__(
        self, path: str | Path, *, restart: bool = False, timeout: float = TIMEOUT
    ) -> None:
        self.path = Path(path)
        super().__init__(WriteConnection(self.path, restart=restart, timeout=timeout))
        self.is_new = self._connection.is_new
        self._created = writer_queries.creation_time(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file and removes its journal; an open transaction is rolled back."""
        self._connection.close()

    def discard(self) -> None:
        """Closes the file and deletes it."""
        self._connection.discard()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything put inside is saved together, or not at all."""
        try:
            with self._connection.transaction():
                self._check_is_same_scan()
                yield
        except BaseException:
            self._forget()
            raise

    def compact(self) -> None:
        """Gives the space of deleted rows back to the disk; not inside a transaction."""
        self._connection.return_free_space()

    @property
    def meta(self) -> dict[str, Json]:
        """Facts about the scan."""
        return reader_queries.read_facts(self._connection)

    def put_meta(self, facts: Mapping[str, Json]) -> None:
        """Facts about the scan, replacing those with the same keys. `created` is set on opening."""
        assert "created" not in facts
        self._connection.write(writer_queries.UPSERT_FACT, fact_rows(facts))

    def delete_meta(self, *keys: str) -> None:
        """Deletes facts about the scan."""
        self._connection.write(writer_queries.DELETE_FACT, ((key,) for key in keys))

    def put_layers(self, layers: Sequence[Layer]) -> None:
        """The layers of the scan, numbered from 0."""
        rows = (layer_row(number, layer) for number, layer in enumerate(layers))
        self._upsert("layers", LayerRow._fields, rows)
        self._forget()

    def put_graph(self, graph: Iterable[GraphStep]) -> None:
        """Which layers read which, in running order."""
        self._upsert("graph", GraphRow._fields, map(graph_row, graph))

    def put_labels(self, names: Sequence[str], images: Sequence[int]) -> None:
        """The classes, numbered from 0, and how many images each has."""
        rows = zip(range(len(names)), map(encode_text, names), images, strict=True)
        self._connection.write(writer_queries.INSERT_LABEL, rows)

    def put_images(
        self,
        keys: Sequence[str],
        labels: Sequence[int] = (),
        names: Sequence[str] = (),
        *,
        first: int = 0,
    ) -> None:
        """The list of images, numbered from `first`, all pending.

        A label is an index of `names`, or -1; without classes the list of labels is empty. Without
        `names`, the classes are those that `put_labels` has put.
        """
        self._connection.write(writer_queries.INSERT_LABEL, label_rows(names, labels))
        self._connection.write(writer_queries.INSERT_IMAGE, image_rows(keys, labels, first=first))

    def mark_read(self, images: Iterable[int]) -> None:
        """Marks images that the scan has read."""
        rows = ((ImageStatus.OK, image, ImageStatus.PENDING) for image in images)
        self._connection.write(writer_queries.SET_STATUS, rows)

    def mark_unreadable(self, image: int, error: str) -> None:
        """Marks an image that cannot be read, and why; its class has one image less."""
        status = ImageStatus.UNREADABLE
        self._connection.write(writer_queries.COUNT_DOWN_LABEL, [(image, status)])
        self._connection.write(writer_queries.SET_ERROR, [(status, encode_text(error), image)])

    def put_image_files(self, files: Iterable[ImageFileRow]) -> None:
        """The files of images as they were read."""
        self._upsert("image_files", ImageFileRow._fields, files)

    def image_files(self, images: Sequence[int]) -> list[ImageFileRow]:
        """The recorded files among these images, by number; those of a data set have none."""
        return writer_queries.image_files(self._connection, images)

    def put_state(self, parts: Mapping[str, bytes]) -> None:
        """Parts of the scan's state, replacing those with the same keys; each below a gigabyte."""
        self._connection.write(writer_queries.UPSERT_STATE, parts.items())

    def state(self) -> dict[str, bytes]:
        """The state of an unfinished scan, by part."""
        return writer_queries.read_state(self._connection)

    def clear_state(self) -> None:
        """Deletes the state of a finished scan. Call `compact` afterwards to free the space."""
        self._connection.write(writer_queries.DELETE_STATE, [()])

    def put_channels(self, layer: str, arrays: Mapping[str, Array]) -> None:
        """The statistics of a layer: an array (channels) or a scalar for each column.

        `histogram` is (channels, 64); `top_label` is optional, with -1 for no class.
        """
        stored = self._layer(layer)
        rows = channel_rows(stored.id, stored.channels, arrays)
        self._upsert("channels", channel_columns(), rows)

    def put_class_stats(self, layer: str, mean_maximum: Array, fired_share: Array) -> None:
        """How the channels of a layer respond to each class: both (labels, channels)."""
        stored = self._layer(layer)
        assert mean_maximum.shape[1] == fired_share.shape[1] == stored.channels
        rows = class_stats_rows(stored.id, mean_maximum, fired_share)
        self._upsert("class_stats", ClassStatsRow._fields, rows)

    def put_image_pixels(self, image: int, pixels: RGB) -> None:
        """An image among the hits, at the size of the network's input."""
        self.put_stored_images([stored_image_row(image, pixels)])

    def put_stored_images(self, rows: Iterable[StoredImageRow]) -> None:
        """Images among the hits, as `stored_image_row` encodes them in any thread."""
        self._upsert("winner_pictures", StoredImageRow._fields, rows)

    def delete_stored_images(self, images: Iterable[int]) -> None:
        """Deletes images that are no hits any more."""
        rows = ((image,) for image in images)
        self._connection.write(writer_queries.DELETE_STORED_IMAGE, rows)

    def delete_images_without_hits(self) -> None:
        """Deletes stored images that are neither among the hits nor in the sample."""
        self._connection.write(writer_queries.DELETE_IMAGES_WITHOUT_HITS, [()])

    def put_projection(self, image: int, projection: Projection) -> None:
        """A projection of a unit that has a channel and a position."""
        self.put_projections([self.encode_projection(image, projection)])

    def put_projections(self, rows: Iterable[ProjectionRow]) -> None:
        """Projections, as `encode_projection` encodes them in any thread."""
        self._upsert("projections", ProjectionRow._fields, rows)

    def put_projection_rows(self, layer: str, rows: Iterable[ProjectionRow]) -> None:
        """Projections of a layer as another atlas stores them."""
        number = self._layer(layer).id
        self.put_projections(row._replace(layer=number) for row in rows)

    def put_pattern_rows(self, layer: str, rows: Iterable[PatternRow]) -> None:
        """Patterns of a layer as another atlas stores them."""
        number = self._layer(layer).id
        stored = (row._replace(layer=number) for row in rows)
        self._upsert("patterns", PatternRow._fields, stored)

    def encode_projection(self, image: int, projection: Projection) -> ProjectionRow:
        """The row of a projection of a unit that has a channel and a position."""
        layer = self._layer(projection.unit.layer)
        return projection_row(layer.id, image, projection, map_size=layer.map_size)

    def put_pattern(self, pattern: Pattern) -> None:
        """A pattern of a channel, replacing one by the same recipe."""
        assert pattern.unit is not None
        row = pattern_row(self._layer(pattern.unit.layer).id, pattern)
        self._upsert("patterns", PatternRow._fields, [row])

    def channels_without_pattern(
        self, layer: str, recipe: str, *, seed: int, steps: int
    ) -> list[int]:
        """The channels of a layer that have no pattern with this recipe, seed and steps."""
        return writer_queries.channels_without_pattern(
            self._connection, self._layer(layer), recipe, seed=seed, steps=steps
        )

    def put_numbers(self, numbers: Iterable[UnitNumber]) -> None:
        """Numbers of channels, replacing those of the same name."""
        rows = (number_row(self._layer(number.unit.layer).id, number) for number in numbers)
        self._upsert("numbers", NumberRow._fields, rows)

    def put_names(self, names: Iterable[UnitName]) -> None:
        """Names of channels, replacing those of the same source."""
        rows = (name_row(self._layer(name.unit.layer).id, name) for name in names)
        self._upsert("names", NameRow._fields, rows)

    def delete_names(self, source: str, layer: str | None = None) -> None:
        """Deletes the names from a source, of a layer or of all."""
        if layer is None:
            self._connection.write(number_queries.DELETE_NAME_SOURCE, [(source,)])
        else:
            row = (self._layer(layer).id, source)
            self._connection.write(number_queries.DELETE_NAMES, [row])

    def channels_with_number(self, layer: str, name: str, basis: str) -> set[int]:
        """The channels of a layer that have this number, computed from this basis."""
        layer_id = self._layer(layer).id
        return number_queries.channels_with_number(self._connection, layer_id, name, basis)

    def stored_images(self) -> list[int]:
        """The images that are stored."""
        return image_queries.stored_images(self._connection)

    def images_without_pixels(self) -> list[int]:
        """The images among the hits, and those of the sample, that are not stored yet."""
        return writer_queries.images_without_pixels(self._connection)

    def missing_projections(
        self,
        layer: str | None = None,
        *,
        limit: int | None = None,
        ranks: int | None = None,
        ranking: HitRanking | None = None,
        rules: str,
    ) -> Iterator[MissingProjection]:
        """The hits of a ranking that have no projection, each position once.

        By default they are those by maximum and by mean. They come layer by layer in running
        order, and image by image in each. `limit` is for all layers together, `ranks` for each
        ranking of each channel.
        """
        remaining = limit
        for name in [layer] if layer is not None else list(self._layers_by_name()):
            stored = self._layer(name)
            rows = writer_queries.missing_projections(
                self._connection,
                stored.id,
                ranking=ranking or DefaultRankings(),
                ranks=ranks,
                rules=rules,
                limit=remaining,
            )
            if remaining is not None:
                remaining -= len(rows)
            for row in rows:
                yield MissingProjection(name, *row, map_size=stored.map_size)

    def _check_is_same_scan(self) -> None:
        """Refuses to write if another process has restarted the scan of this file."""
        if writer_queries.creation_time(self._connection) != self._created:
            raise AtlasError(
                f"another process has restarted the scan into {quote_path(self.path)}; let it "
                "finish, then run the same again"
            )


@contextmanager
def extend_atlas(path: str | Path) -> Iterator[tuple[Atlas, AtlasWriter]]:
    """An existing atlas, open for reading and writing: no other writer changes what is read."""
    open_atlas(path).close()  # a writer would create a missing file
    with AtlasWriter(path) as writer, open_atlas(path) as atlas:
        yield atlas, writer
