"""The page of a layer: the plates of its channels, and the columns they are sorted by."""

from collections.abc import Iterator, Sequence

from retroscope.atlas.excerpt import listed_channels
from retroscope.atlas.queries import channel_queries
from retroscope.atlas.schema import RANKINGS, Ranking
from retroscope.results.as_json import number_json
from retroscope.results.layers import Layer
from retroscope.web.site.channel_metrics import class_selectivity, decode_class_means
from retroscope.web.site.pages.missing_projections import missing_of_layer
from retroscope.web.site.pages.number_facts import (
    number_columns,
    sortable_numbers,
    unit_names,
)
from retroscope.web.site.pages.page_facts import (
    assignment_script,
    is_pixelated,
    layer_facts,
    neighbours,
    page_count,
    page_span,
    page_urls,
)
from retroscope.web.site.pages.plate_facts import (
    contrast_channels,
    plate_urls,
    view_letters,
    views_of_hits,
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
    listed = listed_channels(site.atlas, layer)
    if page > page_count(len(listed)):
        raise PageNotFoundError(f"no page {page} of {layer.name}")
    condition = channel_queries.layer_condition(site.atlas, layer)
    span = page_span(page, len(listed))
    rows = _listed_rows(site, layer, listed[span.start : span.stop])
    names = unit_names(site, layer)
    return layer_facts(site, layer) | {
        "pixelated": is_pixelated(layer),
        "scanned": condition.known,
        "dead": condition.dead,
        "listed": len(listed),
        "views": _layer_views(site, layer),
        "numbers": sortable_numbers(site, layer),
        "missing": missing_of_layer(site, layer),
        "classes": [label.name for label in site.atlas.labels],
        "page": page,
        "columns": url_for(site, "layer_columns", layer=layer.name),
        "pages": page_urls(site, "layer", len(listed), layer=layer.name),
        "around": _neighbour_layers(site, layer),
        "plates": [
            row | _links(site, layer, row) | {"name": names.get(row["channel"])} for row in rows
        ],
    }


def columns_script(site: Site, params: Params) -> bytes:
    """All channels of a layer, column by column, for the script that sorts and filters them."""
    layer = find_layer_by_slug(site, params["layer"])
    rows = _listed_rows(site, layer, listed_channels(site.atlas, layer))
    facts = {
        "units": url_template(site, "unit", layer=layer.name),
        "plates": url_template(site, "plate", layer=layer.name),
        "patterns": url_template(site, "pattern", layer=layer.name),
        "columns": {name: [_shorten(row[name]) for row in rows] for name in _COLUMNS},
        "numbers": number_columns(site, layer, [row["channel"] for row in rows]),
        "names": unit_names(site, layer),
    }
    return assignment_script("layer", facts)


def list_layers(site: Site) -> Iterator[Params]:
    for slug in layer_slugs(site).values():
        yield {"layer": slug}


def list_layer_pages(site: Site) -> Iterator[Params]:
    """The second and later pages of layers with many channels."""
    for layer, params in zip(site.atlas.layers, list_layers(site), strict=True):
        for page in range(2, page_count(len(listed_channels(site.atlas, layer))) + 1):
            yield {**params, "page": str(page)}


def _listed_rows(site: Site, layer: Layer, channels: Sequence[int]) -> list[Facts]:
    """The rows of these channels, which are in order."""
    span = range(channels[0], channels[-1] + 1) if channels else range(0)
    return [row for row in channel_rows(site, layer, span) if row["channel"] in channels]


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
    contrasts = contrast_channels(site, layer, span)
    views = {ranking: views_of_hits(first_hits[ranking], contrasts) for ranking in RANKINGS}
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
            "plates": {ranking: views[ranking].get(row.channel, ()) for ranking in RANKINGS},
        }
        for row in channel_queries.channel_summaries(atlas, layer, span)
    ]


def _links(site: Site, layer: Layer, row: Facts) -> Facts:
    channel = row["channel"]
    return {
        "href": url_for(site, "unit", layer=layer.name, channel=channel),
        "plates": {
            ranked_by: plate_urls(site, layer, channel, views, ranked_by=ranked_by)
            for ranked_by, views in row["plates"].items()
        },
    }


def _layer_views(site: Site, layer: Layer) -> list[str]:
    """The views that any channel of a layer has."""
    atlas = site.atlas
    has_projections = bool(channel_queries.channels_with_rules(atlas, layer, atlas.rules))
    is_stored = {
        "patches": True,
        "projections": has_projections,
        "lit": has_projections,
        "contrast": bool(channel_queries.channels_with_rules(atlas, layer, "contrast")),
        "patterns": bool(channel_queries.channels_with_pattern(atlas, layer)),
    }
    return [view for view, stored in is_stored.items() if stored]


def _neighbour_layers(site: Site, layer: Layer) -> Facts:
    names = list(layer_slugs(site))
    return neighbours(
        names.index(layer.name),
        len(names),
        lambda n: {"name": names[n], "href": url_for(site, "layer", layer=names[n])},
    )


def _shorten(value: object) -> object:
    """Four digits of a number, and the letters of the views that have plates in each ranking."""
    if isinstance(value, dict):
        return [view_letters(value[name]) for name in RANKINGS]
    if isinstance(value, bool):
        return int(value)
    return float(f"{value:.4g}") if isinstance(value, float) else value
