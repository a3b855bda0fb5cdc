"""The pictures of the pages, each a WebP: kept pictures, and the plates of channels."""

from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from retroscope.atlas import queries
from retroscope.atlas.schema import RANKINGS
from retroscope.render.mosaics import block, factor_of, size_of, tiles_of
from retroscope.results.values import Patch
from retroscope.unit import Unit
from retroscope.web.site.site import NotThereError, Params, Site, channel_at, layer_at
from retroscope.web.site.urls import slugs

SHOWN = 9
KINDS = {"patches": ("patch", 80), "projections": ("projection", 112)}
"""What a plate shows of each hit, and about how many pixels a side: patches are also cut from the
pictures themselves where they are shown large, projections are not."""
_QUALITY = 82
_LOSSLESS = 96 * 96


def plate(site: Site, params: Params) -> bytes:
    """The nine patches or projections of a channel, three by three, without a gap."""
    layer = layer_at(site, params["layer"])
    channel = channel_at(layer, params["channel"])
    what, legible = KINDS[params["what"]]
    shown = site.atlas.plate(Unit(layer.name, channel), ranked_by=params["ranked_by"])
    if not shown.patches:
        raise NotThereError(f"{shown.unit} has no hits")
    return _webp(_mosaic(shown.patches[:SHOWN], what, legible))


def picture(site: Site, params: Params) -> bytes:
    """A kept picture, as the atlas has it."""
    blob = queries.picture_blob(site.atlas, int(params["image"]))
    if blob is None:
        raise NotThereError(f"no picture {params['image']}")
    return blob


def pattern(site: Site, params: Params) -> bytes:
    """The picture that was made to excite a channel, as the atlas has it."""
    layer = layer_at(site, params["layer"])
    blob = queries.pattern_blob(site.atlas, layer, channel_at(layer, params["channel"]))
    if blob is None:
        raise NotThereError(f"{layer.name}:{params['channel']} has no pattern")
    return blob


def every_pattern(site: Site) -> Iterator[Params]:
    names = tuple(layer.name for layer in site.atlas.layers)
    for layer in site.atlas.layers:
        for channel in sorted(queries.pattern_channels(site.atlas, layer)):
            yield {"layer": slugs(names)[layer.name], "channel": str(channel)}


def every_plate(site: Site) -> Iterator[Params]:
    """Those of all channels that have hits; projections where there are any."""
    names = tuple(layer.name for layer in site.atlas.layers)
    for layer in site.atlas.layers:
        for ranked_by in RANKINGS:
            for channel, lit in queries.illustrated(site.atlas, layer, ranked_by):
                for what in KINDS if lit else ("patches",):
                    yield {
                        "layer": slugs(names)[layer.name],
                        "channel": str(channel),
                        "ranked_by": ranked_by,
                        "what": what,
                    }


def every_picture(site: Site) -> Iterator[Params]:
    yield from ({"image": str(image)} for image in queries.kept_images(site.atlas))


def _mosaic(patches: tuple[Patch, ...], what: str, legible: int) -> Image.Image:
    """Tiles at their own size, smaller where that is more than legible; a page enlarges them."""
    factor = min(factor_of(map(size_of, patches), legible=legible), 1)
    tiles = tiles_of(patches, what, factor=factor)
    return block(tiles, places=SHOWN, columns=3, gap=0)


def _webp(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    small = picture.width * picture.height <= _LOSSLESS
    picture.save(buffer, "WEBP", lossless=small, quality=_QUALITY, method=2)
    return buffer.getvalue()
