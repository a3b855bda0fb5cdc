"""The page of a layer: the plates of its channels, and the columns they are sorted by."""

from collections.abc import Iterator

from retroscope.atlas.queries import channel_queries
from retroscope.atlas.queries.channel_queries import FirstHitRow
from retroscope.atlas.schema import RANKINGS, Ranking
from retroscope.results.as_json import number_json
from retroscope.results.layers import Layer
from retroscope.web.site.channel_metrics import class_selectivity, decode_class_means
from retroscope.web.site.pages.network_pages import assignment_script
from retroscope.web.site.pages.page_facts import (
    is_pixelated,
    layer_facts,
    neighbours,
    page_count,
    page_span,
    page_urls,
    plate_url,
)
from retroscope.web.site.site import Facts, PageNotFoundError, Params, Site
from retroscope.web.site.urls import find_layer_by_slug, layer_slugs, url_for, url_template

_COLUMNS = (
    *("channel", "maximum", "mean", "fired_image_share", "selectivity"),
    *("class", "dead", "pattern", "plates"),
)


def layer(site: Site, params: Params) -> Facts:
    """A layer, and the first or a later part of its channels."""
    layer = find_layer_by_slug(site, params["layer"])
    page = int(params.get("page", 1))
    if page > page_count(layer.channels):
        raise PageNotFoundError(f"no page {page} of {layer.name}")
    condition = channel_queries.layer_condition(site.atlas, layer)
    rows = channel_rows(site, layer, page_span(page, layer.channels))
    return layer_facts(site, layer) | {
        "pixelated": is_pixelated(layer),
        "scanned": condition.known,
        "dead": condition.dead,
        "patterns": bool(channel_queries.channels_with_pattern(site.atlas, layer)),
        "classes": [label.name for label in site.atlas.labels],
        "page": page,
        "columns": url_for(site, "layer_columns", layer=layer.name),
        "pages": page_urls(site, "layer", layer.channels, layer=layer.name),
        "around": _neighbour_layers(site, layer),
        "plates": [row | _links(site, layer, row) for row in rows],
    }


def columns_script(site: Site, params: Params) -> bytes:
    """All channels of a layer, column by column, for the script that sorts and filters them."""
    layer = find_layer_by_slug(site, params["layer"])
    rows = channel_rows(site, layer, range(layer.channels))
    facts = {
        "units": url_template(site, "unit", layer=layer.name),
        "plates": url_template(site, "plate", layer=layer.name),
        "patterns": url_template(site, "pattern", layer=layer.name),
        "columns": {name: [_shorten(row[name]) for row in rows] for name in _COLUMNS},
    }
    return assignment_script("layer", facts)


def list_layers(site: Site) -> Iterator[Params]:
    for slug in layer_slugs(site).values():
        yield {"layer": slug}


def list_layer_pages(site: Site) -> Iterator[Params]:
    """The second and later pages of layers with many channels."""
    for layer, params in zip(site.atlas.layers, list_layers(site), strict=True):
        for page in range(2, page_count(layer.channels) + 1):
            yield {**params, "page": str(page)}


def channel_rows(site: Site, layer: Layer, span: range) -> list[Facts]:
    """What the channels of a layer are sorted and filtered by."""
    atlas = site.atlas
    labels = {label.id: label.name for label in atlas.labels}
    pattern_channels = channel_queries.channels_with_pattern(atlas, layer)
    blobs = channel_queries.class_means(atlas, layer, span)
    indices = class_selectivity(decode_class_means(blobs)).tolist()
    selectivity = dict(zip(blobs, indices, strict=True))
    first_hits = {
        ranking: channel_queries.first_hits(atlas, layer, span, ranked_by=ranking)
        for ranking in RANKINGS
    }
    first_by_mean = first_hits[Ranking.MEAN]
    return [
        {
            "channel": row.channel,
            "maximum": row.maximum,
            "mean": hit.score if (hit := first_by_mean.get(row.channel)) else None,
            "fired_image_share": (row.fired_images or 0) / row.images if row.images else 0.0,
            "selectivity": number_json(selectivity.get(row.channel)),
            "class": None if row.top_label is None else labels.get(row.top_label),
            "dead": bool(row.dead),
            "non_finite": row.non_finite,
            "pattern": row.channel in pattern_channels,
            "plates": {
                ranking: _plate_kinds(first_hits[ranking].get(row.channel)) for ranking in RANKINGS
            },
        }
        for row in channel_queries.channel_summaries(atlas, layer, span)
    ]


def _links(site: Site, layer: Layer, row: Facts) -> Facts:
    channel = row["channel"]
    return {
        "href": url_for(site, "unit", layer=layer.name, channel=channel),
        "plates": {
            ranked_by: {
                kind: plate_url(site, layer.name, channel, ranked_by=ranked_by, kind=kind)
                for kind in kinds
            }
            for ranked_by, kinds in row["plates"].items()
        },
    }


def _plate_kinds(first_hit: FirstHitRow | None) -> list[str]:
    """The plates of a channel in one ranking; none without hits."""
    if first_hit is None:
        return []
    return ["patches", "projections"] if first_hit.has_projection else ["patches"]


def _neighbour_layers(site: Site, layer: Layer) -> Facts:
    names = list(layer_slugs(site))
    return neighbours(
        names.index(layer.name),
        len(names),
        lambda n: {"name": names[n], "href": url_for(site, "layer", layer=names[n])},
    )


def _shorten(value: object) -> object:
    """Four digits of a number, and the number of plate kinds in each ranking."""
    if isinstance(value, dict):
        return [len(value[name]) for name in RANKINGS]
    if isinstance(value, bool):
        return int(value)
    return float(f"{value:.4g}") if isinstance(value, float) else value
