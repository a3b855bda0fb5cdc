"""All channels of a layer that a site shows, with the columns they are sorted and filtered by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

from retroscope.atlas.excerpt import listed_channels
from retroscope.atlas.queries import channel_queries, number_queries
from retroscope.atlas.queries.channel_queries import ChannelRow, FirstHitRow
from retroscope.atlas.queries.reader_queries import Label
from retroscope.atlas.reader import Atlas
from retroscope.atlas.schema import Ranking
from retroscope.results.json_numbers import number_json
from retroscope.results.layers import Layer
from retroscope.results.unit_numbers import NUMBERS
from retroscope.web.site.channel_metrics import class_selectivity, decode_class_means
from retroscope.web.site.pages.plate_facts import views_of_hits
from retroscope.web.site.site import Facts, Site

Values = tuple[float | None, ...]
SCORE = "score"
"""The column of scores, which depends on what the channels are ranked by."""


@dataclass(frozen=True)
class Column:
    """A value of each listed channel of a layer, in order, with four digits; None if undefined.

    `chance` is the median of the levels that chance alone reaches, and `subject` what the value is
    a property of; statistics have neither.
    """

    name: str
    title: str
    doc: str
    values: Values
    chance: float | None = None
    subject: str = ""


@dataclass(frozen=True, eq=False)
class LayerTable:
    """A row for each listed channel of a layer, and the columns of their values by name.

    `scores` has the column of scores for each ranking.
    """

    rows: tuple[Facts, ...]
    columns: Mapping[str, Column]
    scores: Mapping[Ranking, Column]

    @property
    def rankings(self) -> tuple[Ranking, ...]:
        """The rankings that the atlas has."""
        return tuple(self.scores)

    def ranked_by(self, ranking: Ranking) -> Mapping[str, Column]:
        """All columns, with the scores of one ranking."""
        return {SCORE: self.scores[ranking], **self.columns}


@dataclass(frozen=True)
class _StatisticColumn:
    name: str
    title: str
    doc: str
    read: Callable[[ChannelRow], float | None]


_STATISTICS = (
    _StatisticColumn(
        "fired",
        "firing rate",
        "share of the images with a value above zero",
        lambda row: _share(row.fired_images, row.images),
    ),
    _StatisticColumn(
        "positions",
        "firing positions",
        "share of all positions of all images with a value above zero",
        lambda row: _share(row.fired_positions, row.positions),
    ),
    _StatisticColumn(
        "average", "mean", "mean over all positions of all images", lambda row: row.mean
    ),
    _StatisticColumn(
        "std",
        "standard deviation",
        "standard deviation over all positions of all images",
        lambda row: row.std,
    ),
    _StatisticColumn(
        "lowest", "minimum", "the lowest value of all images", lambda row: row.minimum
    ),
)
_SELECTIVITY_DOC = (
    "(a - b) / (a + b), where a is the mean maximum over the images of the strongest class, b over "
    "those of the others"
)
_SCORE_DOCS = {
    Ranking.MAX: "the highest value of all images",
    Ranking.MEAN: "the highest mean of a map",
    Ranking.MIN: "the lowest value of all images",
    Ranking.SAMPLE: "the maximum in the image at the quantile 0.99 of a random sample",
}


def read_layer_table(site: Site, layer: Layer) -> LayerTable:
    """The table of a layer; read once for the page and the scripts of one version of the file."""
    return _cached_table(site.atlas, layer.name, site.atlas.file_version)


@lru_cache(maxsize=4)
def _cached_table(atlas: Atlas, name: str, _version: int) -> LayerTable:
    layer = atlas.layer(name)
    channels, rankings = listed_channels(atlas, layer), tuple(map(Ranking, atlas.rankings))
    span = range(channels[0], channels[-1] + 1) if channels else range(0)
    listed = frozenset(channels)
    summaries = [
        row
        for row in channel_queries.channel_summaries(atlas, layer, span)
        if row.channel in listed
    ]
    selectivity = _selectivity(atlas, layer, span)
    rows = _rows(atlas, layer, span, summaries=summaries, selectivity=selectivity)
    columns = [
        *(_statistic(column, summaries) for column in _STATISTICS),
        *_class_columns(summaries, selectivity),
        *_numbers(atlas, layer, [row.channel for row in summaries]),
    ]
    return LayerTable(
        tuple(rows),
        {column.name: column for column in columns},
        {ranking: _score_column(ranking, rows) for ranking in rankings},
    )


def _rows(
    atlas: Atlas,
    layer: Layer,
    span: range,
    *,
    summaries: Sequence[ChannelRow],
    selectivity: Mapping[int, float | None],
) -> list[Facts]:
    """What the page of a layer shows of each channel."""
    labels = {label.id: label.name for label in atlas.labels}
    pattern_channels = channel_queries.channels_with_pattern(atlas, layer)
    first_hits = {
        ranking: channel_queries.first_hits(atlas, layer, span, ranked_by=ranking)
        for ranking in map(Ranking, atlas.rankings)
    }
    contrasts = channel_queries.channels_with_rules(atlas, layer, "contrast", channels=span)
    views = {ranking: views_of_hits(hits, contrasts) for ranking, hits in first_hits.items()}
    return [
        {
            "channel": row.channel,
            "maximum": row.maximum,
            "scores": {
                ranking: _score(hits.get(row.channel)) for ranking, hits in first_hits.items()
            },
            "fired_image_share": _share(row.fired_images, row.images) or 0.0,
            "selectivity": selectivity.get(row.channel),
            "class": None if row.top_label is None else labels.get(row.top_label),
            "dead": bool(row.dead),
            "non_finite": row.non_finite,
            "pattern": row.channel in pattern_channels,
            "plates": {ranking: plates.get(row.channel, ()) for ranking, plates in views.items()},
        }
        for row in summaries
    ]


def shorten(value: float | None) -> float | None:
    """Four digits, as pages show them; what is compared is what is shown.

    >>> shorten(0.123456), shorten(None)
    (0.1235, None)
    """
    return None if value is None else float(f"{value:.4g}")


def _share(part: int | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None


def _selectivity(atlas: Atlas, layer: Layer, span: range) -> dict[int, float | None]:
    blobs = channel_queries.class_means(atlas, layer, span)
    indices = class_selectivity(decode_class_means(blobs)).tolist()
    return {channel: number_json(index) for channel, index in zip(blobs, indices, strict=True)}


def _score_column(ranking: Ranking, rows: Sequence[Facts]) -> Column:
    """By maximum the maximum itself, which a channel without hits has, too."""
    values = (row["maximum"] if ranking == Ranking.MAX else row["scores"][ranking] for row in rows)
    return Column(SCORE, "score", _SCORE_DOCS[ranking], tuple(map(shorten, values)))


def _statistic(column: _StatisticColumn, summaries: Sequence[ChannelRow]) -> Column:
    values = tuple(shorten(number_json(column.read(row))) for row in summaries)
    return Column(column.name, column.title, column.doc, values)


def _class_columns(
    summaries: Sequence[ChannelRow], selectivity: Mapping[int, float | None]
) -> list[Column]:
    if not selectivity:
        return []
    values = tuple(shorten(selectivity.get(row.channel)) for row in summaries)
    return [Column("selectivity", "class selectivity", _SELECTIVITY_DOC, values)]


def _numbers(atlas: Atlas, layer: Layer, channels: Sequence[int]) -> list[Column]:
    """The numbers that any channel of the layer has, in the order of `NUMBERS`."""
    values: dict[str, dict[int, float | None]] = {}
    chances: dict[str, list[float]] = {}
    listed = frozenset(channels)
    for number in number_queries.number_values(atlas, layer.name):
        if number.channel in listed:
            values.setdefault(number.name, {})[number.channel] = shorten(number.value)
            if number.value is not None and number.chance is not None:
                chances.setdefault(number.name, []).append(number.chance)
    return [
        Column(
            kind.name,
            kind.title,
            kind.doc,
            tuple(map(values[kind.name].get, channels)),
            shorten(median(chances[kind.name])) if kind.name in chances else None,
            str(kind.subject),
        )
        for kind in NUMBERS
        if kind.name in values
    ]


def of_class(table: LayerTable, site: Site, layer: Layer, label: Label) -> LayerTable:
    """The table with the plates and scores of the best images of a class instead."""
    hits = channel_queries.first_hits(site.atlas, layer, range(layer.channels), label=label.id)
    views = views_of_hits(hits, frozenset())
    rows = tuple(
        row
        | {
            "scores": dict.fromkeys(table.scores, _score(hits.get(row["channel"]))),
            "plates": dict.fromkeys(table.scores, views.get(row["channel"], ())),
        }
        for row in table.rows
    )
    values = tuple(shorten(row["scores"][Ranking.MAX]) for row in rows)
    doc = f"the highest value of the images of class {label.name}"
    column = Column(SCORE, "score", doc, values)
    return LayerTable(rows, table.columns, dict.fromkeys(table.scores, column))


def _score(hit: FirstHitRow | None) -> float | None:
    return None if hit is None else hit.score
