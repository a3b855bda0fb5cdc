"""Writing an atlas: every change inside a transaction, so that a kill loses only the last one.

The journal is SQLite's rollback journal: between transactions there is one file and nothing
beside it. A write-ahead log would leave two more files after a kill, does not work on a shared
network disk, and cannot be read in a folder that is read-only. The price is that readers wait
while a transaction is written out.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from retroscope.atlas.database import PATIENCE, Row, as_text
from retroscope.atlas.opening import open_for_writing
from retroscope.atlas.packing import (
    Array,
    channel_rows,
    class_rows,
    hit_rows,
    image_rows,
    label_rows,
    projection_row,
)
from retroscope.atlas.pattern_rows import COLUMNS, MISSING, pattern_row
from retroscope.atlas.pictures import encode_picture
from retroscope.atlas.rows import layer_row
from retroscope.atlas.schema import OK, PENDING, RANKINGS, UNREADABLE, AtlasError, Json
from retroscope.atlas.sqlite_errors import explained, named
from retroscope.results.values import Layer, Pattern, Picture, Projection

_MISSING = """
    SELECT channel, image, y, x, max(CASE ranked_by WHEN 'max' THEN score END)
    FROM hits
    WHERE layer = ? AND rank < ? AND NOT EXISTS (
        SELECT 1 FROM projections
        WHERE projections.layer = hits.layer AND projections.channel = hits.channel
            AND projections.image = hits.image AND projections.y = hits.y
            AND projections.x = hits.x AND projections.rules = ?)
    GROUP BY image, channel, y, x
    ORDER BY image, channel, y, x
    LIMIT ?"""
_MISSING_PICTURES = """
    SELECT DISTINCT image FROM hits
    WHERE NOT EXISTS (SELECT 1 FROM winner_pictures WHERE winner_pictures.image = hits.image)
    ORDER BY image"""
_ALL = 2**62


@dataclass(frozen=True)
class Hit:
    """A place that excites a channel. `score` is its activation, where it was ranked by that."""

    layer: str
    channel: int
    image: int
    y: int
    x: int
    score: float | None


class AtlasWriter:
    """An atlas open for writing: made where there is none, gone on with where there is one.

    `restart` empties it. `is_new` says that nothing is kept in it yet.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, AtlasWriter(Path(folder, "a.atlas")) as writer:
    ...     with writer.transaction():
    ...         writer.put_meta({"model": "vgg16"})
    ...     writer.meta["model"]
    'vgg16'
    """

    def __init__(
        self, path: str | Path, *, restart: bool = False, patience: float = PATIENCE
    ) -> None:
        self.path = Path(path)
        self._connection, self.is_new = open_for_writing(
            self.path, restart=restart, patience=patience
        )
        self._layers: dict[str, tuple[int, int]] = {}
        self._created = self._stamp()

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
        """Closes the file, which is then the only one; an open transaction is rolled back."""
        self._connection.close()

    def discard(self) -> None:
        """Closes the file and deletes it."""
        self.close()
        self.path.unlink(missing_ok=True)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is put inside is kept together, or nothing of it."""
        with explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._refuse_other_scan()
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._layers = {}
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def compact(self) -> None:
        """Gives the room of what was deleted back to the disk. Outside of transactions."""
        with explained(self.path):
            self._connection.executescript("PRAGMA incremental_vacuum")

    @property
    def meta(self) -> dict[str, Json]:
        """What has been put down about the scan."""
        return {key: json.loads(value) for key, value in self._ask("SELECT key, value FROM meta")}

    def put_meta(self, facts: Mapping[str, Json]) -> None:
        """Facts about the scan, over those of the same keys. `created` is the writer's own."""
        assert "created" not in facts
        rows = ((key, json.dumps(fact, allow_nan=False)) for key, fact in facts.items())
        self._put("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def put_layers(self, layers: Sequence[Layer]) -> None:
        """The layers of the scan, numbered from 0."""
        rows = (layer_row(number, layer) for number, layer in enumerate(layers))
        self._put_whole("layers", 17, rows)
        self._layers = {}

    def put_images(
        self, keys: Sequence[str], labels: Sequence[int] = (), names: Sequence[str] = ()
    ) -> None:
        """The list of images, numbered from 0, all pending.

        A label is a place in `names`, or -1; there may be none at all.
        """
        self._put("INSERT INTO labels VALUES (?, CAST(? AS TEXT), ?)", label_rows(names, labels))
        self._put(
            "INSERT INTO images VALUES (?, CAST(? AS TEXT), ?, ?, NULL)", image_rows(keys, labels)
        )

    def mark_read(self, images: Iterable[int]) -> None:
        """The scan has seen these images."""
        rows = ((OK, image, PENDING) for image in images)
        self._put("UPDATE images SET status = ? WHERE id = ? AND status = ?", rows)

    def mark_unreadable(self, image: int, error: str) -> None:
        """This image cannot be read, and why; its class has one image less."""
        self._put(
            "UPDATE labels SET images = images - 1 "
            "WHERE id = (SELECT label FROM images WHERE id = ? AND status <> ?)",
            [(image, UNREADABLE)],
        )
        self._put(
            "UPDATE images SET status = ?, error = CAST(? AS TEXT) WHERE id = ?",
            [(UNREADABLE, as_text(error), image)],
        )

    def put_state(self, parts: Mapping[str, bytes]) -> None:
        """Parts of the running state, over those of the same keys; each is under a gigabyte."""
        self._put_whole("state", 2, parts.items())

    def state(self) -> dict[str, bytes]:
        """The running state of a scan that is not finished, by part."""
        return dict(self._ask("SELECT key, value FROM state"))

    def clear_state(self) -> None:
        """The scan is finished. `compact` gives the room back afterwards."""
        self._put("DELETE FROM state", [()])

    def put_channels(self, layer: str, arrays: Mapping[str, Array]) -> None:
        """The statistics of a layer: an array (channels) or a scalar for each number's column.

        `histogram` is (channels, 64); `top_label` may be left out, and is -1 for none.
        """
        self._put_whole("channels", 13, channel_rows(*self._layer(layer), arrays))

    def put_hits(
        self, layer: str, ranked_by: str, scores: Array, *, images: Array, ys: Array, xs: Array
    ) -> None:
        """The hits of a layer in one ranking, in place of those before: all (channels, ranks).

        The strongest comes first; a slot whose image is below 0 is empty.
        """
        number, count = self._layer(layer)
        assert ranked_by in RANKINGS
        assert len(scores) == count
        self._put("DELETE FROM hits WHERE layer = ? AND ranked_by = ?", [(number, ranked_by)])
        rows = hit_rows(number, ranked_by, scores, images=images, places=(ys, xs))
        self._put_whole("hits", 8, rows)

    def put_class_stats(self, layer: str, mean_maximum: Array, fired_share: Array) -> None:
        """How the channels of a layer respond to each class: both (labels, channels)."""
        number, count = self._layer(layer)
        assert mean_maximum.shape[1] == fired_share.shape[1] == count
        self._put_whole("class_stats", 4, class_rows(number, mean_maximum, fired_share))

    def put_winner_picture(self, image: int, picture: Picture) -> None:
        """An image among the hits, at the size that the network took."""
        self._put_whole("winner_pictures", 2, [(image, encode_picture(picture))])

    def put_projection(self, image: int, projection: Projection) -> None:
        """What in an image made a unit fire; the unit has a channel and a position."""
        number, _ = self._layer(projection.unit.layer)
        self._put_whole("projections", 13, [projection_row(number, image, projection)])

    def put_pattern(self, pattern: Pattern) -> None:
        """What a channel would most like to see, in place of one by the same recipe."""
        assert pattern.unit is not None
        number, _ = self._layer(pattern.unit.layer)
        self._put_whole("patterns", COLUMNS, [pattern_row(number, pattern)])

    def missing_patterns(self, layer: str, recipe: str, *, seed: int, steps: int) -> list[int]:
        """The channels of a layer that have no such pattern yet."""
        number, channels = self._layer(layer)
        found = self._ask(MISSING, channels, number, recipe, seed, steps)
        return [channel for (channel,) in found]

    def missing_pictures(self) -> list[int]:
        """The images among the hits whose picture is not kept yet."""
        return [image for (image,) in self._ask(_MISSING_PICTURES)]

    def missing_projections(
        self,
        layer: str | None = None,
        *,
        limit: int | None = None,
        ranks: int | None = None,
        rules: str = "deconvnet",
    ) -> Iterator[Hit]:
        """The hits of both rankings that have no projection, each place once.

        Layer by layer in running order, and image by image in each. `limit` is for all together,
        `ranks` for each ranking of each channel.
        """
        left = _ALL if limit is None else limit
        wanted = [layer] if layer is not None else list(self._known_layers())
        for name in wanted:
            number, _ = self._layer(name)
            found = self._ask(_MISSING, number, _ALL if ranks is None else ranks, rules, left)
            left -= len(found)
            yield from (Hit(name, *row) for row in found)

    def _ask(self, query: str, *values: object) -> list[Row]:
        with explained(self.path):
            return self._connection.execute(query, values).fetchall()

    def _put(self, statement: str, rows: Iterable[Row]) -> None:
        assert self._connection.in_transaction, "an atlas is written inside writer.transaction()"
        with explained(self.path):
            self._connection.executemany(statement, rows)

    def _put_whole(self, table: str, columns: int, rows: Iterable[Row]) -> None:
        """Rows of all columns, over those of the same key."""
        marks = ", ".join("?" * columns)
        self._put(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608

    def _layer(self, name: str) -> tuple[int, int]:
        """A layer's number in the file, and how many channels it has."""
        return self._known_layers()[name]

    def _known_layers(self) -> dict[str, tuple[int, int]]:
        if not self._layers:
            rows = self._ask("SELECT name, id, channels FROM layers ORDER BY step, id")
            self._layers = {name: (number, channels) for name, number, channels in rows}
        return self._layers

    def _refuse_other_scan(self) -> None:
        """Raises where somebody has started the scan of this file afresh in the meantime."""
        if self._stamp() != self._created:
            raise AtlasError(
                f"another process has started {named(self.path)} afresh; let it finish, then run "
                "this again"
            )

    def _stamp(self) -> list[Row]:
        """When the scan was begun, which tells it from any other."""
        return self._ask("SELECT value FROM meta WHERE key = 'created'")
