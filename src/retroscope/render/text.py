"""Text in figures: lines truncated to a width, and paragraphs that wrap. Nothing is clipped.

ASCII is set in Pillow's built-in face, so figures look the same on every machine. A line with other
characters is set in the first system face that has them all. If none does, each such character is
drawn as its base letter, or as a question mark.
"""

from collections.abc import Iterable
from unicodedata import normalize

from PIL import Image, ImageDraw, ImageFont

from retroscope.render.fonts import BUILT_IN, find_face, has_glyph, load_font
from retroscope.render.theme import INK, MUTED, PAPER, Colour

LABEL, SMALL, BODY, HEADING = 10, 11, 13, 17
"""Text sizes in pixels."""

ELLIPSIS = "…"
_ASCII_LOOKALIKES = {"\u00d7": "x", "\u2013": "-", "\u2014": "-", "\u2212": "-", "\u2019": "'"}
_TAIL_SHARE = 0.6
"""Share of a truncated text that comes from its end."""
_OVERSAMPLING = 4
"""Text is drawn at this multiple and reduced: at whole pixels, small letters run together."""


def replace_missing_glyphs(text: str) -> str:
    """The text with a substitute for each character that no face has a glyph for.

    >>> replace_missing_glyphs("a \u2013 b"), replace_missing_glyphs("\ue000.jpg")
    ('a - b', '?.jpg')
    """
    plain = "".join(_ASCII_LOOKALIKES.get(character, character) for character in text)
    return plain if find_face(frozenset(plain)) is not None else "".join(map(_substitute, plain))


def _substitute(character: str) -> str:
    base = normalize("NFKD", character)[0]
    return base if has_glyph(BUILT_IN, base) else "?"


def text_width(text: str, size: int = BODY) -> int:
    """The width of a line in pixels."""
    font = _oversampled_font(text, size)
    return -(-round(max(font.getlength(text), font.getbbox(text)[2])) // _OVERSAMPLING)


def _oversampled_font(text: str, size: int) -> ImageFont.FreeTypeFont:
    return load_font(find_face(frozenset(text)) or BUILT_IN, size * _OVERSAMPLING)


def line_height(size: int = BODY) -> int:
    """The height of a line in pixels."""
    ascent, descent = load_font(BUILT_IN, size * _OVERSAMPLING).getmetrics()
    return -(-(ascent + descent) // _OVERSAMPLING) + 1


def truncate(text: str, width: int, *, size: int = BODY) -> str:
    """The text, or as much of it as fits around an ellipsis; the end of a file name survives.

    >>> truncate("0001.jpg", 150)
    '0001.jpg'
    >>> truncate("photographs/animals/cats/0001.jpg", 150).endswith("0001.jpg")
    True
    """
    text = replace_missing_glyphs(text)
    if text_width(text, size) <= width:
        return text
    if text_width(ELLIPSIS, size) > width:
        return ""
    # The longest text that fits, by bisection.
    shortest, longest = 0, len(text)
    while longest - shortest > 1:
        middle = (shortest + longest) // 2
        if text_width(_cut_middle(text, middle), size) <= width:
            shortest = middle
        else:
            longest = middle
    return _cut_middle(text, shortest)


def _cut_middle(text: str, length: int) -> str:
    """The first and last characters of a text, `length` in all, around an ellipsis."""
    tail = round(length * _TAIL_SHARE)
    return text[: length - tail] + ELLIPSIS + text[len(text) - tail :]


def line(
    text: str, *, width: int | None = None, size: int = BODY, colour: Colour = INK
) -> Image.Image:
    """One line of text, truncated and padded to `width` if given."""
    text = replace_missing_glyphs(text) if width is None else truncate(text, width, size=size)
    width = max(text_width(text, size) if width is None else width, 1)
    height = line_height(size)
    ink = Image.new("L", (width * _OVERSAMPLING, height * _OVERSAMPLING))
    baseline, _ = load_font(BUILT_IN, size * _OVERSAMPLING).getmetrics()
    font = _oversampled_font(text, size)
    ImageDraw.Draw(ink).text((0, baseline), text, font=font, fill=255, anchor="ls")
    block = Image.new("RGB", (width, height), PAPER)
    block.paste(colour, mask=ink.reduce(_OVERSAMPLING))
    return block


def wrap(text: str, width: int, *, size: int = BODY) -> list[str]:
    """The lines of a paragraph, broken between words; a word too long for a line is truncated."""
    lines: list[str] = []
    for word in map(replace_missing_glyphs, text.split()):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [truncate(text, width, size=size) for text in lines]


def paragraph(
    text: str, *, width: int, size: int = SMALL, colour: Colour = MUTED
) -> list[Image.Image]:
    """The lines of a wrapped text, one block each."""
    return [
        line(text_line, width=width, size=size, colour=colour)
        for text_line in wrap(text, width, size=size)
    ]


def paragraphs(texts: Iterable[str], *, width: int) -> list[Image.Image]:
    """The lines of several wrapped texts, one block each."""
    return [block for text in texts for block in paragraph(text, width=width)]
