"""The rows of a unit's page: images in the middle of its range, the least, and those of classes."""

from collections.abc import Sequence

from retroscope.atlas.queries.reader_queries import Label
from retroscope.atlas.schema import DEFAULT_RANKINGS, Ranking
from retroscope.results.layers import Layer
from retroscope.results.plates import sample_quantile
from retroscope.web.site.pages.ranking_facts import class_words, ranking_facts
from retroscope.web.site.pages.unit_hits import ranking
from retroscope.web.site.site import Facts, Site
from retroscope.web.site.urls import label_slugs

MAX_CLASS_ROWS = 8
"""More classes than these are chosen from a list."""


def unit_rows(site: Site, layer: Layer, channel: int, labels: Sequence[Label]) -> list[Facts]:
    """A row for each ranking of the atlas but the two at the top, and for these classes."""
    rankings = [name for name in site.atlas.rankings if name not in DEFAULT_RANKINGS]
    rows = [
        words
        | {"gallery": words["name"], "class": None}
        | ranking(site, layer, channel, ranked_by=words["name"])
        for words in ranking_facts(rankings)
    ]
    for row in rows:
        for hit in row["hits"] if row["name"] == Ranking.SAMPLE else ():
            hit["quantile"] = sample_quantile(hit["rank"])
            hit["remark"] = _describe_quantile(hit["quantile"])
    return rows + [_class_row(site, layer, channel, label) for label in labels]


def _class_row(site: Site, layer: Layer, channel: int, label: Label) -> Facts:
    gallery = f"class-{label_slugs(site)[label.name]}"
    hits = ranking(site, layer, channel, ranked_by=Ranking.MAX, label=label)
    return class_words(label.name) | {"gallery": gallery, "class": label.name} | hits


def _describe_quantile(quantile: float | None) -> str:
    return "random image" if quantile is None else f"quantile {quantile:g}"


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
