"""The pages about the whole network: overview, all names, my image; and their scripts."""

from collections.abc import Mapping

from retroscope.atlas.excerpt import layer_count, listed_channels
from retroscope.atlas.image_blobs import network_input_size
from retroscope.atlas.queries import channel_queries, image_queries, reader_queries
from retroscope.atlas.queries.channel_queries import LayerConditionRow
from retroscope.imaging.decoding import Size
from retroscope.results.layers import Layer
from retroscope.web.site.pages.class_pages import count_class_units, has_class_statistics
from retroscope.web.site.pages.highlights import example_unit, highlighted_units
from retroscope.web.site.pages.image_pages import sample_images
from retroscope.web.site.pages.missing_projections import missing_of_atlas
from retroscope.web.site.pages.network_graph import draw_graph, graph_json, read_graph
from retroscope.web.site.pages.number_facts import named_units, number_medians
from retroscope.web.site.pages.page_facts import (
    assignment_script,
    channels_facts,
    layer_facts,
    unit_facts,
)
from retroscope.web.site.site import Facts, Params, Site
from retroscope.web.site.urls import label_urls, url_for, url_template

_STRIP_SIZE, _SAMPLES = 8, 8
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
    medians = number_medians(site)
    scored = {name for number in medians for name in number["layers"]}
    return {
        "atlas": site.name,
        "meta": {key: meta.get(key) for key in _META_KEYS},
        "images": len(atlas.images),
        "unreadable": reader_queries.count_unreadable_images(atlas),
        "classes": len(atlas.labels),
        "channels": sum(layer.channels for layer in atlas.layers),
        "dead": sum(layer["dead"] or 0 for layer in layers),
        "input": {"height": height, "width": width},
        "graph": {"steps": graph_json(graph, atlas.layers), **draw_graph(graph, layers, steps)},
        "highlights": [
            unit_facts(site, unit.layer, unit.channel) | {"class": unit.label}
            for unit in highlights
        ],
        "example": example_unit(site, highlights),
        "missing": missing_of_atlas(site),
        "layers": layers,
        "numbers": medians,
        "scored": [layer["name"] for layer in layers if layer["name"] in scored],
        "all_layers": layer_count(atlas),
        "listed": sum(len(listed_channels(atlas, layer)) for layer in atlas.layers),
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
    urls = label_urls(site)
    return {
        "has_statistics": has_class_statistics(site),
        "layers": [layer_facts(site, layer) for layer in site.atlas.layers],
        "classes": [
            {
                "label": label.name,
                "units": units,
                "href": urls[label.name],
            }
            for label, units in zip(site.atlas.labels, count_class_units(site), strict=True)
        ],
    }


def my_image(site: Site, _params: Params) -> Facts:
    """The page for an image of the reader, which needs the network beside the atlas."""
    return {
        "file": site.atlas.path.name,
        "layers": [layer_facts(site, layer) for layer in site.atlas.layers],
        "analysis": url_for(site, "analysis"),
        "samples": sample_images(site, _SAMPLES),
        "takes_volumes": site.volume is not None,
    }


def search_index_script(site: Site, _params: Params) -> bytes:
    """All names for the search box. A script can be loaded from a folder, JSON cannot."""
    states = {
        "dead": channel_queries.all_dead_channels(site.atlas),
        "non_finite": channel_queries.all_non_finite_channels(site.atlas),
    }
    layers = [
        {
            "name": layer.name,
            "aliases": [*layer.aliases, *layer.convolution],
            "channels": layer.channels,
            "href": url_for(site, "layer", layer=layer.name),
            "units": url_template(site, "unit", layer=layer.name),
        }
        | _listed_states(site, layer, states)
        for layer in site.atlas.layers
    ]
    names = {
        "layers": layers,
        "units": named_units(site),
        "classes": [{"label": name, "href": href} for name, href in label_urls(site).items()],
        "images": [[row.image, row.key] for row in image_queries.stored_image_keys(site.atlas)],
        "image": url_template(site, "image"),
    }
    return assignment_script("names", names)


def _listed_states(site: Site, layer: Layer, states: Mapping[str, dict[str, list[int]]]) -> Facts:
    """The shown channels in each of these states, and all shown ones if some are left out."""
    listed = listed_channels(site.atlas, layer)
    shown: Facts = {
        state: [channel for channel in channels.get(layer.name, []) if channel in listed]
        for state, channels in states.items()
    }
    return shown if len(listed) == layer.channels else shown | {"listed": list(listed)}


def no_model_script(_site: Site, _params: Params) -> bytes:
    """`retroscope.model` of a site without a network; a live server sends a description instead."""
    return assignment_script("model", None)


def _input_size(site: Site) -> Size:
    """The network's input size, from a stored image or, without one, from the largest field."""
    if site.volume is not None:
        return site.volume[1:]
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
    channels = channel_queries.strongest_channels(site.atlas, layer, _STRIP_SIZE)
    return channels_facts(site, layer, channels)
