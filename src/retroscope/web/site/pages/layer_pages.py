"""The page of a layer: the plates of its channels, and what they are sorted and filtered by."""

from collections.abc import Iterator, Mapping
from math import isfinite
from urllib.parse import urlencode

from retroscope.atlas.excerpt import listed_channels
from retroscope.atlas.queries import channel_queries
from retroscope.atlas.queries.rankings import RankingFacts
from retroscope.atlas.schema import DEFAULT_RANKINGS, Ranking
from retroscope.results.layers import Layer
from retroscope.web.site.pages.channel_table import (
    SCORE,
    Column,
    LayerTable,
    of_class,
    read_layer_table,
    shorten,
)
from retroscope.web.site.pages.charts import distribution
from retroscope.web.site.pages.layer_options import LayerOptions, parse_options, select_rows
from retroscope.web.site.pages.missing_projections import missing_of_layer
from retroscope.web.site.pages.number_facts import unit_names
from retroscope.web.site.pages.page_facts import (
    assignment_script,
    is_pixelated,
    layer_facts,
    neighbours,
    page_count,
    page_span,
    page_urls,
)
from retroscope.web.site.pages.plate_facts import class_plate_urls, plate_urls, view_letters
from retroscope.web.site.pages.ranking_facts import ranking_facts
from retroscope.web.site.site import Facts, PageNotFoundError, Params, Site
from retroscope.web.site.urls import find_layer_by_slug, layer_slugs, url_for, url_template

_ROW_KEYS = (
    *("channel", "maximum", "fired_image_share", "selectivity"),
    *("class", "dead", "pattern", "plates"),
)


def layer(site: Site, params: Params) -> Facts:
    """A layer, and the first or a later part of its channels, in the order of the URL."""
    layer = find_layer_by_slug(site, params["layer"])
    page = int(params.get("page", 1))
    table, options = _read_options(site, layer, params)
    selected = select_rows(table, options)
    if page > page_count(len(selected)):
        raise PageNotFoundError(f"no page {page} of {layer.name}")
    span = page_span(page, len(selected))
    condition = channel_queries.layer_condition(site.atlas, layer)
    columns = table.ranked_by(options.by)
    shown = columns.get(options.sort, columns[SCORE])
    names = unit_names(site, layer)
    return layer_facts(site, layer) | {
        "pixelated": is_pixelated(layer),
        "scanned": condition.known,
        "dead": condition.dead,
        "listed": len(table.rows),
        "matching": len(selected),
        "views": _layer_views(site, layer),
        "options": _option_facts(params, options, columns),
        "distributions": _distributions(columns, options),
        "missing": missing_of_layer(site, layer, label=options.label),
        "missing_of_rankings": [] if options.label else _missing_of_rankings(site, layer),
        "classes": [label.name for label in site.atlas.labels],
        "ranked_classes": [label.name for label in site.atlas.ranked_classes],
        "page": page,
        "columns": url_for(site, "layer_columns", layer=layer.name),
        "pages": page_urls(site, "layer", len(selected), layer=layer.name),
        "around": _neighbour_layers(site, layer),
        "rankings": ranking_facts(table.rankings),
        "plate_rows": _plate_rows(site, options),
        "plates": [
            _plate(site, layer, table.rows[row], label=options.label)
            | {"name": names.get(table.rows[row]["channel"]), "value": shown.values[row]}
            for row in selected[span.start : span.stop]
        ],
    }


def _read_options(site: Site, layer: Layer, params: Params) -> tuple[LayerTable, LayerOptions]:
    """The table of a layer, or of a class in it, and what the URL asks for."""
    table = read_layer_table(site, layer)
    options = parse_options(params, table.columns, site.atlas)
    if options.label:
        table = of_class(table, site, layer, site.atlas.label(options.label))
    return table, options


def columns_script(site: Site, params: Params) -> bytes:
    """All channels of a layer, column by column, for the script that sorts and filters them."""
    layer = find_layer_by_slug(site, params["layer"])
    table, options = _read_options(site, layer, params)
    plates = {"layer": layer.name} | ({"label": options.label} if options.label else {})
    facts = {
        "units": url_template(site, "unit", layer=layer.name),
        "plates": url_template(site, "class_plate" if options.label else "plate", **plates),
        "patterns": url_template(site, "pattern", layer=layer.name),
        "columns": {key: [_pack(row[key]) for row in table.rows] for key in _ROW_KEYS},
        "scores": {ranking: column.values for ranking, column in table.scores.items()},
        "values": {name: column.values for name, column in table.columns.items()},
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


def _option_facts(params: Params, options: LayerOptions, columns: Mapping[str, Column]) -> Facts:
    """The options of a URL, in words where they leave channels out, and for links to more pages."""
    asked = {name: value for name, value in params.items() if name not in ("layer", "page")}
    return {
        "sort": options.sort,
        "sort_title": columns[options.sort].title if options.sort in columns else "",
        "by": options.by,
        "show": options.show,
        "size": options.size,
        "class": options.label,
        "top_class": options.top_class,
        "ranges": [
            {
                "name": name,
                "title": columns[name].title,
                "low": low if isfinite(low) else None,
                "high": high if isfinite(high) else None,
            }
            for name, (low, high) in options.ranges.items()
        ],
        "problems": list(options.problems),
        "query": urlencode({name: value for name, value in asked.items() if value}),
    }


def _distributions(columns: Mapping[str, Column], options: LayerOptions) -> list[Facts]:
    """How each value is distributed over the channels of a layer, and the range of the URL."""
    facts = []
    for name, column in columns.items():
        chart = distribution(column.values, chance=column.chance)
        low, high = (bound if isfinite(bound) else None for bound in options.range_of(name))
        facts.append(
            {
                "name": name,
                "title": column.title,
                "doc": column.doc,
                "subject": column.subject,
                "from": low,
                "to": high,
                "chart": chart,
            }
        )
    return facts


def _missing_of_rankings(site: Site, layer: Layer) -> list[Facts]:
    """What the plates of the rankings lack that a scan does not project."""
    others = (Ranking(name) for name in site.atlas.rankings if name not in DEFAULT_RANKINGS)
    lacking = (missing_of_layer(site, layer, ranked_by=ranking) for ranking in others)
    return [missing for missing in lacking if missing]


def _plate_rows(site: Site, options: LayerOptions) -> int:
    """Rows of tiles that plates have: a class may have fewer images than a ranking."""
    if options.label:
        return min(-(-RankingFacts.from_meta(site.atlas.meta).per_class // 3), 3)
    return 2 if options.by == Ranking.SAMPLE else 3


def _plate(site: Site, layer: Layer, row: Facts, *, label: str) -> Facts:
    """A channel, with the paths of its page and its plates."""
    channel = row["channel"]
    return row | {
        "href": url_for(site, "unit", layer=layer.name, channel=channel),
        "plates": {
            ranked_by: class_plate_urls(site, layer, channel, views, label=label)
            if label
            else plate_urls(site, layer, channel, views, ranked_by=ranked_by)
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


def _pack(value: object) -> object:
    """Four digits of a number, and the letters of the views that have plates in each ranking."""
    if isinstance(value, dict):
        return [view_letters(views) for views in value.values()]
    if isinstance(value, bool):
        return int(value)
    return shorten(value) if isinstance(value, float) else value
