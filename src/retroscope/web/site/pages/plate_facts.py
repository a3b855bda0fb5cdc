"""Which plates the channels of a layer have, and their paths."""

from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cache

from retroscope.atlas.queries import channel_queries
from retroscope.atlas.queries.channel_queries import FirstHitRow
from retroscope.atlas.schema import DEFAULT_RANKINGS
from retroscope.results.layers import Layer
from retroscope.web.site.site import Facts, Site
from retroscope.web.site.urls import complete_url, from_first, url_template

VIEW_LETTERS = {"patches": "p", "projections": "d", "lit": "l", "contrast": "c"}
"""The views of a unit with a plate of their own, and the letters of their keys."""
_FEW_CHANNELS = 20


def plate_views(
    site: Site, layer: Layer, span: range, *, ranked_by: str = DEFAULT_RANKINGS[0]
) -> dict[int, tuple[str, ...]]:
    """The views that the channels with hits have in a ranking, in the order of the table."""
    first_hits = channel_queries.first_hits(site.atlas, layer, span, ranked_by=ranked_by)
    return views_of_hits(first_hits, contrast_channels(site, layer, span))


def contrast_channels(site: Site, layer: Layer, span: range) -> set[int]:
    """The channels with projections of what the unit adds."""
    return channel_queries.channels_with_rules(site.atlas, layer, "contrast", channels=span)


def views_of_hits(
    first_hits: Mapping[int, FirstHitRow], contrasts: Container[int]
) -> dict[int, tuple[str, ...]]:
    """The views of channels by their first hits in a ranking."""
    return {
        channel: _views(bool(hit.has_projection), channel in contrasts)
        for channel, hit in first_hits.items()
    }


def view_letters(views: tuple[str, ...]) -> str:
    """The letters of views, for a script.

    >>> view_letters(("patches", "lit"))
    'pl'
    """
    return "".join(map(VIEW_LETTERS.__getitem__, views))


@cache
def _views(has_projection: bool, has_contrast: bool) -> tuple[str, ...]:
    projections = ("projections", "lit") if has_projection else ()
    return ("patches", *projections, *(("contrast",) if has_contrast else ()))


def plate_urls(
    site: Site,
    layer: Layer,
    channel: int,
    views: Iterable[str],
    *,
    ranked_by: str = DEFAULT_RANKINGS[0],
) -> Facts:
    """The path of the plate of each view."""
    names = list(views)
    if not names:
        return {}
    template = url_template(site, "plate", layer=layer.name, channel=channel, ranked_by=ranked_by)
    return {view: complete_url(template, channel, ranked_by=ranked_by, kind=view) for view in names}


def class_plate_urls(
    site: Site, layer: Layer, channel: int, views: Iterable[str], *, label: str
) -> Facts:
    """The path of the plate of each view of the best images of a class."""
    template = url_template(site, "class_plate", layer=layer.name, channel=channel, label=label)
    return {view: template.format(kind=view) for view in views}


def read_sides(site: Site, layer: Layer, channels: Sequence[int]) -> dict[int, Facts]:
    """The plates and the pattern of channels in one of several atlases, as the first reaches them.

    The layer is that of the first atlas.
    """
    own_layer = site.atlas.layer(layer.name)
    patterns = channel_queries.channels_with_pattern(site.atlas, own_layer)
    views: dict[int, tuple[str, ...]] = {}
    for span in _spans(channels):
        views |= plate_views(site, own_layer, span)
    ranking = {"ranked_by": str(DEFAULT_RANKINGS[0])}
    plate = from_first(site, url_template(site, "plate", layer=layer.name, **ranking))
    pattern = from_first(site, url_template(site, "pattern", layer=layer.name))
    return {
        channel: {
            "plates": {
                view: complete_url(plate, channel, kind=view, **ranking)
                for view in views.get(channel, ())
            },
            "template": plate.replace("{channel}", str(channel)),
            "pattern": complete_url(pattern, channel) if channel in patterns else None,
        }
        for channel in channels
    }


def _spans(channels: Sequence[int]) -> list[range]:
    """One question for each of few channels, or one for all."""
    if len(channels) <= _FEW_CHANNELS:
        return [range(channel, channel + 1) for channel in channels]
    return [range(min(channels), max(channels) + 1)]


def common_views(sides: Sequence[Facts]) -> list[str]:
    """The views that any of these sides has, in the order of the keys."""
    seen = {view for side in sides for view in side["plates"]}
    patterns = ["patterns"] if any(side["pattern"] for side in sides) else []
    return [view for view in VIEW_LETTERS if view in seen] + patterns
