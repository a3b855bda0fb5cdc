"""The rankings that a writer puts into an atlas: hits, the best images of classes, the sample."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice

from retroscope.atlas.database import WriteConnection
from retroscope.atlas.queries import reader_queries, writer_queries
from retroscope.atlas.queries.query import Row
from retroscope.atlas.queries.rankings import RankingFacts
from retroscope.atlas.queries.table_rows import (
    ClassHitRow,
    RankedHitRow,
    SampleImageRow,
    SampleRow,
)
from retroscope.atlas.queries.writer_queries import LayerNumberRow
from retroscope.atlas.row_encoding import Array, fact_rows, hit_rows, sample_rows
from retroscope.atlas.schema import DEFAULT_RANKINGS, Ranking

_ROWS_OF_STATEMENT = 64
"""Of eight columns, fewer values than SQLite has ever refused."""


class RankingWriter:
    """The part of an `AtlasWriter` that writes rankings.

    A ranking that is put, though without any hit, is one that the atlas has from then on.
    """

    def __init__(self, connection: WriteConnection) -> None:
        self._connection = connection
        self._layers: dict[str, LayerNumberRow] = {}
        self._ranking_facts: RankingFacts | None = None

    def put_hits(
        self, layer: str, ranked_by: str, scores: Array, *, images: Array, ys: Array, xs: Array
    ) -> None:
        """The hits of a layer in one ranking, replacing the previous ones: all (channels, ranks).

        The best hit comes first: that with the highest score, of `min` that with the lowest, and
        of `sample` those at `SAMPLE_QUANTILES` in their order, then the random one. A slot whose
        image is below 0 is empty.
        """
        stored, ranking = self._layer(layer), Ranking(ranked_by)
        assert len(scores) == stored.channels
        self._connection.write(writer_queries.DELETE_HITS, [(stored.id, ranking.value)])
        rows = hit_rows(stored.id, ranking.value, scores, images=images, positions=(ys, xs))
        self._upsert_many("hits", RankedHitRow._fields, rows)
        if ranking not in DEFAULT_RANKINGS:
            self._put_facts(self._facts().with_ranking(ranking))

    def put_class_hits(
        self, layer: str, label: int, scores: Array, *, images: Array, ys: Array, xs: Array
    ) -> None:
        """The images of a class with the highest maxima, as `put_hits` takes hits of all images."""
        stored = self._layer(layer)
        assert len(scores) == stored.channels
        self._connection.write(writer_queries.DELETE_CLASS_HITS, [(stored.id, label)])
        rows = hit_rows(stored.id, label, scores, images=images, positions=(ys, xs))
        self._upsert_many("class_hits", ClassHitRow._fields, rows)
        self._put_facts(self._facts().with_class(label, scores.shape[1]))

    def put_sample_images(self, images: Sequence[int], hashes: Sequence[int]) -> None:
        """The images of the sample, replacing the previous ones, and their signed 64-bit hashes."""
        self._connection.write(writer_queries.DELETE_SAMPLE_IMAGES, [()])
        rows = zip(map(int, images), map(int, hashes), strict=True)
        self._upsert("sample_images", SampleImageRow._fields, rows)

    def put_sample(self, layer: str, scores: Array, positions: Array) -> None:
        """The maxima of a layer in the images of the sample, and the first places of them.

        Both are (channels, images), in the order of the images' (hash, number). A place is
        y * width + x. A maximum is NaN, and its place -1, if no value of the map is finite.
        """
        stored = self._layer(layer)
        assert len(scores) == len(positions) == stored.channels
        rows = sample_rows(stored.id, scores, positions)
        self._upsert("samples", SampleRow._fields, rows)
        self._put_facts(self._facts().with_ranking(Ranking.SAMPLE))

    @contextmanager
    def rebuild_hit_index(self) -> Iterator[None]:
        """Hits put inside get their index by image at the end, which is faster for many."""
        self._connection.sql(writer_queries.DROP_HIT_INDEX)
        yield
        self._connection.sql(writer_queries.CREATE_HIT_INDEX)

    def _facts(self) -> RankingFacts:
        if self._ranking_facts is None:
            meta = reader_queries.read_facts(self._connection)
            self._ranking_facts = RankingFacts.from_meta(meta)
        return self._ranking_facts

    def _put_facts(self, facts: RankingFacts) -> None:
        """Records which rankings there are, if that is new."""
        if facts != self._ranking_facts:
            self._connection.write(writer_queries.UPSERT_FACT, fact_rows(facts.to_meta()))
            self._ranking_facts = facts

    def _forget(self) -> None:
        """Drops what was read of the file, which a rollback may have changed."""
        self._layers, self._ranking_facts = {}, None

    def _upsert(self, table: str, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
        self._connection.write(writer_queries.upsert(table, columns), rows)

    def _upsert_many(self, table: str, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
        """The same for small rows: a statement for each of them takes longer than to insert it."""
        cells = chain.from_iterable(rows)
        while batch := tuple(islice(cells, _ROWS_OF_STATEMENT * len(columns))):
            statement = writer_queries.upsert(table, columns, len(batch) // len(columns))
            self._connection.write(statement, [batch])

    def _layer(self, name: str) -> LayerNumberRow:
        return self._layers_by_name()[name]

    def _layers_by_name(self) -> dict[str, LayerNumberRow]:
        if not self._layers:
            self._layers = writer_queries.layer_numbers(self._connection)
        return self._layers
