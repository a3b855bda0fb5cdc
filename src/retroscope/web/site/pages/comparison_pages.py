"""The pages of a comparison: the units that changed most, and one unit in both atlases."""

from collections.abc import Iterator
from heapq import nlargest

from retroscope.results.as_json import number_json
from retroscope.results.layers import Layer
from retroscope.unit import Unit
from retroscope.web.site.comparison import (
    UnitChange,
    common_layers,
    layer_changes,
    unit_change,
)
from retroscope.web.site.pages import unit_pages
from retroscope.web.site.pages.page_facts import (
    is_pixelated,
    layer_facts,
    neighbours,
    plate_url,
)
from retroscope.web.site.site import Facts, PageNotFoundError, Params, Site
from retroscope.web.site.urls import (
    find_layer_by_slug,
    in_second,
    layer_slugs,
    parse_channel,
    url_for,
)

_MAX_UNITS = 60
_MAX_LAYER_UNITS = 240


def comparison(site: Site, _params: Params) -> Facts:
    """How much each layer changed, and the units that changed most."""
    second = _second_site(site)
    layers = common_layers(site.atlas, second.atlas)
    changes = {layer.name: layer_changes(site.atlas, second.atlas, layer) for layer in layers}
    most_changed = nlargest(
        _MAX_UNITS,
        ((change, layer) for layer in layers for change in changes[layer.name]),
        key=lambda pair: (pair[0].change, -pair[1].index, -pair[0].channel),
    )
    return _atlas_names(site) | {
        "href": in_second(url_for(second, "network")),
        "layers": [
            _layer_facts(site, layer) | {"change": _mean_change(changes[layer.name])}
            for layer in layers
        ],
        "missing": len(site.atlas.layers) - len(layers),
        "units": [_change_facts(site, layer, change) for change, layer in most_changed],
    }


def layer_comparison(site: Site, params: Params) -> Facts:
    """The channels of a layer, those that changed most first."""
    layer = _find_common_layer(site, params)
    changes = layer_changes(site.atlas, _second_site(site).atlas, layer)
    most_changed = nlargest(
        _MAX_LAYER_UNITS, changes, key=lambda change: (change.change, -change.channel)
    )
    return (
        layer_facts(site, layer)
        | _atlas_names(site)
        | {
            "change": _mean_change(changes),
            "units": [_change_facts(site, layer, change) for change in most_changed],
        }
    )


def unit_comparison(site: Site, params: Params) -> Facts:
    """One channel in both atlases."""
    second = _second_site(site)
    layer = _find_common_layer(site, params)
    channel = parse_channel(layer, params["channel"])
    change = unit_change(site.atlas, second.atlas, Unit(layer.name, channel))
    return _change_facts(site, layer, change) | {
        "layer": _layer_facts(site, layer),
        "around": neighbours(
            channel,
            layer.channels,
            lambda n: {"channel": n, "href": _unit_url(site, layer, n)},
        ),
        "sides": [_side(site, layer, channel), _side(second, layer, channel)],
    }


def list_once(site: Site) -> list[Params]:
    """A page that exists once if there is a second atlas."""
    return [] if site.second is None else [{}]


def list_layers(site: Site) -> Iterator[Params]:
    if site.second is not None:
        for layer in common_layers(site.atlas, site.second.atlas):
            yield {"layer": layer_slugs(site)[layer.name]}


def list_units(site: Site) -> Iterator[Params]:
    for params in list_layers(site):
        channels = find_layer_by_slug(site, params["layer"]).channels
        yield from ({**params, "channel": str(n)} for n in range(channels))


def _second_site(site: Site) -> Site:
    if site.second is None:
        raise PageNotFoundError("no second atlas")
    return site.second


def _find_common_layer(site: Site, params: Params) -> Layer:
    layer = find_layer_by_slug(site, params["layer"])
    if layer not in common_layers(site.atlas, _second_site(site).atlas):
        raise PageNotFoundError(f"{layer.name} is not in both atlases")
    return layer


def _atlas_names(site: Site) -> Facts:
    return {"first": site.name, "second": _second_site(site).name}


def _side(site: Site, layer: Layer, channel: int) -> Facts:
    """The unit's page in one of the two atlases; the paths in it are of that atlas's site."""
    slug = layer_slugs(site)[layer.name]
    return {
        "name": site.name,
        "folder": in_second("") if site.first else "",
        "href": url_for(site, "unit", layer=layer.name, channel=channel),
        **unit_pages.unit(site, {"layer": slug, "channel": str(channel)}),
    }


def _change_facts(site: Site, layer: Layer, change: UnitChange) -> Facts:
    second = _second_site(site)
    return {
        "unit": f"{layer.name}:{change.channel}",
        "channel": change.channel,
        "change": change.change,
        "shared_images": change.shared_images,
        "class_similarity": number_json(change.class_similarity),
        "dead": list(change.dead),
        "without_hits": list(change.without_hits),
        "href": _unit_url(site, layer, change.channel),
        "pixelated": is_pixelated(layer),
        "plates": [
            plate_url(site, layer.name, change.channel),
            in_second(plate_url(second, layer.name, change.channel)),
        ],
    }


def _layer_facts(site: Site, layer: Layer) -> Facts:
    """A layer with the path of its comparison."""
    href = url_for(site, "layer_comparison", layer=layer.name)
    return layer_facts(site, layer) | {"href": href}


def _unit_url(site: Site, layer: Layer, channel: int) -> str:
    return url_for(site, "unit_comparison", layer=layer.name, channel=channel)


def _mean_change(changes: tuple[UnitChange, ...]) -> float:
    return sum(change.change for change in changes) / max(len(changes), 1)
