"""The pages of a comparison: the units that changed most, and one unit in both atlases."""

from collections.abc import Iterator
from heapq import nlargest
from math import isnan

from retroscope.results.values import Layer
from retroscope.web.site.comparison import Change, change_of, changes, common_layers
from retroscope.web.site.pages import unit_pages
from retroscope.web.site.pages.network_page import layer_facts
from retroscope.web.site.site import (
    Facts,
    NotThereError,
    Params,
    Site,
    around,
    channel_at,
    layer_at,
    layer_names,
    plate_path,
)
from retroscope.web.site.urls import slugs

_MOST = 60
_IN_LAYER = 240


def overview(site: Site, _params: Params) -> Facts:
    """How much each layer changed, and the units that changed most."""
    other = _other(site)
    layers = common_layers(site.atlas, other.atlas)
    found = {layer.name: changes(site.atlas, other.atlas, layer) for layer in layers}
    most = nlargest(
        _MOST,
        ((change, layer) for layer in layers for change in found[layer.name]),
        key=lambda pair: (pair[0].change, -pair[1].index, -pair[0].channel),
    )
    return _names(site) | {
        "layers": [
            layer_facts(site, layer)
            | {"href": _layer_path(site, layer), "change": _mean(found[layer.name])}
            for layer in layers
        ],
        "missing": len(site.atlas.layers) - len(layers),
        "units": [_unit(site, layer, change) for change, layer in most],
    }


def layer(site: Site, params: Params) -> Facts:
    """The channels of a layer, those that changed most first."""
    other = _other(site)
    found = _common(site, params)
    every = changes(site.atlas, other.atlas, found)
    most = nlargest(_IN_LAYER, every, key=lambda change: (change.change, -change.channel))
    return (
        layer_facts(site, found)
        | _names(site)
        | {
            "change": _mean(every),
            "units": [_unit(site, found, change) for change in most],
        }
    )


def unit(site: Site, params: Params) -> Facts:
    """One channel in both atlases."""
    other = _other(site)
    found = _common(site, params)
    channel = channel_at(found, params["channel"])
    change = change_of(site.atlas, other.atlas, found, channel)
    sides = [
        {"name": one.name, "folder": folder, "slug": slugs(layer_names(one))[found.name]}
        | unit_pages.unit(one, {**params, "layer": slugs(layer_names(one))[found.name]})
        for one, folder in ((site, ""), (other, "other/"))
    ]
    return _unit(site, found, change) | {
        "layer": layer_facts(site, found) | {"href": _layer_path(site, found)},
        "around": around(
            channel,
            found.channels,
            lambda n: {"channel": n, "href": _unit_path(site, found, n)},
        ),
        "sides": sides,
    }


def once(site: Site) -> list[Params]:
    return [] if site.other is None else [{}]


def every_layer(site: Site) -> Iterator[Params]:
    if site.other is not None:
        for one in common_layers(site.atlas, site.other.atlas):
            yield {"layer": slugs(layer_names(site))[one.name]}


def every_unit(site: Site) -> Iterator[Params]:
    for params in every_layer(site):
        count = layer_at(site, params["layer"]).channels
        yield from ({**params, "channel": str(n)} for n in range(count))


def _other(site: Site) -> Site:
    if site.other is None:
        raise NotThereError("there is no other atlas")
    return site.other


def _common(site: Site, params: Params) -> Layer:
    found = layer_at(site, params["layer"])
    if found not in common_layers(site.atlas, _other(site).atlas):
        raise NotThereError(f"{found.name} is not in both")
    return found


def _names(site: Site) -> Facts:
    return {"one": site.name, "other": _other(site).name}


def _unit(site: Site, layer: Layer, change: Change) -> Facts:
    return {
        "unit": f"{layer.name}:{change.channel}",
        "channel": change.channel,
        "change": change.change,
        "shared": change.shared,
        "classes": None if isnan(change.classes) else change.classes,
        "dead": list(change.dead),
        "empty": list(change.empty),
        "href": _unit_path(site, layer, change.channel),
        "plates": [
            folder + plate_path(one, layer.name, change.channel, ranked_by="max", what="patches")
            for one, folder in ((site, ""), (_other(site), "other/"))
        ],
    }


def _layer_path(site: Site, layer: Layer) -> str:
    return f"compare/{slugs(layer_names(site))[layer.name]}.html"


def _unit_path(site: Site, layer: Layer, channel: int) -> str:
    return f"compare/{slugs(layer_names(site))[layer.name]}/{channel}.html"


def _mean(every: tuple[Change, ...]) -> float:
    return sum(change.change for change in every) / max(len(every), 1)
