"""The page of a layer: the plates of all its channels, and what they are sorted by."""

from collections.abc import Iterator

import numpy as np

from retroscope.atlas import queries
from retroscope.atlas.schema import RANKINGS
from retroscope.results.values import Layer
from retroscope.web.site.pages.network_page import layer_facts
from retroscope.web.site.pages.search_index import as_script
from retroscope.web.site.selectivity import means_of, selectivity
from retroscope.web.site.site import (
    Facts,
    NotThereError,
    Params,
    Site,
    around,
    layer_at,
    layer_path,
    pattern_path,
    plate_path,
    unit_path,
)

AT_ONCE = 240
"""Channels on a page, for reading without scripts; a multiple of most numbers of columns."""


def layer(site: Site, params: Params) -> Facts:
    """A layer, and the first or a further part of its channels."""
    found = layer_at(site, params["layer"])
    page = int(params.get("page", 1))
    start = (page - 1) * AT_ONCE
    if page > pages(found):
        raise NotThereError(f"no page {page} of {found.name}")
    span = range(start, min(start + AT_ONCE, found.channels))
    known, dead = queries.condition(site.atlas, found)
    shown = [row | _places(site, found, row) for row in channel_rows(site, found, span)]
    return layer_facts(site, found) | {
        "known": known,
        "dead": dead,
        "patterns": bool(queries.pattern_channels(site.atlas, found)),
        "classes": [label.name for label in site.atlas.labels],
        "page": page,
        "columns": layer_path(site, found.name).replace(".html", ".js"),
        "pages": [layer_path(site, found.name, number + 1) for number in range(pages(found))],
        "around": _around(site, found),
        "plates": shown,
    }


def script(site: Site, params: Params) -> bytes:
    """All channels of a layer column by column, for the script that sorts and filters them."""
    found = layer_at(site, params["layer"])
    rows = channel_rows(site, found, range(found.channels))
    names = (
        "channel",
        "maximum",
        "mean",
        "fired",
        "selectivity",
        "class",
        "dead",
        "pattern",
        "plates",
    )
    facts = {
        "units": unit_path(site, found.name, 0).rpartition("/")[0] + "/",
        "plates": plate_path(site, found.name, 0, ranked_by="", what="").rpartition("/")[0] + "/",
        "patterns": pattern_path(site, found.name, 0).rpartition("/")[0] + "/",
        "classes": [label.name for label in site.atlas.labels],
        "columns": {name: [_brief(row[name]) for row in rows] for name in names},
    }
    return as_script("layer", facts)


def every_layer(site: Site) -> Iterator[Params]:
    for one in site.atlas.layers:
        yield {"layer": layer_path(site, one.name).removeprefix("layer/").removesuffix(".html")}


def every_page(site: Site) -> Iterator[Params]:
    """The further pages of layers with many channels."""
    for one, params in zip(site.atlas.layers, every_layer(site), strict=True):
        yield from ({**params, "page": str(page)} for page in range(2, pages(one) + 1))


def pages(layer: Layer) -> int:
    return -(-layer.channels // AT_ONCE) or 1


def channel_rows(site: Site, layer: Layer, span: range) -> list[Facts]:
    """What channels of a layer can be sorted and filtered by."""
    atlas = site.atlas
    labels = {label.id: label.name for label in atlas.labels}
    patterned = queries.pattern_channels(atlas, layer)
    blobs = queries.class_means(atlas, layer, span)
    selective = dict(zip(blobs, selectivity(means_of(blobs)).tolist(), strict=True))
    first = {name: queries.first_hits(atlas, layer, name, span) for name in RANKINGS}
    return [
        {
            "channel": channel,
            "maximum": maximum,
            "mean": first["mean"].get(channel, (None, False))[0],
            "fired": fired / images if images else 0.0,
            "selectivity": _known(selective.get(channel)),
            "class": labels.get(label),
            "dead": bool(dead),
            "not_finite": broken,
            "pattern": channel in patterned,
            "plates": {name: _shown(first[name].get(channel)) for name in RANKINGS},
        }
        for channel, maximum, _, images, fired, _, _, broken, dead, label in queries.channels(
            atlas, layer, span
        )
    ]


def _places(site: Site, layer: Layer, row: Facts) -> Facts:
    channel = int(str(row["channel"]))
    shown = row["plates"]
    assert isinstance(shown, dict)
    plates = {
        ranked_by: {
            what: plate_path(site, layer.name, channel, ranked_by=ranked_by, what=what)
            for what in kinds
        }
        for ranked_by, kinds in shown.items()
    }
    return {"href": unit_path(site, layer.name, channel), "plates": plates}


def _shown(first: tuple[float, bool] | None) -> list[str]:
    """Which plates a channel has in one ranking: none without a hit."""
    if first is None:
        return []
    return ["patches", "projections"] if first[1] else ["patches"]


def _around(site: Site, layer: Layer) -> Facts:
    names = [one.name for one in site.atlas.layers]
    return around(
        names.index(layer.name),
        len(names),
        lambda n: {"name": names[n], "href": layer_path(site, names[n])},
    )


def _known(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value


def _brief(value: object) -> object:
    """Four digits are enough to sort by, and the number of plates in each ranking to show them."""
    if isinstance(value, dict):
        return [len(value[name]) for name in RANKINGS]
    if isinstance(value, bool):
        return int(value)
    return float(f"{value:.4g}") if isinstance(value, float) else value
