"""The table of a network's layers: as cells of text, and as a figure."""

from collections.abc import Sequence

from PIL import Image

from retroscope.geometry import format_size
from retroscope.render.captions import count_noun
from retroscope.render.layout import GAP, blank, column, pad, page, row
from retroscope.render.text import HEADING, line, paragraph, paragraphs, text_width
from retroscope.render.theme import HAIRLINE, INK, MUTED, Colour
from retroscope.results.layers import Layer

LAYER_COLUMNS = ("layer", "also", "kind", "channels", "size", "field")
"""The headings of `layer_cells`."""
FIELD_KEY = "field: size/stride/start in pixels"

_MAX_WIDTHS = (340, 240, 140, 90, 110, 300)
_RIGHT_ALIGNED = {"channels", "size"}
_COLUMN_GAP = 24
_MIN_WIDTH = 480


def layer_cells(layer: Layer) -> tuple[str, ...]:
    """One layer as text, with a cell for each of `LAYER_COLUMNS`.

    Behind the size is the number of tokens without a position, such as class tokens.
    """
    return (
        layer.name,
        ", ".join(layer.aliases),
        layer.kind,
        str(layer.channels),
        format_size(layer.size) + (f" +{layer.extra_tokens}" if layer.extra_tokens else ""),
        str(layer.field),
    )


def draw_layers(layers: Sequence[Layer], *, title: str = "") -> Image.Image:
    """A row for each layer: name, aliases, kind, channels, size and field; notes below."""
    table = _table([layer_cells(layer) for layer in layers])
    width = max(table.width, _MIN_WIDTH)
    notes = [f"{layer.name}: {layer.note}" for layer in layers if layer.note]
    blocks = [
        line(title or count_noun(len(layers), "layer"), size=HEADING, width=width),
        *paragraph(FIELD_KEY, width=width),
        blank(1, GAP),
        table,
        blank(1, GAP),
        *paragraphs(notes, width=width),
    ]
    return page(blocks, gap=2)


def _table(cells_by_row: Sequence[tuple[str, ...]]) -> Image.Image:
    columns = zip(LAYER_COLUMNS, *cells_by_row, strict=True)
    widths = [
        min(max_width, max(text_width(text) for text in texts))
        for max_width, texts in zip(_MAX_WIDTHS, columns, strict=True)
    ]
    rows = [_table_row(LAYER_COLUMNS, widths, MUTED)]
    rows += [_table_row(cells, widths, INK) for cells in cells_by_row]
    rule = Image.new("RGB", (rows[0].width, 1), HAIRLINE)
    ruled_rows = [block for table_row in rows for block in (table_row, rule)]
    return column(ruled_rows, gap=3)


def _table_row(texts: Sequence[str], widths: Sequence[int], colour: Colour) -> Image.Image:
    cells = zip(LAYER_COLUMNS, texts, widths, strict=True)
    return row([_cell(*cell, colour=colour) for cell in cells], gap=_COLUMN_GAP)


def _cell(name: str, text: str, width: int, *, colour: Colour) -> Image.Image:
    block = line(text, width=min(text_width(text), width), colour=colour)
    return pad(block, width=width, right=name in _RIGHT_ALIGNED)
