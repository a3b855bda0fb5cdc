"""What the page of a layer is asked for after the `?` of its URL: an order, ranges of values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite

from retroscope.atlas.reader import Atlas
from retroscope.atlas.schema import Ranking
from retroscope.web.site.pages.channel_table import SCORE, Column, LayerTable
from retroscope.web.site.pages.plate_facts import VIEW_LETTERS
from retroscope.web.site.site import Params

SIZES = ("medium", "small", "large")
_ORDERS = ("channel", "dead")
_LOW, _HIGH = "min-", "max-"


@dataclass(frozen=True)
class LayerOptions:
    """Which channels of a layer are shown, in which order, and which of their plates.

    `label` is a class, for its best images; `top_class` the class that excites a channel most.
    `ranges` has the lowest and the highest value of a column. `problems` say what of the URL could
    not be used.
    """

    sort: str
    by: Ranking
    show: str
    size: str
    label: str
    top_class: str
    ranges: Mapping[str, tuple[float, float]]
    problems: tuple[str, ...]

    def range_of(self, name: str) -> tuple[float, float]:
        """The lowest and the highest value of a column; infinite where there is no limit."""
        return self.ranges.get(name, (-inf, inf))


def parse_options(params: Params, columns: Iterable[str], atlas: Atlas) -> LayerOptions:
    """The options in a URL; what cannot be used is left out, with the reason."""
    names = (SCORE, *columns)
    url = _UrlReader(params)
    return LayerOptions(
        sort=url.choose("sort", (*_ORDERS, *names)),
        by=Ranking(url.choose("by", atlas.rankings)),
        show=url.choose("show", (*VIEW_LETTERS, "all", "patterns")),
        size=url.choose("size", SIZES),
        label=url.choose("class", ("", *(label.name for label in atlas.ranked_classes))),
        top_class=url.choose("top-class", ("", *(label.name for label in atlas.labels))),
        ranges=url.read_ranges(names),
        problems=tuple(url.problems),
    )


@dataclass(frozen=True)
class _UrlReader:
    """Reads the parameters of a URL one by one, and collects what is wrong with them."""

    params: Params
    problems: list[str] = field(default_factory=list)

    def choose(self, name: str, choices: Iterable[str]) -> str:
        """One of some values; the first, if the URL has none or another."""
        values = tuple(choices)
        value = self.params.get(name) or values[0]
        if value in values:
            return value
        self.problems.append(f"There is no {value!r} for {name!r} on this page.")
        return values[0]

    def read_ranges(self, names: tuple[str, ...]) -> dict[str, tuple[float, float]]:
        """The range of each column that has one."""
        for param in self.params:
            if param.startswith((_LOW, _HIGH)) and param[len(_LOW) :] not in names:
                self.problems.append(f"This layer has no number {param[len(_LOW) :]!r}.")
        ranges = {
            name: (self._bound(_LOW + name, -inf), self._bound(_HIGH + name, inf)) for name in names
        }
        return {name: span for name, span in ranges.items() if span != (-inf, inf)}

    def _bound(self, name: str, default: float) -> float:
        text = self.params.get(name, "")
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = inf
        if isfinite(value):
            return value
        self.problems.append(f"{name!r} is {text!r}, which is not a number.")
        return default


def select_rows(table: LayerTable, options: LayerOptions) -> list[int]:
    """The rows that match, in order; a channel without a value is in no range of it."""
    columns = table.ranked_by(options.by)
    ranges = [(columns[name].values, low, high) for name, (low, high) in options.ranges.items()]
    rows = [
        number
        for number, row in enumerate(table.rows)
        if (not options.top_class or row["class"] == options.top_class)
        and all(_is_between(values[number], low, high) for values, low, high in ranges)
    ]
    return _sort_rows(rows, table, options, columns)


def _is_between(value: float | None, low: float, high: float) -> bool:
    return value is not None and low <= value <= high


def _sort_rows(
    rows: list[int], table: LayerTable, options: LayerOptions, columns: Mapping[str, Column]
) -> list[int]:
    """Highest first, by minimum lowest; channels without a value last, equal ones by channel."""
    if options.sort == "channel":
        return rows
    if options.sort == "dead":
        facts = table.rows
        return sorted(
            rows, key=lambda row: (not facts[row]["dead"], facts[row]["fired_image_share"])
        )
    values = columns[options.sort].values
    sign = 1 if (options.sort, options.by) == (SCORE, Ranking.MIN) else -1
    return sorted(rows, key=lambda row: inf if (value := values[row]) is None else sign * value)
