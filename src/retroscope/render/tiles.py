"""One tile for each map of a layer, so marked that a dead map cannot pass for a quiet one."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from retroscope.render.layout import GAP, column, enlarged, factor_for, grid
from retroscope.render.text import LABEL, line
from retroscope.render.theme import ALARM, DEAD, DEAD_MARK, MUTED, PAPER
from retroscope.render.tone import has_negatives, heat
from retroscope.results.values import Picture, Pixels

_VISIBLE = 64
_RULE = 3
_HATCH = 8

SAID = {"dead": "crossed", "constant": "hatched", "not finite": "underlined"}
"""How a tile shows that its map is not live."""


def condition(values: Pixels) -> str:
    """Whether a map is live, dead (all zero), constant, or not finite somewhere.

    >>> condition(np.zeros((7, 7), np.float32))
    'dead'
    """
    if not np.isfinite(values).all():
        return "not finite"
    if not values.any():
        return "dead"
    return "constant" if values.min() == values.max() else "live"


def tiles(maps: Pixels, *, columns: int, scale: int | None = None) -> Image.Image:
    """Every map with its channel number below, in reading order."""
    factor = factor_for(*maps.shape[1:], visible=_VISIBLE, scale=scale)
    signed = has_negatives(maps)
    blocks = [_numbered(n, values, signed, factor) for n, values in enumerate(maps)]
    return grid(blocks, columns=columns, gap=GAP)


def painted(values: Pixels, *, signed: bool) -> Picture:
    """A map in heat, each value that is not finite in the colour of alarm."""
    picture = heat(values, signed=signed)
    picture[~np.isfinite(values)] = ALARM
    return picture


def _numbered(channel: int, values: Pixels, signed: bool, factor: int) -> Image.Image:
    found = condition(values)
    tile = enlarged(painted(values, signed=signed), factor)
    tile = FACES[found](tile.size) if found in FACES else tile
    alarm = found == "not finite"
    rule = Image.new("RGB", (tile.width, _RULE), ALARM if alarm else PAPER)
    number = line(str(channel), size=LABEL, colour=ALARM if alarm else MUTED)
    return column([tile, rule, number], gap=0)


def _crossed(size: tuple[int, int]) -> Image.Image:
    tile = Image.new("RGB", size, DEAD)
    right, bottom = tile.width - 1, tile.height - 1
    pen = ImageDraw.Draw(tile)
    pen.line((0, 0, right, bottom), fill=DEAD_MARK)
    pen.line((0, bottom, right, 0), fill=DEAD_MARK)
    return tile


def _hatched(size: tuple[int, int]) -> Image.Image:
    tile = Image.new("RGB", size, DEAD)
    pen = ImageDraw.Draw(tile)
    for start in range(0, tile.width + tile.height, _HATCH):
        pen.line((start, 0, start - tile.height, tile.height), fill=DEAD_MARK)
    return tile


FACES: dict[str, Callable[[tuple[int, int]], Image.Image]] = {
    "dead": _crossed,
    "constant": _hatched,
}
"""What stands in place of a map that has nothing to show."""
