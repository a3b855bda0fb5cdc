"""Facts that several pages show: layers, units, and the links to neighbours and further pages."""

import json
from collections.abc import Callable, Iterable

from retroscope.atlas.schema import DEFAULT_RANKINGS
from retroscope.results.as_json import layer_json
from retroscope.results.layers import Layer
from retroscope.web.site.site import Facts, Site
from retroscope.web.site.urls import complete_url, page_url, url_for, url_template

ITEMS_PER_PAGE = 240
"""Channels or images on a page; a multiple of most numbers of columns."""
_MIN_SMOOTH_FIELD = 40


def layer_facts(site: Site, layer: Layer) -> Facts:
    """A layer and the path of its page."""
    return layer_json(layer) | {"href": url_for(site, "layer", layer=layer.name)}


def unit_facts(site: Site, layer: str, channel: int) -> Facts:
    """A unit as a link with its plate; `pixelated` if single pixels should stay sharp."""
    return channels_facts(site, site.atlas.layer(layer), [channel])[0]


def channels_facts(site: Site, layer: Layer, channels: Iterable[int]) -> list[Facts]:
    """Several units of a layer as `unit_facts`; faster than one by one."""
    href = url_template(site, "unit", layer=layer.name)
    kind = {"ranked_by": DEFAULT_RANKINGS[0], "kind": "patches"}
    plate = url_template(site, "plate", layer=layer.name, **kind)
    pixelated = is_pixelated(layer)
    return [
        {
            "unit": f"{layer.name}:{channel}",
            "channel": channel,
            "href": href.format(channel=channel),
            "plate": complete_url(plate, channel, **kind),
            "pixelated": pixelated,
        }
        for channel in channels
    ]


def is_pixelated(layer: Layer) -> bool:
    """Whether patches of a layer are so small that a page shows their pixels as squares."""
    return max(layer.field.y.size, layer.field.x.size) < _MIN_SMOOTH_FIELD


def plate_url(
    site: Site,
    layer: str,
    channel: int,
    *,
    ranked_by: str = DEFAULT_RANKINGS[0],
    kind: str = "patches",
) -> str:
    """The path of the image with the nine patches, projections or lit patches of a channel."""
    return url_for(site, "plate", layer=layer, channel=channel, ranked_by=ranked_by, kind=kind)


def neighbours(index: int, count: int, facts: Callable[[int], Facts]) -> Facts:
    """The entries before and after one in a list; None at its ends."""
    indices = {"previous": index - 1, "next": index + 1}
    return {name: facts(n) if 0 <= n < count else None for name, n in indices.items()}


def page_count(items: int) -> int:
    return -(-items // ITEMS_PER_PAGE) or 1


def page_span(page: int, items: int) -> range:
    """The indices of the items on a page."""
    start = (page - 1) * ITEMS_PER_PAGE
    return range(start, min(start + ITEMS_PER_PAGE, items))


def page_urls(site: Site, name: str, items: int, **values: object) -> list[str]:
    """The paths of all pages of a list."""
    return [page_url(site, name, n + 1, **values) for n in range(page_count(items))]


def assignment_script(name: str, facts: object) -> bytes:
    """A script that assigns facts to `retroscope.NAME`."""
    return f"retroscope.{name} = {json.dumps(facts, separators=(',', ':'))};\n".encode()
