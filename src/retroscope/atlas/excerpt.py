"""A part of an atlas as an atlas of its own: some layers, and the strongest channels of each."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from retroscope.atlas.database import TIMEOUT, connect
from retroscope.atlas.queries import channel_queries, excerpt_queries
from retroscope.atlas.reader import Atlas
from retroscope.atlas.schema import Json
from retroscope.atlas.sqlite_errors import translate_sqlite_errors
from retroscope.results.layers import Layer

_FACT = "excerpt"
"""The key under which table `meta` of an excerpt says what was left out."""


def write_excerpt(
    atlas: Atlas, path: Path, *, layers: Sequence[Layer], top_channels: int | None = None
) -> None:
    """Copies some layers of an atlas, with the hits of their channels with the highest maxima.

    Statistics of all channels are copied; projections and patterns of these channels, and the
    images among their hits.
    """
    channels: Mapping[str, Sequence[int]] = {
        layer.name: range(layer.channels)
        if top_channels is None
        else channel_queries.strongest_channels(atlas, layer, top_channels)
        for layer in layers
    }
    with (
        translate_sqlite_errors(path),
        closing(connect(atlas.path, "ro", TIMEOUT)) as source,
        closing(connect(path, "rwc", TIMEOUT)) as copy,
    ):
        source.backup(copy)
        copy.execute("BEGIN")
        excerpt_queries.delete_other_channels(copy, channels)
        fact: Json = {"layers": len(atlas.layers), "top_channels": top_channels}
        excerpt_queries.put_fact(copy, _FACT, fact)
        copy.execute("COMMIT")


def layer_count(atlas: Atlas) -> int:
    """The layers of the atlas, or of the one that this is an excerpt of."""
    fact = atlas.meta.get(_FACT)
    count = fact.get("layers") if isinstance(fact, dict) else None
    return count if isinstance(count, int) else len(atlas.layers)


def listed_channels(atlas: Atlas, layer: Layer) -> Sequence[int]:
    """The channels of a layer that are shown: all, or those of an excerpt."""
    fact = atlas.meta.get(_FACT)
    if not isinstance(fact, dict) or fact.get("top_channels") is None:
        return range(layer.channels)
    return sorted(channel_queries.strongest_channels(atlas, layer, layer.channels))
