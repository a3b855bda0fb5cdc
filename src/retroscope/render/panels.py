"""Panels: a few images at one scale over their caption, alone or many on a sheet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image

from retroscope.imaging.decoding import RGB, Size
from retroscope.render.layout import (
    CLEARLY_VISIBLE,
    GAP,
    TIGHT,
    VISIBLE,
    add_border,
    blank,
    column,
    enlarge,
    enlargement_factor,
    grid,
    pad,
    page,
    row,
    strip_factor,
)
from retroscope.render.text import BODY, HEADING, LABEL, SMALL, line, paragraphs, text_width
from retroscope.render.theme import MUTED

_MIN_WIDTH = 300
_MAX_CAPTION_WIDTH = 560
_MIN_CELL_WIDTH = 170
SHEET_WIDTH = 1200
_SHEET_GAP = 24
_MAX_TITLES = 6


@dataclass(frozen=True, eq=False)
class Panel:
    """Images of one size with their labels, and the title, caption and notes below them.

    They stand side by side, or below each other if `stacked`. Each may be `slices` in a row.
    """

    images: tuple[tuple[str, RGB], ...]
    title: str
    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stacked: bool = False
    slices: int = 1

    def place(self, tiles: Sequence[Image.Image]) -> Image.Image:
        """The tiles of its images."""
        return column(tiles) if self.stacked else row(tiles)


def draw_panel(panel: Panel, *, scale: int | None = None) -> Image.Image:
    """One panel as a figure: labels above the images, caption and notes below."""
    size = _largest_size([image for _, image in panel.images])
    factor = strip_factor(*size, panel.slices, visible=CLEARLY_VISIBLE, scale=scale)
    tiles = panel.place(
        [label_tile(label, image_tile(image, factor)) for label, image in panel.images]
    )
    text_widths = [text_width(panel.title, HEADING), *map(text_width, panel.lines)]
    width = max(tiles.width, _MIN_WIDTH, min(max(text_widths), _MAX_CAPTION_WIDTH))
    caption = [
        line(panel.title, width=width, size=HEADING),
        *(line(text, width=width, colour=MUTED) for text in panel.lines),
    ]
    return page([tiles, column(caption, gap=TIGHT), *_panel_notes([panel], width)])


def draw_sheet(
    panels: Sequence[Panel],
    *,
    title: str,
    line_below: str = "",
    scale: int | None = None,
    visible: int = VISIBLE,
    columns: int | None = None,
    sheet_width: int = SHEET_WIDTH,
) -> Image.Image:
    """Many panels at one scale, in reading order under one heading.

    Without a number of columns, there are as many as fit the width of the sheet.
    """
    factor = _panel_factor(panels, scale, visible=visible)
    strips = [
        panel.place([image_tile(image, factor) for _, image in panel.images]) for panel in panels
    ]
    cells = _caption_cells(panels, strips)
    if columns is None:
        columns = _sheet_columns(len(cells), cells[0].width, sheet_width)
    body = grid(cells, columns=columns, gap=_SHEET_GAP)
    width = max(body.width, _MIN_WIDTH)
    heading = heading_block(title, [line_below], width=width)
    return page([heading, blank(1, TIGHT), body, *_panel_notes(panels, width)])


def contact_sheet(
    images: Sequence[RGB], *, scale: int | None = None, columns: int | None = None
) -> Image.Image:
    """Images at one scale, without text."""
    factor = enlargement_factor(*_largest_size(images), scale=scale)
    tiles = [enlarge(image, factor) for image in images]
    if columns is None:
        columns = _sheet_columns(len(tiles), tiles[0].width)
    return grid(tiles, columns=columns)


def image_tile(image: RGB, factor: int) -> Image.Image:
    """An enlarged image with a border."""
    return add_border(enlarge(image, factor))


def label_tile(label: str, tile: Image.Image) -> Image.Image:
    """A tile below its label."""
    return column([line(label, width=tile.width, size=LABEL, colour=MUTED), tile], gap=TIGHT)


def heading_block(title: str, texts: Iterable[str], *, width: int) -> Image.Image:
    """A title, and smaller wrapped texts below it."""
    lines = [line(title, width=width, size=HEADING), *paragraphs(texts, width=width)]
    return column(lines, gap=TIGHT)


def notes_block(notes: Iterable[str], *, width: int) -> list[Image.Image]:
    """The notes as one block; an empty list without any."""
    lines = paragraphs(notes, width=width)
    return [column(lines, gap=TIGHT)] if lines else []


def _caption_cells(panels: Sequence[Panel], strips: Sequence[Image.Image]) -> list[Image.Image]:
    width = max(_MIN_CELL_WIDTH, *(strip.width for strip in strips))
    height = max(strip.height for strip in strips)
    return [
        column(
            [
                pad(strip, width=width, height=height),
                line(panel.title, width=width, size=BODY),
                *(line(text, width=width, size=SMALL, colour=MUTED) for text in panel.lines),
            ],
            gap=TIGHT,
        )
        for panel, strip in zip(panels, strips, strict=True)
    ]


def _panel_notes(panels: Sequence[Panel], width: int) -> list[Image.Image]:
    """Each note once. One that does not apply to all panels lists the titles of those it does."""
    titles_by_note: dict[str, list[str]] = {}
    for panel in panels:
        for note in dict.fromkeys(panel.notes):
            titles_by_note.setdefault(note, []).append(panel.title)
    notes = [
        note if len(titles) == len(panels) else f"{_first_titles(titles)}: {note}"
        for note, titles in titles_by_note.items()
    ]
    return notes_block(notes, width=width)


def _first_titles(titles: Sequence[str]) -> str:
    rest = len(titles) - _MAX_TITLES
    first = ", ".join(titles[:_MAX_TITLES])
    return f"{first} and {rest} more" if rest > 0 else first


def _panel_factor(panels: Sequence[Panel], scale: int | None, *, visible: int = VISIBLE) -> int:
    images = [image for panel in panels for _, image in panel.images]
    return enlargement_factor(*_largest_size(images), visible=visible, scale=scale)


def _largest_size(images: Sequence[RGB]) -> Size:
    heights, widths = zip(*(image.shape[:2] for image in images), strict=True)
    return max(heights), max(widths)


def _sheet_columns(count: int, width: int, sheet_width: int = SHEET_WIDTH) -> int:
    """As many columns as fit the sheet, balanced so the last row is nearly full."""
    max_columns = max((sheet_width + GAP) // (width + GAP), 1)
    rows = -(-count // max_columns)
    return -(-count // rows)
