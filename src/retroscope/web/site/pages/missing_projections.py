"""Hits that are not projected yet: how many, and what the command that makes them needs."""

from collections.abc import Sequence
from functools import lru_cache

from retroscope.atlas.queries import projection_queries, reader_queries
from retroscope.atlas.queries.rankings import HitRanking
from retroscope.atlas.queries.reader_queries import ProjectionCounts
from retroscope.atlas.reader import Atlas
from retroscope.atlas.schema import Ranking
from retroscope.results.layers import Layer
from retroscope.web.site.site import Facts, Site


def missing_of_ranking(
    unit: str,
    command: Facts,
    *,
    hits: int,
    ranked_by: str | None = None,
    labels: Sequence[str] = (),
) -> Facts | None:
    """What a plate lacks, or those of classes, if so many hits have no projection.

    `command` are the `command_facts`.
    """
    if not hits:
        return None
    return _missing(unit, hits, command) | {"ranked_by": ranked_by, "labels": list(labels)}


def missing_of_unit(site: Site, layer: Layer, channel: int) -> Facts | None:
    """What both plates of a channel lack."""
    span = range(channel, channel + 1)
    counts = projection_queries.count_missing(site.atlas, layer, channels=span)
    if not counts.hits:
        return None
    return _missing(f"{layer.name}:{channel}", counts.hits, command_facts(site))


def missing_of_layer(
    site: Site, layer: Layer, *, ranked_by: Ranking | None = None, label: str = ""
) -> Facts | None:
    """What the plates of a layer lack, in all and of the best hit of each channel.

    By default they are those by maximum and by mean; `ranked_by` is another ranking, and with a
    `label` they are those of the best images of that class. No hit of a sample is the best.
    """
    ranking = HitRanking(ranked_by) if ranked_by else None
    if label:
        ranking = HitRanking(label=site.atlas.label(label).id)
    counts = projection_queries.count_missing(site.atlas, layer, ranking=ranking)
    if not counts.hits:
        return None
    return _missing(layer.name, counts.hits, command_facts(site)) | {
        "best_hits": 0 if ranked_by == Ranking.SAMPLE else counts.best_hits,
        "ranked_by": ranked_by,
        "labels": [label] if label else [],
    }


def _missing(unit: str, hits: int, command: Facts) -> Facts:
    """Of the hits by maximum and by mean, unless a ranking or classes are named."""
    return {"hits": hits, "unit": unit, "ranked_by": None, "labels": [], **command}


def missing_of_atlas(site: Site) -> Facts | None:
    """What all hits of an atlas lack."""
    counts = _cached_counts(site.atlas, site.atlas.file_version)
    hits = counts.hits - counts.projected
    return {"hits": hits, "of": counts.hits, **command_facts(site)} if hits else None


@lru_cache(maxsize=8)
def _cached_counts(atlas: Atlas, _version: int) -> ProjectionCounts:
    return reader_queries.projection_counts(atlas, atlas.rules)


def command_facts(site: Site) -> Facts:
    """The file, and the network of the scan, as `open_model` takes it."""
    meta = site.atlas.meta
    return {"file": site.atlas.path.name, "model": str(meta.get("model") or "MODEL")}
