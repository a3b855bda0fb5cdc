"""The filters of a first layer."""

from PIL import Image

from retroscope.imaging.bands import describe_bands, select_bands
from retroscope.render.layout import column, enlarge, enlargement_factor, grid, page
from retroscope.render.panels import heading_block, notes_block
from retroscope.render.text import LABEL, line
from retroscope.render.theme import MUTED
from retroscope.render.tiles import CONDITION_TILES
from retroscope.render.tone import apply_tone
from retroscope.results.projections import Filters, Pixels

_VISIBLE = 56
_MIN_WIDTH = 480


def draw_filters(
    filters: Filters,
    *,
    columns: int = 12,
    tone: str = "tile",
    scale: int | None = None,
    bare: bool = False,
) -> Image.Image:
    """All filters around mid-grey, each scaled by its largest weight; empty ones are crossed out.

    `bare` leaves out all text.
    """
    factor = enlargement_factor(*filters.weights.shape[1:3], visible=_VISIBLE, scale=scale)
    shown = select_bands(filters.weights, filters.bands, axis=3)
    tiles = [_filter_tile(weights, factor, tone) for weights in shown]
    if columns > 0:
        columns = max(min(columns, len(tiles)), 1)
    if bare:
        return grid(tiles, columns=columns, gap=1)
    numbered_tiles = [
        column([tile, line(str(number), size=LABEL, colour=MUTED)], gap=0)
        for number, tile in enumerate(tiles)
    ]
    body = grid(numbered_tiles, columns=columns)
    width = max(body.width, _MIN_WIDTH)
    title = f"filters of {filters.layer.name}"
    heading = heading_block(title, [_description(filters)], width=width)
    return page([heading, body, *notes_block(filters.notes, width=width)])


def _filter_tile(weights: Pixels, factor: int, tone: str) -> Image.Image:
    tile = enlarge(apply_tone(weights, tone), factor)
    return tile if weights.any() else CONDITION_TILES["dead"](tile.size)


def _description(filters: Filters) -> str:
    count, height, width, channels = filters.weights.shape
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels, summed")
    if filters.bands:
        colour = describe_bands(filters.bands, channels)
    return f"{count} filters of {height}x{width} in {colour}; mid-grey is 0, each on its own scale"
