"""The table of a network's layers as a figure."""

from collections.abc import Sequence

from PIL import Image

from retroscope.render.layer_rows import FIELD_KEY, LAYER_COLUMNS, layer_cells
from retroscope.render.layout import GAP, blank, column, padded, page, row
from retroscope.render.text import HEADING, line, paragraph, width_of
from retroscope.render.theme import HAIRLINE, INK, MUTED, Colour
from retroscope.results.values import Layer

_WIDEST = (340, 240, 140, 90, 110, 300)
_NUMBERS = {"channels", "size"}
_BETWEEN = 24
_LEAST_WIDTH = 480


def draw_layers(layers: Sequence[Layer], *, title: str = "") -> Image.Image:
    """Each layer on a line: name, other names, kind, channels, size, field; notes below."""
    table = _table([layer_cells(layer) for layer in layers])
    width = max(table.width, _LEAST_WIDTH)
    counted = f"{len(layers)} layer{'s' * (len(layers) != 1)}"
    notes = [f"{layer.name}: {layer.note}" for layer in layers if layer.note]
    return page(
        [
            line(title or counted, size=HEADING, width=width),
            *paragraph(FIELD_KEY, width=width),
            blank(1, GAP),
            table,
            blank(1, GAP),
            *(block for note in notes for block in paragraph(note, width=width)),
        ],
        gap=2,
    )


def _table(cells: Sequence[tuple[str, ...]]) -> Image.Image:
    columns = zip(LAYER_COLUMNS, *cells, strict=True)
    widths = [
        min(widest, max(width_of(text) for text in texts))
        for widest, texts in zip(_WIDEST, columns, strict=True)
    ]
    rows = [_table_row(LAYER_COLUMNS, widths, MUTED)]
    rows += [_table_row(each, widths, INK) for each in cells]
    rule = Image.new("RGB", (rows[0].width, 1), HAIRLINE)
    ruled = [block for each in rows for block in (each, rule)]
    return column(ruled, gap=3)


def _table_row(texts: Sequence[str], widths: Sequence[int], colour: Colour) -> Image.Image:
    cells = zip(LAYER_COLUMNS, texts, widths, strict=True)
    return row([_cell(*cell, colour=colour) for cell in cells], gap=_BETWEEN)


def _cell(name: str, text: str, width: int, *, colour: Colour) -> Image.Image:
    needed = min(width_of(text), width)
    block = line(text, width=needed, colour=colour)
    return padded(block, width=width, right=name in _NUMBERS)
