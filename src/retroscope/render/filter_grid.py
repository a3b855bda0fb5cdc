"""First-layer filters as pictures."""

from PIL import Image

from retroscope.render.layout import TIGHT, column, enlarged, factor_for, grid, page
from retroscope.render.text import HEADING, LABEL, line, paragraph
from retroscope.render.theme import MUTED
from retroscope.render.tiles import FACES
from retroscope.render.tone import toned
from retroscope.results.values import Filters, Pixels

_VISIBLE = 56
_LEAST_WIDTH = 480


def draw_filters(
    filters: Filters,
    *,
    columns: int = 12,
    tone: str = "tile",
    scale: int | None = None,
    bare: bool = False,
) -> Image.Image:
    """Every filter around mid-grey, scaled by its own largest weight; an empty one crossed out."""
    factor = factor_for(*filters.weights.shape[1:3], visible=_VISIBLE, scale=scale)
    tiles = [_tile(each, factor, tone) for each in filters.weights]
    across = max(min(columns, len(tiles)), 1) if columns > 0 else columns
    if bare:
        return grid(tiles, columns=across, gap=1)
    numbered = [
        column([tile, line(str(n), size=LABEL, colour=MUTED)], gap=0)
        for n, tile in enumerate(tiles)
    ]
    body = grid(numbered, columns=across)
    width = max(body.width, _LEAST_WIDTH)
    return page([_heading(filters, width), body, *_notes(filters, width)])


def _tile(weights: Pixels, factor: int, tone: str) -> Image.Image:
    tile = enlarged(toned(weights, tone), factor)
    return tile if weights.any() else FACES["dead"](tile.size)


def _heading(filters: Filters, width: int) -> Image.Image:
    count, height, across, channels = filters.weights.shape
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels, summed")
    facts = (
        f"{count} filters of {height}x{across} in {colour}; mid-grey is 0, each on its own scale"
    )
    title = line(f"filters of {filters.layer.name}", width=width, size=HEADING)
    return column([title, *paragraph(facts, width=width)], gap=TIGHT)


def _notes(filters: Filters, width: int) -> list[Image.Image]:
    texts = [each for note in filters.notes for each in paragraph(note, width=width)]
    return [column(texts, gap=TIGHT)] if texts else []
