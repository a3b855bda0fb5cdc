"""Panels: a few pictures at one scale over their caption, alone or many on a sheet."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from retroscope.render.layout import (
    CLEAR,
    GAP,
    TIGHT,
    VISIBLE,
    blank,
    column,
    enlarged,
    factor_for,
    framed,
    grid,
    padded,
    page,
    row,
)
from retroscope.render.text import BODY, HEADING, LABEL, SMALL, line, paragraph, width_of
from retroscope.render.theme import MUTED
from retroscope.results.values import Picture

_LEAST_WIDTH = 300
_WIDEST_CAPTION = 560
_LEAST_CELL = 170
_SHEET_WIDTH = 1200
_SHEET_GAP = 24
_TITLES = 6


@dataclass(frozen=True, eq=False)
class Panel:
    """Named pictures of one size, what they are of, and what is said of them."""

    pictures: tuple[tuple[str, Picture], ...]
    title: str
    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def draw_panel(panel: Panel, *, scale: int | None = None) -> Image.Image:
    """One panel as a figure: names over the pictures, caption and notes below."""
    factor = _factor([panel], scale, visible=CLEAR)
    tiles = row([_named(name, _tile(picture, factor)) for name, picture in panel.pictures])
    texts = [width_of(panel.title, HEADING), *map(width_of, panel.lines)]
    width = max(tiles.width, _LEAST_WIDTH, min(max(texts), _WIDEST_CAPTION))
    caption = [
        line(panel.title, width=width, size=HEADING),
        *(line(each, width=width, colour=MUTED) for each in panel.lines),
    ]
    return page([tiles, column(caption, gap=TIGHT), *_notes([panel], width)])


def draw_sheet(
    panels: Sequence[Panel],
    *,
    title: str,
    line_below: str = "",
    scale: int | None = None,
    visible: int = VISIBLE,
    columns: int | None = None,
) -> Image.Image:
    """Many panels at one scale, in reading order under one heading."""
    factor = _factor(panels, scale, visible=visible)
    strips = [row([_tile(each, factor) for _, each in panel.pictures]) for panel in panels]
    cells = _captioned(panels, strips)
    across = _columns_for(len(cells), cells[0].width) if columns is None else columns
    body = grid(cells, columns=across, gap=_SHEET_GAP)
    width = max(body.width, _LEAST_WIDTH)
    heading = [line(title, width=width, size=HEADING), *paragraph(line_below, width=width)]
    return page([column(heading, gap=TIGHT), blank(1, TIGHT), body, *_notes(panels, width)])


def contact_sheet(
    pictures: Sequence[Picture], *, scale: int | None = None, columns: int | None = None
) -> Image.Image:
    """Pictures alone, without a word."""
    factor = factor_for(*_largest(pictures), scale=scale)
    tiles = [enlarged(each, factor) for each in pictures]
    across = _columns_for(len(tiles), tiles[0].width) if columns is None else columns
    return grid(tiles, columns=across)


def _captioned(panels: Sequence[Panel], strips: Sequence[Image.Image]) -> list[Image.Image]:
    width = max(_LEAST_CELL, *(strip.width for strip in strips))
    height = max(strip.height for strip in strips)
    return [
        column(
            [
                padded(strip, width=width, height=height),
                line(panel.title, width=width, size=BODY),
                *(line(each, width=width, size=SMALL, colour=MUTED) for each in panel.lines),
            ],
            gap=TIGHT,
        )
        for panel, strip in zip(panels, strips, strict=True)
    ]


def _named(name: str, tile: Image.Image) -> Image.Image:
    label = line(name, width=tile.width, size=LABEL, colour=MUTED)
    return column([label, tile], gap=TIGHT)


def _tile(picture: Picture, factor: int) -> Image.Image:
    return framed(enlarged(picture, factor))


def _notes(panels: Sequence[Panel], width: int) -> list[Image.Image]:
    """Each note once; one that does not hold for all names those for which it does."""
    held: dict[str, list[str]] = {}
    for panel in panels:
        for note in dict.fromkeys(panel.notes):
            held.setdefault(note, []).append(panel.title)
    texts = [
        note if len(titles) == len(panels) else f"{_some(titles)}: {note}"
        for note, titles in held.items()
    ]
    lines = [block for text in texts for block in paragraph(text, width=width)]
    return [column(lines, gap=TIGHT)] if lines else []


def _some(titles: Sequence[str]) -> str:
    more = len(titles) - _TITLES
    named = ", ".join(titles[:_TITLES])
    return f"{named} and {more} more" if more > 0 else named


def _factor(panels: Sequence[Panel], scale: int | None, *, visible: int = VISIBLE) -> int:
    pictures = [picture for panel in panels for _, picture in panel.pictures]
    return factor_for(*_largest(pictures), visible=visible, scale=scale)


def _largest(pictures: Sequence[Picture]) -> tuple[int, int]:
    heights, widths = zip(*(picture.shape[:2] for picture in pictures), strict=True)
    return max(heights), max(widths)


def _columns_for(count: int, width: int) -> int:
    """As many as a sheet is wide, the last line nearly as full as the others."""
    most = max((_SHEET_WIDTH + GAP) // (width + GAP), 1)
    rows = -(-count // most)
    return -(-count // rows)
