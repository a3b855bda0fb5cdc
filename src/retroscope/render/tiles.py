"""A tile for each map of a layer, marked so a dead map cannot be mistaken for a weak one."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from retroscope.imaging.decoding import RGB
from retroscope.render.layout import GAP, column, enlarge, enlargement_factor, grid
from retroscope.render.text import LABEL, line
from retroscope.render.theme import ALARM, DEAD, DEAD_MARK, MUTED, PAPER
from retroscope.render.tone import colour_map, has_negatives
from retroscope.results.projections import Pixels

_VISIBLE = 64
_UNDERLINE = 3
_HATCH = 8

CONDITION_MARKS = {"dead": "crossed", "constant": "hatched", "not finite": "underlined"}
"""How a tile marks a map that is not live."""


def map_condition(values: Pixels) -> str:
    """`live`, `dead` (all zero), `constant`, or `not finite` (somewhere).

    >>> map_condition(np.zeros((7, 7), np.float32))
    'dead'
    """
    if not np.isfinite(values).all():
        return "not finite"
    if not values.any():
        return "dead"
    return "constant" if values.min() == values.max() else "live"


def tile_grid(maps: Pixels, *, columns: int, scale: int | None = None) -> Image.Image:
    """All maps in reading order, each with its channel number below."""
    factor = enlargement_factor(*maps.shape[1:], visible=_VISIBLE, scale=scale)
    signed = has_negatives(maps)
    tiles = [
        _numbered_tile(channel, values, signed=signed, factor=factor)
        for channel, values in enumerate(maps)
    ]
    return grid(tiles, columns=columns, gap=GAP)


def paint_map(values: Pixels, *, signed: bool) -> RGB:
    """A map in colours, with non-finite values in the alarm colour."""
    pixels = colour_map(values, signed=signed)
    pixels[~np.isfinite(values)] = ALARM
    return pixels


def _numbered_tile(channel: int, values: Pixels, *, signed: bool, factor: int) -> Image.Image:
    condition = map_condition(values)
    tile = enlarge(paint_map(values, signed=signed), factor)
    if condition in CONDITION_TILES:
        tile = CONDITION_TILES[condition](tile.size)
    broken = condition == "not finite"
    underline = Image.new("RGB", (tile.width, _UNDERLINE), ALARM if broken else PAPER)
    number = line(str(channel), size=LABEL, colour=ALARM if broken else MUTED)
    return column([tile, underline, number], gap=0)


def _cross_out(size: tuple[int, int]) -> Image.Image:
    tile = Image.new("RGB", size, DEAD)
    right, bottom = tile.width - 1, tile.height - 1
    pen = ImageDraw.Draw(tile)
    pen.line((0, 0, right, bottom), fill=DEAD_MARK)
    pen.line((0, bottom, right, 0), fill=DEAD_MARK)
    return tile


def _hatch(size: tuple[int, int]) -> Image.Image:
    tile = Image.new("RGB", size, DEAD)
    pen = ImageDraw.Draw(tile)
    for start in range(0, tile.width + tile.height, _HATCH):
        pen.line((start, 0, start - tile.height, tile.height), fill=DEAD_MARK)
    return tile


CONDITION_TILES: dict[str, Callable[[tuple[int, int]], Image.Image]] = {
    "dead": _cross_out,
    "constant": _hatch,
}
"""The tile that replaces a map without any structure."""
