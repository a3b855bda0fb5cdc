"""Hits that are not projected yet: how many, and what the command that makes them needs."""

from functools import lru_cache

from retroscope.atlas.queries import projection_queries, reader_queries
from retroscope.atlas.queries.reader_queries import ProjectionCounts
from retroscope.atlas.reader import Atlas
from retroscope.results.layers import Layer
from retroscope.web.site.site import Facts, Site


def missing_of_ranking(
    site: Site, layer: Layer, channel: int, *, ranked_by: str, hits: int
) -> Facts | None:
    """What a plate lacks, if `hits` of its hits have no projection; None if they all have one."""
    if not hits:
        return None
    unit = f"{layer.name}:{channel}"
    return {"hits": hits, "unit": unit, "ranked_by": ranked_by, **command_facts(site)}


def missing_of_unit(site: Site, layer: Layer, channel: int) -> Facts | None:
    """What both plates of a channel lack."""
    span = range(channel, channel + 1)
    counts = projection_queries.count_missing(site.atlas, layer, channels=span)
    if not counts.hits:
        return None
    return {"hits": counts.hits, "unit": f"{layer.name}:{channel}", **command_facts(site)}


def missing_of_layer(site: Site, layer: Layer) -> Facts | None:
    """What the plates of a layer lack: in all, and of the best hit of each channel."""
    counts = projection_queries.count_missing(site.atlas, layer)
    if not counts.hits:
        return None
    return {**counts._asdict(), "unit": layer.name, **command_facts(site)}


def missing_of_atlas(site: Site) -> Facts | None:
    """What all hits of an atlas lack."""
    counts = _cached_counts(site.atlas, reader_queries.data_version(site.atlas))
    hits = counts.hits - counts.projected
    return {"hits": hits, "of": counts.hits, **command_facts(site)} if hits else None


@lru_cache(maxsize=8)
def _cached_counts(atlas: Atlas, _version: int) -> ProjectionCounts:
    return reader_queries.projection_counts(atlas, atlas.rules)


def command_facts(site: Site) -> Facts:
    """The file, and the network of the scan, as `open_model` takes it."""
    meta = site.atlas.meta
    return {"file": site.atlas.path.name, "model": str(meta.get("model") or "MODEL")}
