"""The files of a site besides its pages: plates, patterns, images, style sheets and scripts."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw

from retroscope.atlas.queries import channel_queries, image_queries
from retroscope.atlas.queries.projection_queries import PLATE_SIZE
from retroscope.atlas.schema import DEFAULT_RANKINGS
from retroscope.imaging.encoding import encode_webp
from retroscope.render.mosaics import cell_size, draw_tiles, legible_factor, scaled_size, tile_size
from retroscope.render.tone import DEFAULT_TONE
from retroscope.results.plates import Patch
from retroscope.unit import Unit
from retroscope.web.site.site import PageNotFoundError, Params, Site
from retroscope.web.site.slice_plates import draw_slice_plates
from retroscope.web.site.urls import (
    find_label_by_slug,
    find_layer_by_slug,
    layer_slugs,
    parse_channel,
)


@dataclass(frozen=True)
class PlateKind:
    """What a plate shows of each hit, and the side of a tile in pixels.

    `rules` are those of its projections, where they are not those that the atlas is shown with. A
    plate of volumes with `all_slices` is a stack of plates, one for each slice that a unit sees.
    """

    content: str
    side: int = 112
    rules: str | None = None
    tone: str = DEFAULT_TONE
    all_slices: bool = False


PLATE_KINDS = {
    "patches": PlateKind("patch", side=80),
    "projections": PlateKind("projection"),
    "lit": PlateKind("lit"),
    "contrast": PlateKind("projection", rules="contrast"),
    "projections-gamma": PlateKind("projection", tone="gamma"),
    "contrast-gamma": PlateKind("projection", rules="contrast", tone="gamma"),
    "projections-slices": PlateKind("projection", all_slices=True),
    "lit-slices": PlateKind("lit", all_slices=True),
}
"""Patches need fewer pixels: where a page shows them larger, it cuts them from the whole image.
Pages make the tone `tile` from `gamma`, as its square.
"""
_QUALITY, _EFFORT = 82, 2
_DOT, _DOT_RADIUS = (128, 130, 134, 140), 0.03
_LOSSLESS_PIXELS = 96 * 96
_ASSETS = Path(__file__).parent / "assets"


def plate(site: Site, params: Params) -> bytes:
    """The patches, projections or lit patches of a channel, three by three, without gaps."""
    layer = find_layer_by_slug(site, params["layer"])
    channel = parse_channel(layer, params["channel"])
    kind = PLATE_KINDS[params["kind"]]
    if kind.all_slices and site.volume is None:
        raise PageNotFoundError(f"{site.name} is of images, which have no slices")
    label = find_label_by_slug(site, params["label"]).name if "label" in params else None
    ranked_by = params.get("ranked_by", DEFAULT_RANKINGS[0])
    plate = site.atlas.plate(
        Unit(layer.name, channel), ranked_by=ranked_by, label=label, rules=kind.rules
    )
    if not plate.patches:
        raise PageNotFoundError(f"{plate.unit} has no hits")
    patches = plate.patches[:PLATE_SIZE]
    return encode_webp(
        _draw_plate(patches, kind),
        quality=_QUALITY,
        lossless_up_to=_LOSSLESS_PIXELS,
        effort=_EFFORT,
    )


def pattern(site: Site, params: Params) -> bytes:
    """The synthetic pattern of a channel, as stored in the atlas."""
    layer = find_layer_by_slug(site, params["layer"])
    blob = channel_queries.pattern_blob(site.atlas, layer, parse_channel(layer, params["channel"]))
    if blob is None:
        raise PageNotFoundError(f"{layer.name}:{params['channel']} has no pattern")
    return blob


def image_file(site: Site, params: Params) -> bytes:
    """An image that is among the hits, as stored in the atlas."""
    blob = image_queries.image_blob(site.atlas, int(params["image"]))
    if blob is None:
        raise PageNotFoundError(f"no image {params['image']}")
    return blob


def image_slice(site: Site, params: Params) -> bytes:
    """The slice in the middle of a volume, which stands for it in lists."""
    number = int(params["image"])
    if site.volume is None or image_queries.image_blob(site.atlas, number) is None:
        raise PageNotFoundError(f"no volume {number}")
    pixels = site.atlas.image_pixels(number)[site.volume[0] // 2]
    return encode_webp(pixels, quality=_QUALITY, lossless_up_to=_LOSSLESS_PIXELS)


def asset(_site: Site, params: Params) -> bytes:
    """A style sheet, script or icon; no name in a URL is ever opened as a file."""
    content = _read_assets().get(params["file"])
    if content is None:
        raise PageNotFoundError(f"no asset {params['file']!r}")
    return content


def list_plates(site: Site) -> Iterator[Params]:
    """The plates of all channels with hits; projections and lit patches where the atlas has any."""
    of_slices = [kind for kind in PLATE_KINDS if PLATE_KINDS[kind].all_slices and site.volume]
    for name, slug in layer_slugs(site).items():
        layer = site.atlas.layer(name)
        contrasts = channel_queries.channels_with_rules(site.atlas, layer, "contrast")
        for ranked_by in site.atlas.rankings:
            for row in channel_queries.plate_contents(site.atlas, layer, ranked_by=ranked_by):
                kinds = ["patches"]
                if row.has_projection:
                    kinds += ["projections", "projections-gamma", "lit", *of_slices]
                kinds += ["contrast", "contrast-gamma"] if row.channel in contrasts else []
                for kind in kinds:
                    yield {
                        "layer": slug,
                        "channel": str(row.channel),
                        "ranked_by": ranked_by,
                        "kind": kind,
                    }


def list_patterns(site: Site) -> Iterator[Params]:
    for name, slug in layer_slugs(site).items():
        for channel in sorted(
            channel_queries.channels_with_pattern(site.atlas, site.atlas.layer(name))
        ):
            yield {"layer": slug, "channel": str(channel)}


def list_assets(_site: Site) -> list[Params]:
    return [{"file": name} for name in _read_assets()]


def _draw_plate(patches: tuple[Patch, ...], kind: PlateKind) -> Image.Image:
    if kind.all_slices:
        return draw_slice_plates(patches, kind.content, side=kind.side, tone=kind.tone)
    return _draw_mosaic(patches, kind)


def _draw_mosaic(patches: tuple[Patch, ...], kind: PlateKind) -> Image.Image:
    """Tiles at their own size, or smaller if that is more than legible; a page enlarges them.

    Each is in the middle of its cell, a square. What it leaves of the cell is transparent, as are
    cells without a hit. A cell whose projection is missing has a dot.
    """
    factor = min(legible_factor(map(tile_size, patches), legible=kind.side), 1)
    tiles = draw_tiles(patches, kind.content, factor=factor, tone=kind.tone)
    side = max(cell_size(scaled_size(tile_size(patch), factor) for patch in patches))
    mosaic = Image.new("RGBA", (3 * side, 3 * side))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, 3)
        shown = _missing_tile(side) if tile is None else tile
        left = column * side + (side - shown.width) // 2
        mosaic.paste(shown, (left, row * side + (side - shown.height) // 2))
    is_opaque = mosaic.getchannel("A").getextrema() == (255, 255)
    return mosaic.convert("RGB") if is_opaque else mosaic


@lru_cache(maxsize=64)
def _missing_tile(side: int) -> Image.Image:
    """A quiet dot on nothing, legible on light and on dark pages, as `.promised` in the styles."""
    tile = Image.new("RGBA", (side, side))
    reach = max(side * _DOT_RADIUS, 0.5)
    ends = ((side - 1) / 2 - reach, (side - 1) / 2 + reach)
    ImageDraw.Draw(tile).ellipse((ends[0], ends[0], ends[1], ends[1]), fill=_DOT)
    return tile


@lru_cache(maxsize=1)
def _read_assets() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(_ASSETS.iterdir()) if file.is_file()}
