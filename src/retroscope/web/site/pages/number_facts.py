"""The numbers and names of units, as pages show them."""

from functools import lru_cache
from math import isfinite

from retroscope.atlas.queries import number_queries
from retroscope.atlas.reader import Atlas
from retroscope.render.captions import name_line
from retroscope.results.as_json import unit_name_json, unit_number_json
from retroscope.results.layers import Layer
from retroscope.results.unit_numbers import NUMBERS, NUMBERS_BY_NAME, Subject, UnitNumber
from retroscope.unit import Unit
from retroscope.web.site.site import Facts, Site


def number_facts(site: Site, unit: Unit) -> Facts:
    """The names of a unit, and its numbers in the order of the table, in plain words."""
    numbers = sorted(site.atlas.numbers(unit), key=_order)
    names = site.atlas.names(unit)
    return {
        "names": [unit_name_json(name) for name in names],
        "name_line": name_line(names),
        "numbers": [
            unit_number_json(number) | _words(number) | {"chart": _chart(number)}
            for number in numbers
        ],
    }


def _order(number: UnitNumber) -> int:
    order = list(NUMBERS_BY_NAME)
    return order.index(number.name) if number.name in NUMBERS_BY_NAME else len(order)


def _words(number: UnitNumber) -> Facts:
    """What a number says; one of another version is known by its name alone."""
    kind = NUMBERS_BY_NAME.get(number.name)
    return {
        "title": kind.title if kind else number.name,
        "doc": kind.doc if kind else "",
        "chance_doc": kind.chance if kind else "",
        "is_of_unit": number.subject == Subject.UNIT,
        "is_above_chance": number.is_above_chance if number.has_interval else None,
    }


def _chart(number: UnitNumber) -> Facts | None:
    """Where value, interval and chance are on an axis from 0 to 1, or from -1 if any is below 0."""
    marks = {
        "value": number.value,
        "low": number.low,
        "high": number.high,
        "chance": number.chance,
    }
    known = {name: value for name, value in marks.items() if isfinite(value)}
    if "value" not in known:
        return None
    first = min(-1.0, *known.values()) if min(known.values()) < 0 else 0.0
    last = max(1.0, *known.values())
    positions = {name: (value - first) / (last - first) for name, value in known.items()}
    return {"ends": [first, last], **{name: positions.get(name) for name in marks}}


def number_medians(site: Site) -> list[Facts]:
    """The numbers that any layer has, each with its median of every layer that has it."""
    return _cached_medians(site.atlas, site.atlas.file_version)


@lru_cache(maxsize=8)
def _cached_medians(atlas: Atlas, _version: int) -> list[Facts]:
    medians = number_queries.number_medians(atlas)
    return [
        {
            "name": kind.name,
            "title": kind.title,
            "doc": kind.doc,
            "chance_doc": kind.chance,
            "subject": str(kind.subject),
            "layers": {
                row.layer: {"median": row.median, "chance": row.chance}
                for row in medians
                if row.name == kind.name
            },
        }
        for kind in NUMBERS
        if any(row.name == kind.name for row in medians)
    ]


def unit_names(site: Site, layer: Layer) -> dict[int, str]:
    """The first name of each channel of a layer that has one."""
    names: dict[int, str] = {}
    for name in site.atlas.names(layer.name):
        assert name.unit.channel is not None
        names.setdefault(name.unit.channel, name.name)
    return names


def named_units(site: Site) -> list[list[object]]:
    """Layer number, channel and name of every name, for the search box."""
    numbers = {layer.name: number for number, layer in enumerate(site.atlas.layers)}
    rows = number_queries.all_names(site.atlas)
    return [[numbers[row.layer], row.channel, row.name] for row in rows if row.layer in numbers]
