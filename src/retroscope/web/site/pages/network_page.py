"""The first page: what was scanned, and its layers in running order."""

from retroscope.atlas import queries, webp_size
from retroscope.results.values import Layer
from retroscope.web.site.pages.diagram import diagram
from retroscope.web.site.site import (
    Facts,
    Params,
    Site,
    layer_path,
    unit_facts,
)

_STRIP = 8
_SETTINGS = (
    *("model", "state", "created", "version", "layers_chosen", "top", "precision"),
    *("batch_size", "rules", "preprocessing", "weights", "image_list"),
)


def network(site: Site, _params: Params) -> Facts:
    """The network at a glance."""
    atlas, meta = site.atlas, site.atlas.meta
    conditions = queries.conditions(atlas)
    layers = atlas.layers
    height, width = input_size(site)
    return {
        "atlas": site.name,
        "meta": {key: meta.get(key) for key in _SETTINGS},
        "images": len(atlas.images),
        "unreadable": queries.unreadable(atlas),
        "classes": len(atlas.labels),
        "channels": sum(layer.channels for layer in layers),
        "input": {"height": height, "width": width},
        "diagram": diagram(layers, (height, width), [layer_path(site, one.name) for one in layers]),
        "layers": [
            layer_facts(site, layer)
            | _condition(conditions.get(layer.name, (0, 0, 0)))
            | {"strip": _strip(site, layer)}
            for layer in layers
        ],
    }


def layer_facts(site: Site, layer: Layer) -> Facts:
    """A layer's names, size and field, and where its page is."""
    field = layer.field
    return {
        "name": layer.name,
        "aliases": list(layer.aliases),
        "kind": layer.kind,
        "channels": layer.channels,
        "size": list(layer.size),
        "field": {
            "size": [field.y.size, field.x.size],
            "stride": [field.y.stride, field.x.stride],
            "start": [field.y.start, field.x.start],
            "whole": field.whole,
            "global_context": field.global_context,
        },
        "note": layer.note,
        "href": layer_path(site, layer.name),
    }


def input_size(site: Site) -> tuple[int, int]:
    """The size that the network takes, as the scan kept its pictures."""
    size = webp_size.input_size(site.atlas)
    if size is not None:
        return size
    known = [layer.field for layer in site.atlas.layers]
    widest = max((max(field.y.size, field.x.size) for field in known), default=224)
    return widest, widest


def _condition(counts: tuple[int, int, int]) -> Facts:
    known, dead, broken = counts
    return {"known": known, "dead": dead, "not_finite": broken}


def _strip(site: Site, layer: Layer) -> list[Facts]:
    """The live channels with the highest maxima, to look at first."""
    return [
        unit_facts(site, layer.name, channel)
        for channel in queries.strongest(site.atlas, layer, _STRIP)
    ]
