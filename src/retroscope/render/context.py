"""Where in its whole picture a unit looks: the field framed in red, the projection beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.render.captions import counted, joined
from retroscope.render.layout import TIGHT, column, padded, page, row
from retroscope.render.mosaics import factor_of, pale, resized, resized_projection
from retroscope.render.palette import BAND, PAPER, Colour
from retroscope.render.text import HEADING, line, paragraph
from retroscope.results import Picture, Projection
from retroscope.unit import Unit

RED: Colour = (226, 20, 24)
FRAME: tuple[Colour, ...] = (RED, RED, (255, 255, 255))
"""The lines around a field from the inside out, seen on any picture; they cover none of it."""
_LEGIBLE = 240
_MOST_OUTSIDE = 0.25
_WORDS = 230
_GAP = 14


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
    """For each hit a row: its picture and the whole projection, the field framed on both.

    A frame that leaves its picture goes on over the margin, and stays open where it leaves that.
    """
    sizes = [(each.picture.shape[0], each.picture.shape[1]) for each in entries]
    factor = factor_of(sizes, legible=_LEGIBLE, scale=scale)
    margins = _margins(entries, factor)
    pairs = [[_framed(resized(each.picture, factor), each, factor, margins)] for each in entries]
    if any(each.projection for each in entries):
        for pair, each in zip(pairs, entries, strict=True):
            pair.append(_projected(each, factor, margins, tone=tone))
    width = max(picture.width for pair in pairs for picture in pair)
    rows = [
        row([*(padded(each, width=width) for each in pair), _words(number, entry)], gap=_GAP)
        for number, (pair, entry) in enumerate(zip(pairs, entries, strict=True), start=1)
    ]
    body = column(rows, gap=_GAP)
    return page([_heading(entries, body.width), body])


def _heading(entries: Sequence[Context], width: int) -> Image.Image:
    channels = {str(Unit(each.unit.layer, each.unit.channel)) for each in entries}
    names = channels if len(channels) == 1 else dict.fromkeys(each.unit.layer for each in entries)
    title = f"{', '.join(names)} in {counted(len(entries), 'picture')}"
    rules = dict.fromkeys(each.projection.rules for each in entries if each.projection)
    beside = "the whole projection beside it" if rules else ""
    texts = paragraph(joined("the field framed in red", beside, *rules), width=width)
    return column([line(title, width=width, size=HEADING), *texts], gap=TIGHT)


def _words(number: int, entry: Context) -> Image.Image:
    box, size = entry.box, (entry.picture.shape[0], entry.picture.shape[1])
    texts = [
        f"score {entry.score:.4g}",
        f"field {box.height}x{box.width} px from y {box.top}, x {box.left}",
        _leaving(box, size),
        entry.source,
        "" if entry.projection else "not illustrated yet",
    ]
    below = [each for text in texts if text for each in paragraph(text, width=_WORDS)]
    return column([line(f"{number}  {entry.unit}", width=_WORDS), *below], gap=TIGHT)


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
