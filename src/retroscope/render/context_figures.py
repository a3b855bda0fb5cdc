"""Hits in their whole images: the field framed in red, projection and lit image beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import crop
from retroscope.render.captions import count_noun, hit_notes, join_facts, score_text
from retroscope.render.layout import GAP, TIGHT, column, grid, pad, page, row
from retroscope.render.mosaics import empty_place, legible_factor, resize_projection, resize_tile
from retroscope.render.panels import heading_block
from retroscope.render.text import line, paragraphs
from retroscope.render.theme import BAND, PAPER, Colour
from retroscope.render.tone import DEFAULT_TONE
from retroscope.results.lighting import light_patch
from retroscope.results.projections import Projection
from retroscope.unit import Unit

RED: Colour = (226, 20, 24)
FRAME: tuple[Colour, ...] = (RED, RED, (255, 255, 255))
"""The lines around a field from the inside out, visible on any image. They cover none of it."""
_LEGIBLE, _LEGIBLE_ON_SHEET = 240, 180
_MAX_OVERHANG = 0.06
"""How far a frame is followed outside the image, as a share of the image's longer side."""
_TINY_SHARE = 0.2
"""Fields smaller than this share of the image's longer side are also shown enlarged."""
_MAX_ROWS, _SHEET_COLUMNS = 3, 3
_CAPTION_WIDTH = 230
_GAP = 14
_SHEET_GAP = 28


@dataclass(frozen=True, eq=False)
class HitContext:
    """One hit in its whole image. `box` is the unit's field, which may leave the image.

    `is_sampled` says that the hit is one of a sample, `quantile` which; None for the random one.
    """

    image: RGB
    projection: Projection | None
    box: Box
    score: float
    source: str
    unit: Unit
    quantile: float | None = None
    is_sampled: bool = False


def draw_hit_contexts(
    hits: Sequence[HitContext],
    *,
    tone: str = DEFAULT_TONE,
    scale: int | None = None,
    lit: bool = True,
) -> Image.Image:
    """Each hit's image, whole projection, and the image lit by it, with the field framed on all.

    A frame that leaves its image continues on the margin, and is open where it leaves the margin
    too. Fields that are tiny in their images are also shown enlarged. Up to three hits have a row
    each with the caption beside it; more are on a sheet, with captions below.

        +----------+  +----------+  +----------+  +-------+  1  conv5_3:42@6,7
        | +--+     |  | +--+     |  | +--+     |  | field |  score 12.3
        | |  |     |  | |  |     |  | |  |     |  +-------+  field 92x92 px from ...
        | +--+     |  | +--+     |  | +--+     |  | field |
        +----------+  +----------+  +----------+  +-------+
        image         projection    lit image     close-up   caption
    """
    sizes = [(hit.image.shape[0], hit.image.shape[1]) for hit in hits]
    in_rows = len(hits) <= _MAX_ROWS
    legible = _LEGIBLE if in_rows else _LEGIBLE_ON_SHEET
    factor = legible_factor(sizes, legible=legible, scale=scale)
    cells = [
        row([strip, _caption(rank, hits, _CAPTION_WIDTH)], gap=_GAP)
        if in_rows
        else column([strip, _caption(rank, hits, strip.width)], gap=TIGHT)
        for rank, strip in enumerate(_strips(hits, factor, tone=tone, lit=lit), start=1)
    ]
    gap = _GAP if in_rows else _SHEET_GAP
    body = grid(cells, columns=1 if in_rows else _SHEET_COLUMNS, gap=gap)
    return page([_heading(hits, body.width, lit=lit), body], gap=_GAP)


def _strips(
    hits: Sequence[HitContext], factor: float, *, tone: str, lit: bool
) -> list[Image.Image]:
    """The image, the projection, the lit image and the close-up of each hit, at one width."""
    margins = _margins(hits, factor)
    strips = [
        [_frame_field(resize_tile(hit.image, factor), hit, factor=factor, margins=margins)]
        for hit in hits
    ]
    if _any_projected(hits):
        for strip, hit in zip(strips, hits, strict=True):
            strip.append(_projection_image(hit, factor, margins, tone=tone))
            if lit:
                strip.append(_lit_image(hit, factor, margins))
    width = max(tile.width for strip in strips for tile in strip)
    rows = [row([pad(tile, width=width) for tile in strip]) for strip in strips]
    if not all(map(_is_tiny, hits)):
        return rows
    views = (1 + lit) * _any_projected(hits)
    side = (rows[0].height - GAP) // 2
    return [
        row([strip, _field_close_up(hit, side, views=views, tone=tone)])
        for strip, hit in zip(rows, hits, strict=True)
    ]


def _any_projected(hits: Sequence[HitContext]) -> bool:
    return any(hit.projection for hit in hits)


def _is_tiny(hit: HitContext) -> bool:
    longest: int = max(hit.image.shape[:2])
    return max(hit.box.height, hit.box.width) < _TINY_SHARE * longest


