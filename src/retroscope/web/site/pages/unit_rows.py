"""The rows of a unit's page: images in the middle of its range, the least, and those of classes."""

from collections.abc import Sequence

from retroscope.atlas.queries.rankings import HitRanking
from retroscope.atlas.queries.reader_queries import Label
from retroscope.atlas.schema import DEFAULT_RANKINGS, Ranking
from retroscope.results.layers import Layer
from retroscope.results.plates import sample_quantile
from retroscope.web.site.pages.missing_projections import command_facts, missing_of_ranking
from retroscope.web.site.pages.ranking_facts import class_words, ranking_facts
from retroscope.web.site.pages.unit_hits import galleries
from retroscope.web.site.site import Facts, Site
from retroscope.web.site.urls import label_slugs

MAX_CLASS_ROWS = 8
"""More classes than these are chosen from a list."""


def unit_rows(site: Site, layer: Layer, channel: int, labels: Sequence[Label]) -> list[Facts]:
    """A row for each ranking of the atlas but the two at the top, and for these classes."""
    names = [name for name in site.atlas.rankings if name not in DEFAULT_RANKINGS]
    words = {
        HitRanking(Ranking(facts["name"])): facts | {"gallery": facts["name"], "class": None}
        for facts in ranking_facts(names)
    }
    slugs = label_slugs(site)
    for label in labels:
        gallery = {"gallery": f"class-{slugs[label.name]}", "class": label.name}
        words[HitRanking(label=label.id)] = class_words(label.name) | gallery
    hits = galleries(site, layer, channel, rankings=list(words))
    rows = [facts | hits[ranking] for ranking, facts in words.items()]
    for row in rows:
        for hit in row["hits"] if row["name"] == Ranking.SAMPLE else ():
            hit["quantile"] = sample_quantile(hit["rank"])
            hit["remark"] = _describe_quantile(hit["quantile"])
    return rows


def _describe_quantile(quantile: float | None) -> str:
    return "random image" if quantile is None else f"quantile {quantile:g}"


def missing_of_rows(site: Site, layer: Layer, channel: int, rows: Sequence[Facts]) -> Facts | None:
    """What the rows of classes lack together; they show different images."""
    lacking = [row for row in rows if row["class"] and row["missing"]]
    return missing_of_ranking(
        f"{layer.name}:{channel}",
        command_facts(site),
        hits=sum(row["missing"]["hits"] for row in lacking),
        labels=[row["class"] for row in lacking],
    )


def class_choice(site: Site, stats: Facts | None, asked: str) -> tuple[list[Label], Facts]:
    """The classes to show a row of, and those to choose from.

    Shown are all, or of many those with the highest mean maxima; first the one that is asked for.
    """
    ranked = {label.name: label for label in site.atlas.ranked_classes}
    by_mean = [entry["label"] for entry in stats["classes"]] if stats else []
    ordered = [name for name in dict.fromkeys([*by_mean, *ranked]) if name in ranked]
    first = [asked] if asked in ranked else []
    shown = list(dict.fromkeys([*first, *ordered[:MAX_CLASS_ROWS]]))
    facts = {
        "asked": first[0] if first else None,
        "names": list(ranked),
        "hidden": len(ranked) - len(shown),
        "file": site.atlas.path.name,
        "problem": f"The atlas does not have the best images of class {asked!r}."
        if asked and not first
        else "",
    }
    return [ranked[name] for name in shown], facts
