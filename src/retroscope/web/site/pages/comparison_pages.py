"""The pages of a comparison: the units that changed most, and one unit in all atlases."""

from collections.abc import Iterator, Sequence
from heapq import nlargest

from retroscope.results.json_numbers import number_json
from retroscope.results.layers import Layer
from retroscope.unit import Unit
from retroscope.web.site.comparison import (
    UnitChange,
    common_layers,
    largest_change,
    most_changed_units,
    unit_change,
)
from retroscope.web.site.pages import unit_pages
from retroscope.web.site.pages.missing_projections import missing_of_atlas, missing_of_layer
from retroscope.web.site.pages.page_facts import is_pixelated, layer_facts, neighbours
from retroscope.web.site.pages.plate_facts import common_views, read_sides
from retroscope.web.site.site import Facts, PageNotFoundError, Params, Site
from retroscope.web.site.urls import (
    find_layer_by_slug,
    from_first,
    layer_slugs,
    parse_channel,
    site_folder,
    url_for,
)

_MAX_UNITS = 60
Changes = tuple[UnitChange, ...]
"""The change of one unit from the first atlas to each of the others, or of all units to one."""


def comparison(site: Site, _params: Params) -> Facts:
    """How much each layer changed, and the units that changed most."""
    layers = _compared_layers(site)
    changes = [(layer, most_changed_units(site.compared, layer)) for layer in layers]
    most_changed = nlargest(
        _MAX_UNITS,
        ((layer, unit) for layer, in_layer in changes for unit in in_layer.units),
        key=lambda pair: (largest_change(pair[1]), -pair[0].index, -pair[1][0].channel),
    )
    return {
        "atlases": [_atlas_facts(site, member) for member in (site, *site.others)],
        "unprojected": [
            {"name": member.name} | missing
            for member in (site, *site.others)
            if (missing := missing_of_atlas(member))
        ],
        "layers": [
            _layer_facts(site, layer) | {"changes": list(in_layer.means)}
            for layer, in_layer in changes
        ],
        **_units_facts(site, most_changed),
    }


def layer_comparison(site: Site, params: Params) -> Facts:
    """The channels of a layer, those that changed most first."""
    layer, layers = _find_layer(site, params), _compared_layers(site)
    changes = most_changed_units(site.compared, layer)
    return layer_facts(site, layer) | {
        "atlases": [_atlas_facts(site, member) for member in (site, *site.others)],
        "layers": [_layer_link(site, other) for other in layers],
        "around": neighbours(
            layers.index(layer), len(layers), lambda n: _layer_link(site, layers[n])
        ),
        "changes": list(changes.means),
        "unprojected": [
            {"name": member.name} | missing
            for member in (site, *site.others)
            if (missing := missing_of_layer(member, member.atlas.layer(layer.name)))
        ],
        **_units_facts(site, [(layer, unit) for unit in changes.units]),
    }


def unit_comparison(site: Site, params: Params) -> Facts:
    """One channel in all atlases."""
    layer = _find_layer(site, params)
    channel = parse_channel(layer, params["channel"])
    unit = Unit(layer.name, channel)
    changes = tuple(unit_change(site.atlas, other.atlas, unit) for other in site.others)
    atlases = (site, *site.others)
    plates = [read_sides(member, layer, [channel])[channel] for member in atlases]
    return {
        "unit": str(unit),
        "channel": channel,
        "change": largest_change(changes),
        "views": common_views(plates),
        "layer": _layer_facts(site, layer),
        "around": neighbours(
            channel,
            layer.channels,
            lambda n: {"channel": n, "href": _unit_url(site, layer, n)},
        ),
        "sides": [
            _change_facts(change) | _unit_in_atlas(member, layer, channel)
            for member, change in zip(atlases, (None, *changes), strict=True)
        ],
    }


def list_once(site: Site) -> list[Params]:
    """A page that exists once if there are other atlases."""
    return [{}] if site.others else []


def list_layers(site: Site) -> Iterator[Params]:
    if site.others:
        for layer in _compared_layers(site):
            yield {"layer": layer_slugs(site)[layer.name]}


def list_units(site: Site) -> Iterator[Params]:
    for params in list_layers(site):
        channels = find_layer_by_slug(site, params["layer"]).channels
        yield from ({**params, "channel": str(n)} for n in range(channels))


def _compared_layers(site: Site) -> list[Layer]:
    if not site.others:
        raise PageNotFoundError("no atlas to compare with")
    return common_layers(*site.compared)


def _find_layer(site: Site, params: Params) -> Layer:
    layers, layer = _compared_layers(site), find_layer_by_slug(site, params["layer"])
    if layer not in layers:
        raise PageNotFoundError(f"{layer.name} is not in all atlases")
    return layer


def _atlas_facts(site: Site, member: Site) -> Facts:
    """The name of an atlas and its first page; how many layers of the first atlas it lacks."""
    layers = site.atlas.layers
    return {
        "name": member.name,
        "href": from_first(member, url_for(member, "network")),
        "missing": len(layers) - len(common_layers(site.atlas, member.atlas)),
    }


def _units_facts(site: Site, units: Sequence[tuple[Layer, Changes]]) -> Facts:
    """Units beside each other in all atlases, and the views that these have."""
    channels: dict[Layer, list[int]] = {}
    for layer, unit in units:
        channels.setdefault(layer, []).append(unit[0].channel)
    plates = {
        layer: [read_sides(member, layer, numbers) for member in (site, *site.others)]
        for layer, numbers in channels.items()
    }
    facts = [
        _unit_facts(site, layer, unit, [side[unit[0].channel] for side in plates[layer]])
        for layer, unit in units
    ]
    return {
        "views": common_views([side for unit in facts for side in unit["sides"]]),
        "units": facts,
    }


def _unit_facts(site: Site, layer: Layer, unit: Changes, plates: Sequence[Facts]) -> Facts:
    channel = unit[0].channel
    return {
        "unit": f"{layer.name}:{channel}",
        "channel": channel,
        "change": largest_change(unit),
        "href": _unit_url(site, layer, channel),
        "pixelated": is_pixelated(layer),
        "sides": [
            {"name": member.name, "dead": dead} | _change_facts(change) | side
            for member, change, dead, side in zip(
                (site, *site.others),
                (None, *unit),
                (unit[0].dead[0], *(change.dead[1] for change in unit)),
                plates,
                strict=True,
            )
        ],
    }


def _change_facts(change: UnitChange | None) -> Facts:
    """How a unit differs from that of the first atlas; None for the first itself."""
    return {
        "change": None if change is None else change.change,
        "shared_images": None if change is None else change.shared_images,
        "class_similarity": None if change is None else number_json(change.class_similarity),
    }


def _unit_in_atlas(member: Site, layer: Layer, channel: int) -> Facts:
    """The unit's page in one of the atlases; the paths in it are of that atlas's site."""
    return {
        "name": member.name,
        "folder": site_folder(member),
        "href": url_for(member, "unit", layer=layer.name, channel=channel),
        **unit_pages.describe_unit(member, member.atlas.layer(layer.name), channel),
    }


def _layer_link(site: Site, layer: Layer) -> Facts:
    href = url_for(site, "layer_comparison", layer=layer.name)
    return {"name": layer.name, "href": href}


def _layer_facts(site: Site, layer: Layer) -> Facts:
    """A layer with the path of its comparison."""
    return layer_facts(site, layer) | _layer_link(site, layer)


def _unit_url(site: Site, layer: Layer, channel: int) -> str:
    return url_for(site, "unit_comparison", layer=layer.name, channel=channel)