def _field_close_up(hit: HitContext, side: int, *, views: int, tone: str) -> Image.Image:
    """The field alone, above the projection in it; beside them, the field lit by that."""
    box = hit.box.clip(*hit.image.shape[:2])
    factor = max(side // max(hit.box.height, hit.box.width, 1), 1)
    patch = crop(hit.image, box)
    tiles = [resize_tile(patch, factor)]
    if hit.projection:
        pixels = crop(hit.projection.full(), box, fill=0)
        shown = crop(hit.projection.in_bands().full(), box, fill=0)
        drawn = [resize_projection(shown, factor, tone)]
        drawn.append(resize_tile(light_patch(patch, pixels), factor))
        tiles += drawn[:views]
    else:
        tiles += [empty_place(tiles[0].size)] * views
    cells = [pad(tile, width=side) for tile in tiles]
    return row([column(cells[:2]), *cells[2:]])


def _heading(hits: Sequence[HitContext], width: int, *, lit: bool) -> Image.Image:
    channels = {str(Unit(hit.unit.layer, hit.unit.channel)) for hit in hits}
    names = channels if len(channels) == 1 else dict.fromkeys(hit.unit.layer for hit in hits)
    title = f"{', '.join(names)} in {count_noun(len(hits), 'image')}"
    rules = dict.fromkeys(hit.projection.rules for hit in hits if hit.projection)
    views = "projection and image lit by it" if lit else "whole projection"
    projection_note = f"{views} beside it" if rules else "not projected yet"
    enlargement_note = "field enlarged" if all(map(_is_tiny, hits)) else ""
    facts = join_facts("field framed in red", projection_note, enlargement_note, *rules)
    return heading_block(title, [facts], width=width)


def _caption(rank: int, hits: Sequence[HitContext], width: int) -> Image.Image:
    """The address and the facts of the hit with this rank, counted from 1."""
    hit = hits[rank - 1]
    box, size = hit.box, (hit.image.shape[0], hit.image.shape[1])
    missing = _any_projected(hits) and not hit.projection
    texts = [
        score_text(hit.score, hit.quantile, is_sampled=hit.is_sampled),
        f"field {box.height}x{box.width} px from y {box.top}, x {box.left}",
        _crossed_sides(box, size),
        hit.source,
        "not projected yet" if missing else "",
        *hit_notes(hit.projection, hit.score, is_sampled=hit.is_sampled),
    ]
    lines = paragraphs(filter(None, texts), width=width)
    return column([line(f"{rank}  {hit.unit}", width=width), *lines], gap=TIGHT)


def _crossed_sides(box: Box, size: tuple[int, int]) -> str:
    sides = {
        "top": box.top < 0,
        "left": box.left < 0,
        "bottom": box.bottom > size[0],
        "right": box.right > size[1],
    }
    crossed = [side for side, is_crossed in sides.items() if is_crossed]
    return f"extends beyond the image at the {', '.join(crossed)}" if crossed else ""


def _projection_image(hit: HitContext, factor: float, margins: Box, *, tone: str) -> Image.Image:
    if hit.projection is None:
        tile = empty_place(resize_tile(hit.image, factor).size, "not projected yet")
        return _add_margins(tile, margins, PAPER)
    size = hit.image.shape[:2]
    if hit.projection.size != size:
        raise RetroscopeError(
            f"the projection of {hit.unit} is for an image of size {hit.projection.size}, "
            f"this image has size {size}; give the image as the network's input"
        )
    tile = resize_projection(hit.projection.in_bands().full(), factor, tone)
    return _frame_field(tile, hit, factor=factor, margins=margins)


def _lit_image(hit: HitContext, factor: float, margins: Box) -> Image.Image:
    """The image, lit where its projection is strong and dark everywhere else."""
    if hit.projection is None:
        tile = empty_place(resize_tile(hit.image, factor).size)
        return _add_margins(tile, margins, PAPER)
    box = hit.projection.box
    pixels = light_patch(hit.image, np.zeros((*hit.image.shape[:2], 1), np.float32))
    lit = light_patch(crop(hit.image, box), hit.projection.pixels)
    pixels[box.top : box.bottom, box.left : box.right] = lit
    return _frame_field(resize_tile(pixels, factor), hit, factor=factor, margins=margins)


def _frame_field(tile: Image.Image, hit: HitContext, *, factor: float, margins: Box) -> Image.Image:
    """The tile on its margins, with the field framed."""
    sheet = _add_margins(tile, margins, BAND)
    left, right = (round(x * factor) - margins.left for x in (hit.box.left, hit.box.right))
    top, bottom = (round(y * factor) - margins.top for y in (hit.box.top, hit.box.bottom))
    pen = ImageDraw.Draw(sheet)
    for distance, colour in enumerate(FRAME, start=1):
        corners = (left - distance, top - distance, right + distance - 1, bottom + distance - 1)
        pen.rectangle(corners, outline=colour)
    return sheet


def _add_margins(tile: Image.Image, margins: Box, colour: Colour) -> Image.Image:
    border = (-margins.left, -margins.top, margins.right, margins.bottom)
    return ImageOps.expand(tile, border, colour)


def _margins(hits: Sequence[HitContext], factor: float) -> Box:
    """The margins of all images, in pixels of the figure: room for the frames outside of them.

    The box is relative to the edges of an image: top and left are negative, bottom and right
    positive.
    """
    overhang = Box.around(map(_overhang, hits))
    limit = max(side for hit in hits for side in hit.image.shape[:2]) * _MAX_OVERHANG
    sides = (overhang.top, overhang.left, overhang.bottom, overhang.right)
    top, left, bottom, right = (round(max(-limit, min(side, limit)) * factor) for side in sides)
    frame = len(FRAME)
    return Box(top - frame, left - frame, bottom + frame, right + frame)


def _overhang(hit: HitContext) -> Box:
    """How far the field leaves the image on each side, as a box like that of `_margins`."""
    height, width = hit.image.shape[:2]
    box = hit.box
    return Box(
        min(box.top, 0), min(box.left, 0), max(box.bottom - height, 0), max(box.right - width, 0)
    )
