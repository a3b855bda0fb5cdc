"""Where in its whole picture a unit looks: the field framed in red, the projection beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.imaging.image import crop
from retroscope.render.captions import counted, joined
from retroscope.render.layout import GAP, TIGHT, column, grid, padded, page, row
from retroscope.render.mosaics import factor_of, pale, resized, resized_projection
from retroscope.render.text import HEADING, line, paragraph
from retroscope.render.theme import BAND, PAPER, Colour
from retroscope.results.values import Picture, Projection
from retroscope.unit import Unit

RED: Colour = (226, 20, 24)
FRAME: tuple[Colour, ...] = (RED, RED, (255, 255, 255))
"""The lines around a field from the inside out, seen on any picture; they cover none of it."""
_LEGIBLE, _LEGIBLE_ON_SHEET = 240, 180
_MOST_OUTSIDE = 0.06
_TINY = 0.2
"""A field that takes less of its picture's side than this is also shown enlarged."""
_ROWS, _ACROSS = 3, 3
_WORDS = 230
_GAP = 14
_SHEET_GAP = 28


@dataclass(frozen=True, eq=False)
class Context:
    """One hit in its whole picture. `box` is the unit's field, which may leave the picture."""

    picture: Picture
    projection: Projection | None
    box: Box
    score: float
    source: str
    unit: Unit


def draw_context(
    entries: Sequence[Context], *, tone: str = "tile", scale: int | None = None
) -> Image.Image:
    """For each hit its picture and the whole projection, the field framed on both.

    A frame that leaves its picture goes on over the margin, and stays open where it leaves that.
    Fields that are tiny in their pictures are shown beside, enlarged. A few hits have a row each;
    more come on a sheet, with their words below.
    """
    sizes = [(each.picture.shape[0], each.picture.shape[1]) for each in entries]
    in_rows = len(entries) <= _ROWS
    legible = _LEGIBLE if in_rows else _LEGIBLE_ON_SHEET
    factor = factor_of(sizes, legible=legible, scale=scale)
    strips = _strips(entries, factor, tone=tone)
    dark = not any(each.projection for each in entries)
    cells = [
        row([strip, _words(number, entry, _WORDS, dark=dark)], gap=_GAP)
        if in_rows
        else column([strip, _words(number, entry, strip.width, dark=dark)], gap=TIGHT)
        for number, (strip, entry) in enumerate(zip(strips, entries, strict=True), start=1)
    ]
    gap = _GAP if in_rows else _SHEET_GAP
    body = grid(cells, columns=1 if in_rows else _ACROSS, gap=gap)
    return page([_heading(entries, body.width), body], gap=_GAP)


def _strips(entries: Sequence[Context], factor: float, *, tone: str) -> list[Image.Image]:
    """The pictures of each hit side by side, all of one width."""
    margins = _margins(entries, factor)
    strips = [[_framed(resized(each.picture, factor), each, factor, margins)] for each in entries]
    illustrated = any(each.projection for each in entries)
    if illustrated:
        for strip, each in zip(strips, entries, strict=True):
            strip.append(_projected(each, factor, margins, tone=tone))
    width = max(picture.width for strip in strips for picture in strip)
    rows = [row([padded(each, width=width) for each in strip]) for strip in strips]
    if not all(map(_is_tiny, entries)):
        return rows
    side = (rows[0].height - GAP) // 2
    return [
        row([strip, _enlarged(each, side, illustrated=illustrated, tone=tone)])
        for strip, each in zip(rows, entries, strict=True)
    ]


def _is_tiny(entry: Context) -> bool:
    longest: int = max(entry.picture.shape[:2])
    return max(entry.box.height, entry.box.width) < _TINY * longest


