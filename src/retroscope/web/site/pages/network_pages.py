"""The pages about the whole network: overview, all names, my image; and their scripts."""

import json

from retroscope.atlas.image_blobs import network_input_size
from retroscope.atlas.queries import channel_queries, image_queries, reader_queries
from retroscope.atlas.queries.channel_queries import LayerConditionRow
from retroscope.imaging.decoding import Size
from retroscope.results.layers import Layer
from retroscope.web.site.pages.highlights import example_unit, highlighted_units
from retroscope.web.site.pages.network_graph import draw_graph, graph_json, read_graph
from retroscope.web.site.pages.page_facts import layer_facts, unit_facts
from retroscope.web.site.site import Facts, Params, Site
from retroscope.web.site.urls import label_urls, url_for, url_template

_STRIP_SIZE = 8
_DEFAULT_INPUT_SIDE = 224
_META_KEYS = (
    *("model", "state", "created", "version", "layers", "top", "precision"),
    *("batch_size", "rules", "preprocessing", "weights", "image_list"),
)


def network(site: Site, _params: Params) -> Facts:
    """The network at a glance: its layers in running order, and how it was scanned."""
    atlas, meta = site.atlas, site.atlas.meta
    layers = _listed_layers(site)
    steps = [layer.index for layer in atlas.layers]
    graph, highlights = read_graph(site), highlighted_units(site)
    height, width = _input_size(site)
    return {
        "atlas": site.name,
        "meta": {key: meta.get(key) for key in _META_KEYS},
        "images": len(atlas.images),
        "unreadable": reader_queries.count_unreadable_images(atlas),
        "classes": len(atlas.labels),
        "channels": sum(layer.channels for layer in atlas.layers),
        "dead": sum(layer["dead"] for layer in layers),
        "input": {"height": height, "width": width},
        "graph": {"steps": graph_json(graph, atlas.layers), **draw_graph(graph, layers, steps)},
        "highlights": [
            unit_facts(site, unit.layer, unit.channel) | {"class": unit.label}
            for unit in highlights
        ],
        "example": example_unit(site, highlights),
        "layers": layers,
    }


def _listed_layers(site: Site) -> list[Facts]:
    conditions = channel_queries.layer_conditions(site.atlas)
    return [
        layer_facts(site, layer)
        | _condition_facts(conditions.get(layer.name))
        | {"strip": _strip(site, layer)}
        for layer in site.atlas.layers
    ]


def names(site: Site, _params: Params) -> Facts:
    """Every layer with all its names, and every class."""
    unit_counts, urls = image_queries.count_units_per_class(site.atlas), label_urls(site)
    return {
        "layers": [layer_facts(site, layer) for layer in site.atlas.layers],
        "classes": [
            {
                "label": label.name,
                "units": unit_counts.get(label.id, 0),
                "href": urls[label.name],
            }
            for label in site.atlas.labels
        ],
    }


def my_image(site: Site, _params: Params) -> Facts:
    """The page for an image of the reader, which needs the network beside the atlas."""
    return {
        "file": site.atlas.path.name,
        "layers": [layer_facts(site, layer) for layer in site.atlas.layers],
        "analysis": url_for(site, "analysis"),
    }


def search_index_script(site: Site, _params: Params) -> bytes:
    """All names for the search box. A script can be loaded from a folder, JSON cannot."""
    layers = [
        {
            "name": layer.name,
            "aliases": [*layer.aliases, *layer.convolution],
            "channels": layer.channels,
            "href": url_for(site, "layer", layer=layer.name),
            "units": url_template(site, "unit", layer=layer.name),
        }
        for layer in site.atlas.layers
    ]
    classes = [{"label": name, "href": href} for name, href in label_urls(site).items()]
    return assignment_script("names", {"layers": layers, "classes": classes})


def no_model_script(_site: Site, _params: Params) -> bytes:
    """`retroscope.model` of a site without a network; a live server sends a description instead."""
    return assignment_script("model", None)


def assignment_script(name: str, facts: object) -> bytes:
    """A script that assigns facts to `retroscope.NAME`."""
    return f"retroscope.{name} = {json.dumps(facts, separators=(',', ':'))};\n".encode()


def _input_size(site: Site) -> Size:
    """The network's input size, from a stored image or, without one, from the largest field."""
    size = network_input_size(site.atlas)
    if size is not None:
        return size
    fields = [layer.field for layer in site.atlas.layers]
    side = max((max(field.y.size, field.x.size) for field in fields), default=_DEFAULT_INPUT_SIDE)
    return side, side


def _condition_facts(row: LayerConditionRow | None) -> Facts:
    if row is None:
        return {"scanned": 0, "dead": 0, "non_finite": 0}
    return {"scanned": row.known, "dead": row.dead, "non_finite": row.non_finite}


def _strip(site: Site, layer: Layer) -> list[Facts]:
    """The live channels with the highest maxima."""
    return [
        unit_facts(site, layer.name, channel)
        for channel in channel_queries.strongest_channels(site.atlas, layer, _STRIP_SIZE)
    ]
