"""The page of a unit: its hits, its statistics, and the channels similar to it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from shlex import quote

from retroscope.atlas.excerpt import listed_channels
from retroscope.atlas.queries import channel_queries
from retroscope.atlas.queries.rankings import HitRanking
from retroscope.atlas.schema import DEFAULT_RANKINGS, AtlasError, Ranking
from retroscope.results.as_json import stats_json
from retroscope.results.caveats import projection_caveats
from retroscope.results.json_numbers import number_json
from retroscope.results.layers import Layer
from retroscope.results.statistics import ChannelStats
from retroscope.unit import Unit
from retroscope.web.site.channel_metrics import (
    class_selectivity,
    decode_class_means,
    find_similar_channels,
)
from retroscope.web.site.comparison import common_layers
from retroscope.web.site.pages.charts import histogram_bars, maxima_marks
from retroscope.web.site.pages.missing_projections import missing_of_unit
from retroscope.web.site.pages.number_facts import number_facts
from retroscope.web.site.pages.page_facts import channels_facts, layer_facts, neighbours
from retroscope.web.site.pages.plate_facts import VIEW_LETTERS
from retroscope.web.site.pages.ranking_facts import ranking_facts
from retroscope.web.site.pages.unit_hits import galleries
from retroscope.web.site.pages.unit_rows import class_choice, missing_of_rows, unit_rows
from retroscope.web.site.site import Facts, Params, Site, make_site
from retroscope.web.site.urls import (
    find_layer_by_slug,
    label_urls,
    layer_slugs,
    parse_channel,
    to_first,
    url_for,
)


def unit(site: Site, params: Params) -> Facts:
    """Everything the atlas stores about a channel."""
    layer = find_layer_by_slug(site, params["layer"])
    channel = parse_channel(layer, params["channel"])
    facts = describe_unit(site, layer, channel)
    classes, choice = class_choice(site, facts["stats"], params.get("class", ""))
    rows = unit_rows(site, layer, channel, classes)
    samples = [row["hits"] for row in rows if row["name"] == Ranking.SAMPLE]
    return facts | {
        "rows": rows,
        "class_choice": choice,
        "missing_of_classes": missing_of_rows(site, layer, channel, rows),
        "marks": maxima_marks(facts["histogram"], *samples),
        "similar": _similar(site, layer, channel),
        "around": _neighbour_channels(site, layer, channel),
    }


def describe_unit(site: Site, layer: Layer, channel: int) -> Facts:
    """What the page of a unit and that of its comparison show."""
    unit = Unit(layer.name, channel)
    stats = _read_stats(site, unit)
    hits = galleries(site, layer, channel, rankings=list(map(HitRanking, DEFAULT_RANKINGS)))
    rankings = {ranking.ranked_by: facts for ranking, facts in hits.items()}
    return {
        "unit": str(unit),
        "aliases": [f"{alias}:{channel}" for alias in layer.aliases],
        "channel": channel,
        "layer": layer_facts(site, layer),
        "stats": None if stats is None else _stats_facts(site, stats),
        **number_facts(site, unit),
        "histogram": None if stats is None else histogram_bars(stats),
        "selectivity": _selectivity(site, layer, channel),
        "rankings": rankings,
        "ranking_words": ranking_facts(DEFAULT_RANKINGS),
        "views": _unit_views(rankings),
        "missing": missing_of_unit(site, layer, channel),
        "comparison": _comparison_url(site, layer, channel),
        "patterns": _patterns(site, layer, channel),
        "reproduce": _reproduce(site, unit),
        "rules": site.atlas.rules,
        "caveat": " ".join(projection_caveats([site.atlas.rules])),
    }


def _unit_views(rankings: Mapping[Ranking, Facts]) -> list[str]:
    """The views of a unit. Projections are among them also while they are missing."""
    stored = {
        view for hits in rankings.values() for view in VIEW_LETTERS if hits.get(view) is not None
    }
    if any(hits["hits"] for hits in rankings.values()):
        stored.add("projections")
    return [view for view in VIEW_LETTERS if view == "patches" or view in stored]


def list_units(site: Site) -> Iterator[Params]:
    for layer, slug in zip(site.atlas.layers, layer_slugs(site).values(), strict=True):
        channels = listed_channels(site.atlas, layer)
        yield from ({"layer": slug, "channel": str(n)} for n in channels)


def _read_stats(site: Site, unit: Unit) -> ChannelStats | None:
    """None if the scan has not reached this layer."""
    try:
        return site.atlas.stats(unit)
    except AtlasError:
        return None


def _stats_facts(site: Site, stats: ChannelStats) -> Facts:
    urls = label_urls(site)
    facts = stats_json(stats)
    facts["classes"] = [entry | {"href": urls[entry["label"]]} for entry in facts["classes"]]
    return facts


def _selectivity(site: Site, layer: Layer, channel: int) -> float | None:
    blobs = channel_queries.class_means(site.atlas, layer, [channel])
    indices = class_selectivity(decode_class_means(blobs)).tolist()
    return number_json(indices[0]) if indices else None


def _patterns(site: Site, layer: Layer, channel: int) -> list[Facts]:
    """The synthetic patterns of a channel; the page shows the first."""
    src = url_for(site, "pattern", layer=layer.name, channel=channel)
    return [
        {
            "recipe": row.recipe,
            "seed": row.seed,
            "steps": row.steps,
            "activation": row.activation,
            "notes": row.note.splitlines(),
            "caveats": row.caveat.splitlines(),
            "src": src if number == 0 else None,
        }
        for number, row in enumerate(channel_queries.pattern_summaries(site.atlas, layer, channel))
    ]


def _similar(site: Site, layer: Layer, channel: int) -> list[Facts]:
    channels = find_similar_channels(site.atlas, layer, channel)
    units = channels_facts(site, layer, [similar.channel for similar in channels])
    return [
        unit
        | {
            "shared_images": similar.shared_images,
            "class_similarity": number_json(similar.class_similarity),
        }
        for unit, similar in zip(units, channels, strict=True)
    ]


def _neighbour_channels(site: Site, layer: Layer, channel: int) -> Facts:
    channels = listed_channels(site.atlas, layer)
    return neighbours(
        channels.index(channel),
        len(channels),
        lambda n: {
            "unit": f"{layer.name}:{channels[n]}",
            "href": url_for(site, "unit", layer=layer.name, channel=channels[n]),
        },
    )


def _comparison_url(site: Site, layer: Layer, channel: int) -> str | None:
    """The page with this unit in all atlases of a comparison."""
    if not site.compared or layer.name not in {
        common.name for common in common_layers(*site.compared)
    }:
        return None
    first = replace(make_site(site.compared[0]), is_packed=site.is_packed)
    return to_first(site, url_for(first, "unit_comparison", layer=layer.name, channel=channel))


def _reproduce(site: Site, unit: Unit) -> Facts:
    """How to draw this plate on the command line and in Python."""
    file = site.atlas.path.name
    return {
        "command": f"retroscope show {quote(file)} {quote(str(unit))}",
        "python": f"rs.draw(rs.open_atlas({file!r})[{str(unit)!r}]).save('plate.png')",
    }