def _enlarged(entry: Context, side: int, *, illustrated: bool, tone: str) -> Image.Image:
    """The field alone, above what is projected into it."""
    factor = max(side // max(entry.box.height, entry.box.width, 1), 1)
    tiles = [resized(crop(entry.picture, entry.box), factor)]
    if entry.projection:
        pixels = crop(entry.projection.full(), entry.box, fill=0)
        tiles.append(resized_projection(pixels, factor, tone))
    elif illustrated:
        tiles.append(pale(tiles[0].size))
    return column([padded(tile, width=side) for tile in tiles])


def _heading(entries: Sequence[Context], width: int) -> Image.Image:
    channels = {str(Unit(each.unit.layer, each.unit.channel)) for each in entries}
    names = channels if len(channels) == 1 else dict.fromkeys(each.unit.layer for each in entries)
    title = f"{', '.join(names)} in {counted(len(entries), 'picture')}"
    rules = dict.fromkeys(each.projection.rules for each in entries if each.projection)
    beside = "the whole projection beside it" if rules else "not illustrated yet"
    close = "the field enlarged" if all(map(_is_tiny, entries)) else ""
    texts = paragraph(joined("the field framed in red", beside, close, *rules), width=width)
    return column([line(title, width=width, size=HEADING), *texts], gap=TIGHT)


def _words(number: int, entry: Context, width: int, *, dark: bool) -> Image.Image:
    box, size = entry.box, (entry.picture.shape[0], entry.picture.shape[1])
    texts = [
        f"score {entry.score:.4g}",
        f"field {box.height}x{box.width} px from y {box.top}, x {box.left}",
        _leaving(box, size),
        entry.source,
        "" if entry.projection or dark else "not illustrated yet",
    ]
    below = [each for text in texts if text for each in paragraph(text, width=width)]
    return column([line(f"{number}  {entry.unit}", width=width), *below], gap=TIGHT)


def _leaving(box: Box, size: tuple[int, int]) -> str:
    sides = {
        "top": box.top < 0,
        "left": box.left < 0,
        "bottom": box.bottom > size[0],
        "right": box.right > size[1],
    }
    left = [side for side, leaves in sides.items() if leaves]
    return f"leaves the picture at the {', '.join(left)}" if left else ""


def _projected(entry: Context, factor: float, margins: Box, *, tone: str) -> Image.Image:
    if entry.projection is None:
        picture = pale(resized(entry.picture, factor).size, "not illustrated yet")
        return _on_margins(picture, margins, PAPER)
    size = entry.picture.shape[:2]
    if entry.projection.size != size:
        raise RetroscopeError(
            f"the projection of {entry.unit} is of a picture of size {entry.projection.size}, "
            f"the picture here is {size}; give the picture as the network saw it"
        )
    picture = resized_projection(entry.projection.full(), factor, tone)
    return _framed(picture, entry, factor, margins)


def _framed(picture: Image.Image, entry: Context, factor: float, margins: Box) -> Image.Image:
    """The picture on its margins, the field framed."""
    sheet = _on_margins(picture, margins, BAND)
    left, right = (
        round(side * factor) - margins.left for side in (entry.box.left, entry.box.right)
    )
    top, bottom = (round(side * factor) - margins.top for side in (entry.box.top, entry.box.bottom))
    pen = ImageDraw.Draw(sheet)
    for away, colour in enumerate(FRAME, start=1):
        corners = (left - away, top - away, right + away - 1, bottom + away - 1)
        pen.rectangle(corners, outline=colour)
    return sheet


def _on_margins(picture: Image.Image, margins: Box, colour: Colour) -> Image.Image:
    size = picture.width + margins.width, picture.height + margins.height
    sheet = Image.new("RGB", size, colour)
    sheet.paste(picture, (-margins.left, -margins.top))
    return sheet


def _margins(entries: Sequence[Context], factor: float) -> Box:
    """How far outside their pictures frames are followed, in pixels of the figure.

    As a box around a picture without a pixel: its top and left are not above zero.
    """
    outside = Box.around(map(_outside, entries))
    most = max(side for each in entries for side in each.picture.shape[:2]) * _MOST_OUTSIDE
    sides = (outside.top, outside.left, outside.bottom, outside.right)
    top, left, bottom, right = (round(max(-most, min(side, most)) * factor) for side in sides)
    frame = len(FRAME)
    return Box(top - frame, left - frame, bottom + frame, right + frame)


def _outside(entry: Context) -> Box:
    height, width = entry.picture.shape[:2]
    box = entry.box
    return Box(
        min(box.top, 0), min(box.left, 0), max(box.bottom - height, 0), max(box.right - width, 0)
    )
