"""Type: lines that are cut to their width, and paragraphs that wrap, so that none is clipped.

Plain Latin is set in Pillow's own face, the same everywhere. A line with other letters is set in
the first face of the machine that has them all; where there is none, each is drawn as its base
letter, or as a question mark.
"""

from unicodedata import normalize

from PIL import Image, ImageDraw, ImageFont

from retroscope.render.fonts import face_for, font, has
from retroscope.render.theme import INK, MUTED, PAPER, Colour

LABEL, SMALL, BODY, HEADING = 10, 11, 13, 17
"""The sizes of type, in pixels."""

ELLIPSIS = "…"
_LOOKS_LIKE = {"\u00d7": "x", "\u2013": "-", "\u2014": "-", "\u2212": "-", "\u2019": "'"}
_TAIL = 0.6
_FINER = 4
"""Type is set this much larger and reduced: whole-pixel setting closes the gaps of small words."""


def drawable(text: str) -> str:
    """The text with each character for which there is no shape replaced by one that has it.

    >>> drawable("a \u2013 b"), drawable("\ue000.jpg")
    ('a - b', '?.jpg')
    """
    plain = "".join(_LOOKS_LIKE.get(one, one) for one in text)
    return plain if face_for(frozenset(plain)) is not None else "".join(map(_drawable, plain))


def _drawable(character: str) -> str:
    base = normalize("NFKD", character)[0]
    return base if has("", base) else "?"


def width_of(text: str, size: int = BODY) -> int:
    """How many pixels a line needs."""
    fine = _font(text, size)
    return -(-round(max(fine.getlength(text), fine.getbbox(text)[2])) // _FINER)


def _font(text: str, size: int) -> ImageFont.FreeTypeFont:
    return font(face_for(frozenset(text)) or "", size * _FINER)


def height_of(size: int = BODY) -> int:
    """How many pixels a line of this size is high."""
    return -(-sum(font("", size * _FINER).getmetrics()) // _FINER) + 1


def fitted(text: str, width: int, *, size: int = BODY) -> str:
    """The text, or as much of it as fits around an ellipsis; the end of a file name stays.

    >>> fitted("0001.jpg", 150)
    '0001.jpg'
    >>> fitted("photographs/animals/cats/0001.jpg", 150).endswith("0001.jpg")
    True
    """
    text = drawable(text)
    if width_of(text, size) <= width:
        return text
    if width_of(ELLIPSIS, size) > width:
        return ""
    fits, fails = 0, len(text)
    while fails - fits > 1:
        middle = (fits + fails) // 2
        fits, fails = (
            (middle, fails) if width_of(_shortened(text, middle), size) <= width else (fits, middle)
        )
    return _shortened(text, fits)


def _shortened(text: str, kept: int) -> str:
    tail = round(kept * _TAIL)
    return text[: kept - tail] + ELLIPSIS + text[len(text) - tail :]


def line(
    text: str, *, width: int | None = None, size: int = BODY, colour: Colour = INK
) -> Image.Image:
    """One line of type, cut to the width where one is given."""
    shown = drawable(text) if width is None else fitted(text, width, size=size)
    room = max(width_of(shown, size) if width is None else width, 1)
    ink = Image.new("L", (room * _FINER, height_of(size) * _FINER))
    baseline = font("", size * _FINER).getmetrics()[0]
    ImageDraw.Draw(ink).text((0, baseline), shown, font=_font(shown, size), fill=255, anchor="ls")
    block = Image.new("RGB", (room, height_of(size)), PAPER)
    block.paste(colour, mask=ink.reduce(_FINER))
    return block


def wrapped(text: str, width: int, *, size: int = BODY) -> list[str]:
    """The lines of a paragraph, broken between words; a word too long for a line is cut."""
    lines: list[str] = []
    for word in map(drawable, text.split()):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [fitted(each, width, size=size) for each in lines]


def paragraph(
    text: str, *, width: int, size: int = SMALL, colour: Colour = MUTED
) -> list[Image.Image]:
    """Lines of type, one picture each."""
    return [
        line(each, width=width, size=size, colour=colour)
        for each in wrapped(text, width, size=size)
    ]
