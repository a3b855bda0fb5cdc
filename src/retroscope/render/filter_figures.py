"""The filters of a first layer."""

from collections.abc import Sequence
from math import prod

import numpy as np
from PIL import Image

from retroscope.geometry import IMAGE_RANK, format_size
from retroscope.imaging.bands import describe_bands, select_bands
from retroscope.render.layout import column, enlarge, enlargement_factor, grid, page
from retroscope.render.panels import heading_block, notes_block
from retroscope.render.slices import lay_out, separate
from retroscope.render.text import LABEL, line
from retroscope.render.theme import MUTED
from retroscope.render.tiles import CONDITION_TILES
from retroscope.render.tone import apply_tone
from retroscope.results.projections import Filters, Pixels

_VISIBLE, _GAP_BETWEEN_ROWS = 56, 4
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

    Those of volumes are slices in a row. `bare` leaves out all text.
    """
    _, *size, _ = filters.weights.shape
    slices = range(prod(size[:-IMAGE_RANK]))
    factor = enlargement_factor(max(size[-IMAGE_RANK:]), 1, visible=_VISIBLE, scale=scale)
    shown = select_bands(filters.weights, filters.bands, axis=-1)
    tiles = [_filter_tile(weights, slices, factor, tone) for weights in shown]
    if columns > 0:
        columns = max(columns // len(slices), 1)
        columns = max(min(columns, len(tiles)), 1)
    if bare:
        return grid(tiles, columns=columns, gap=1 if len(slices) == 1 else _GAP_BETWEEN_ROWS)
    numbered_tiles = [
        column([tile, line(str(number), size=LABEL, colour=MUTED)], gap=0)
        for number, tile in enumerate(tiles)
    ]
    body = grid(numbered_tiles, columns=columns)
    width = max(body.width, _MIN_WIDTH)
    title = f"filters of {filters.layer.name}"
    heading = heading_block(title, [filter_description(filters)], width=width)
    return page([heading, body, *notes_block(filters.notes, width=width)])


def _filter_tile(weights: Pixels, slices: Sequence[int], factor: int, tone: str) -> Image.Image:
    flat = lay_out(weights, weights.ndim - 1, slices)
    enlarged = np.asarray(enlarge(apply_tone(flat, tone), factor))
    tile = Image.fromarray(separate(enlarged, len(slices)))
    return tile if weights.any() else CONDITION_TILES["dead"](tile.size)


def filter_description(filters: Filters) -> str:
    """How many filters there are, of which size, and what the greys are."""
    count, *size, channels = filters.weights.shape
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels, summed")
    if filters.bands:
        colour = describe_bands(filters.bands, channels)
    in_row = ", slices in a row" if len(size) > IMAGE_RANK else ""
    return (
        f"{count} filters of {format_size(size)} in {colour}{in_row}; mid-grey is 0, each on its "
        "own scale"
    )
