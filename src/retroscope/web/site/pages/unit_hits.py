"""The hits of a unit in a ranking, or of a class, with the plates that show them."""

from collections.abc import Mapping

from retroscope.atlas.image_blobs import stored_image_sizes
from retroscope.atlas.queries import channel_queries
from retroscope.atlas.queries.channel_queries import UnitHitRow
from retroscope.atlas.queries.reader_queries import Label
from retroscope.atlas.schema import DEFAULT_RANKINGS
from retroscope.geometry import Box
from retroscope.imaging.decoding import Size
from retroscope.render.mosaics import cell_size
from retroscope.results.as_json import box_json
from retroscope.results.layers import Layer
from retroscope.results.plates import HALF, place_in_image
from retroscope.web.site.pages.image_pages import image_links
from retroscope.web.site.pages.missing_projections import missing_of_ranking
from retroscope.web.site.pages.plate_facts import VIEW_LETTERS, plate_urls
from retroscope.web.site.site import Facts, Site
from retroscope.web.site.site_files import PLATE_KINDS

_TONE = "-gamma"


def ranking(
    site: Site, layer: Layer, channel: int, *, ranked_by: str, label: Label | None = None
) -> Facts:
    """The hits of a channel, and the plates of projections and lit patches, in the same order.

    `gamma` are the plates of projections by that tone. `cell` is the side of a square that holds
    the window of any of the hits: all are shown at one scale. Of a class, which has the best
    hits of its images, there are patches alone.
    """
    number = None if label is None else label.id
    rows = channel_queries.unit_hits(site.atlas, layer, channel, ranked_by=ranked_by, label=number)
    sizes = stored_image_sizes(site.atlas, [row.image for row in rows])
    windows = [_visible(layer.field.box(row.y, row.x), sizes.get(row.image)) for row in rows]
    plates: Facts = {**dict.fromkeys(VIEW_LETTERS), "gamma": {}}
    if label is None:
        plates = _plates(site, layer, channel, rows, ranked_by=ranked_by)
    return plates | {
        "missing": None if label else _missing(site, layer, channel, rows, ranked_by=ranked_by),
        "cell": max(cell_size((window.height, window.width) for window in windows)),
        "hits": [_hit_facts(site, layer, row, sizes=sizes) for row in rows],
    }


def _missing(
    site: Site, layer: Layer, channel: int, rows: list[UnitHitRow], *, ranked_by: str
) -> Facts | None:
    """The hits without a projection; None for rankings that a scan does not project."""
    if ranked_by not in DEFAULT_RANKINGS:
        return None
    unprojected = sum(row.activation is None for row in rows)
    return missing_of_ranking(site, layer, channel, ranked_by=ranked_by, hits=unprojected)


def _plates(
    site: Site, layer: Layer, channel: int, rows: list[UnitHitRow], *, ranked_by: str
) -> Facts:
    """The paths of the plates that there are; None for the others."""
    span = range(channel, channel + 1)
    kinds: list[str] = []
    if any(row.activation is not None for row in rows):
        kinds += ["projections", "lit"]
    is_default = ranked_by in DEFAULT_RANKINGS
    if kinds or is_default:
        contrasts = channel_queries.channels_with_rules(
            site.atlas, layer, "contrast", channels=span
        )
        kinds += ["contrast"] if contrasts else []
    tones = {view: view + _TONE for view in kinds if view + _TONE in PLATE_KINDS}
    views = [*kinds, *tones.values()]
    urls = plate_urls(site, layer, channel, views, ranked_by=ranked_by)
    return {
        **{view: urls.get(view) for view in VIEW_LETTERS},
        "gamma": {view: urls[tone] for view, tone in tones.items()},
    }


def _visible(box: Box, size: Size | None) -> Box:
    """The part of a field in an image; the field, if the image is not stored."""
    return box if size is None else box.clip(*size)


def _hit_facts(site: Site, layer: Layer, row: UnitHitRow, *, sizes: Mapping[int, Size]) -> Facts:
    """A hit with the keys of `patch_json`, its rank, its class, and its image if it is stored.

    `place` is the middle of a field whose patch looks like the image; `middle`, to be marked in
    the image, also that of fields half as large.
    """
    box = layer.field.box(row.y, row.x)
    size = sizes.get(row.image)
    return {
        "rank": row.rank,
        "score": row.score,
        "quantile": None,
        "remark": "",
        "position": [row.y, row.x],
        "box": box_json(box),
        "window": box_json(_visible(box, size)),
        "place": place_in_image(box, size) if size else None,
        "middle": place_in_image(box, size, share=HALF) if size else None,
        "image": row.image,
        "source": row.key,
        "class": row.label,
        **(image_links(site, row.image) if size else {"href": None, "src": None}),
        "size": list(size) if size else None,
        "projected": row.activation is not None,
        "notes": row.note.splitlines() if row.note else [],
    }
