"""Which rankings an atlas has, and where their hits are: in table `hits` or `class_hits`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic

from retroscope.atlas.queries.query import Query, RowType, SqlSource, damaged_error, has_table
from retroscope.atlas.queries.table_rows import SampleImageRow, SampleRow
from retroscope.atlas.schema import DEFAULT_RANKINGS, Json, Ranking

_RANKINGS, _CLASS_RANKINGS = "rankings", "class_rankings"
"""The facts in table `meta`."""


@dataclass(frozen=True)
class HitRanking:
    """The hits of all images in a ranking, or those of the images of a class, by maximum."""

    ranked_by: Ranking = Ranking.MAX
    label: int | None = None

    @property
    def rows(self) -> str:
        """The hits in SQL: what follows FROM, with a condition that can be continued."""
        if self.label is None:
            return f"hits WHERE hits.ranked_by = '{self.ranked_by}'"
        return f"class_hits AS hits WHERE hits.label = {self.label:d}"

    @property
    def order(self) -> str:
        """The best hits first, over all channels."""
        score = "hits.score" if self.ranked_by == Ranking.MIN else "hits.score DESC"
        return f"{score}, hits.image, hits.channel"

    @property
    def best(self) -> str:
        """The function that gives the best of several scores."""
        return "min" if self.ranked_by == Ranking.MIN else "max"

    @property
    def is_activation(self) -> str:
        """The condition that the score of a hit is the activation at its position."""
        return "0" if self.ranked_by == Ranking.MEAN else "1"


_NAMES = ", ".join(f"'{ranking}'" for ranking in DEFAULT_RANKINGS)


class DefaultRankings:
    """The hits that are projected unless others are asked for: those by maximum and by mean."""

    rows = f"hits WHERE hits.ranked_by IN ({_NAMES})"
    order = HitRanking().order
    best = HitRanking().best
    is_activation = f"hits.ranked_by <> '{Ranking.MEAN}'"


AnyRanking = HitRanking | DefaultRankings


@dataclass(frozen=True)
class RankedQuery(Generic[RowType]):
    """A query of hits in any ranking: its text has `{rows}`, `{order}` and so on of a ranking."""

    row: Callable[..., RowType]
    text: str

    def of(self, ranking: AnyRanking) -> Query[RowType]:
        """The query of a ranking."""
        names = ("rows", "order", "best", "is_activation")
        return Query(self.row, self.text.format(**{name: getattr(ranking, name) for name in names}))


@dataclass(frozen=True)
class RankingFacts:
    """Which rankings an atlas has, and of which classes it has the best `per_class` images.

    An atlas of an older retroscope does not say; it has the rankings that every atlas has.
    """

    rankings: frozenset[Ranking] = frozenset(DEFAULT_RANKINGS)
    labels: frozenset[int] = frozenset()
    per_class: int = 0

    @classmethod
    def from_meta(cls, meta: Mapping[str, Json]) -> "RankingFacts":
        return cls(_read_rankings(meta.get(_RANKINGS, [])), *_read_classes(meta))

    def to_meta(self) -> dict[str, Json]:
        names = [str(ranking) for ranking in Ranking if ranking in self.rankings]
        facts: dict[str, Json] = {_RANKINGS: list(names)}
        if self.labels:
            labels: list[Json] = [*sorted(self.labels)]
            facts[_CLASS_RANKINGS] = {"per_class": self.per_class, "labels": labels}
        return facts

    def with_ranking(self, ranking: Ranking) -> "RankingFacts":
        """These facts of an atlas to which a ranking is added."""
        return replace(self, rankings=self.rankings | {ranking})

    def with_class(self, label: int, per_class: int) -> "RankingFacts":
        """These facts of an atlas to which the best images of a class are added."""
        most = max(self.per_class, per_class)
        return replace(self, labels=self.labels | {label}, per_class=most)


def _read_rankings(names: Json) -> frozenset[Ranking]:
    known = {str(ranking): ranking for ranking in Ranking}
    if not isinstance(names, list) or not all(
        isinstance(name, str) and name in known for name in names
    ):
        raise damaged_error(f"its rankings are {names!r}")
    return frozenset({*DEFAULT_RANKINGS, *(known[str(name)] for name in names)})


def _read_classes(meta: Mapping[str, Json]) -> tuple[frozenset[int], int]:
    """The classes, and how many images of each."""
    fact = meta.get(_CLASS_RANKINGS)
    if fact is None:
        return frozenset(), 0
    labels = fact.get("labels") if isinstance(fact, dict) else None
    per_class = fact.get("per_class") if isinstance(fact, dict) else None
    if not isinstance(labels, list) or not isinstance(per_class, int):
        raise damaged_error(f"its rankings of classes are {fact!r}")
    return frozenset(label for label in labels if isinstance(label, int)), per_class


_SAMPLE_IMAGES = Query(SampleImageRow, "SELECT image, hash FROM sample_images ORDER BY hash, image")
_SAMPLES = Query(
    SampleRow,
    """
    SELECT layer, channel, scores, positions FROM samples
    WHERE layer = ? AND channel BETWEEN ? AND ? ORDER BY channel""",
)


def sample_images(source: SqlSource) -> list[SampleImageRow]:
    """The images of the sample, in the order of their hashes; none in an older atlas."""
    return _SAMPLE_IMAGES(source) if has_table(source, "sample_images") else []


def channel_samples(source: SqlSource, layer: int, channels: range) -> list[SampleRow]:
    """The maxima of consecutive channels in the images of the sample."""
    return _SAMPLES(source, layer, channels.start, channels.stop - 1)
