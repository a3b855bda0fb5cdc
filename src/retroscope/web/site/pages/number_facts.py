"""The numbers and names of units, as pages show them."""

from collections.abc import Sequence

from retroscope.atlas.queries import number_queries
from retroscope.render.captions import name_line
from retroscope.results.as_json import unit_name_json, unit_number_json
from retroscope.results.layers import Layer
from retroscope.results.unit_numbers import NUMBERS, NUMBERS_BY_NAME, UnitNumber
from retroscope.unit import Unit
from retroscope.web.site.site import Facts, Site


def number_facts(site: Site, unit: Unit) -> Facts:
    """The names of a unit, and its numbers in the order of the table, in plain words."""
    numbers = sorted(site.atlas.numbers(unit), key=_order)
    names = site.atlas.names(unit)
    return {
        "names": [unit_name_json(name) for name in names],
        "name_line": name_line(names),
        "numbers": [unit_number_json(number) | _words(number) for number in numbers],
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
    }


def sortable_numbers(site: Site, layer: Layer) -> dict[str, str]:
    """The titles of the numbers that a layer has, by name."""
    stored = set(number_queries.number_names(site.atlas, layer.name))
    return {kind.name: kind.title for kind in NUMBERS if kind.name in stored}


def number_columns(
    site: Site, layer: Layer, channels: Sequence[int]
) -> dict[str, list[float | None]]:
    """Each number of a layer, with four digits, for these channels."""
    rows = {channel: row for row, channel in enumerate(channels)}
    columns: dict[str, list[float | None]] = {
        name: [None] * len(channels) for name in sortable_numbers(site, layer)
    }
    if not columns:
        return {}
    for number in number_queries.number_values(site.atlas, layer.name):
        if number.value is not None and number.name in columns and number.channel in rows:
            columns[number.name][rows[number.channel]] = float(f"{number.value:.4g}")
    return columns


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
