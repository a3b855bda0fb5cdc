"""Plates of volumes: the slices that units see, one plate above the other, for a page to slide."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image

from retroscope.render.mosaics import cell_size, draw_tiles, legible_factor, scaled_size, tile_size
from retroscope.render.strip_figures import side_by_side
from retroscope.results.plates import Patch
from retroscope.results.slice_stacks import MAX_SHEET_SIDE, sheet_layout, sheet_size
from retroscope.web.site.site import Facts

_TILES = 3


def count_plates(patches: Sequence[Patch]) -> int:
    """How many plates are above each other: as many as the slices that a unit sees at most."""
    return max((patch.visible.depth for patch in patches), default=1)


def slice_facts(patch: Patch, plates: int, volume: Sequence[int]) -> Facts:
    """What a page must know to show any slice of a hit in a volume: slices count from 0.

    `shown` is the strongest; the unit sees those from `first` to `last`. A plate is a stack of so
    many `plates`.
    """
    visible = patch.visible
    return {
        "count": volume[0],
        "shown": patch.strongest_slice,
        "first": visible.front,
        "last": max(visible.back - 1, visible.front),
        "plates": plates,
        **sheet_facts(volume),
    }


def sheet_facts(volume: Sequence[int]) -> Facts:
    """Where the slices are in the file of a volume: so many above each other, then the next column.

    `sheet` is its height and width.
    """
    return {"rows": sheet_layout(volume[0], volume[1])[0], "sheet": list(sheet_size(volume))}


def draw_slice_plates(
    patches: Sequence[Patch], content: str, *, side: int, tone: str
) -> Image.Image:
    """A plate three by three for each slice: in the first, each tile shows the first slice that its
    unit sees. All slices of a projection have one tone.

        +---+---+---+
        | 3 | 0 | 7 |   plate 0: the first slice of each hit
        +---+---+---+
        | 4 | 1 | 8 |   plate 1: the second
        +---+---+---+
    """
    count = count_plates(patches)
    longest = min(side, MAX_SHEET_SIDE // (_TILES * count))
    factor = min(legible_factor(map(tile_size, patches), legible=longest), 1)
    cell = max(cell_size(scaled_size(tile_size(patch), factor) for patch in patches))
    plates = Image.new("RGBA", (_TILES * cell, _TILES * cell * count))
    for index, patch in enumerate(patches):
        row, column = divmod(index, _TILES)
        for number, tile in enumerate(_tiles_of_slices(patch, content, factor=factor, tone=tone)):
            left = column * cell + (cell - tile.width) // 2
            top = (number * _TILES + row) * cell + (cell - tile.height) // 2
            plates.paste(tile, (left, top))
    return plates


def _tiles_of_slices(patch: Patch, content: str, *, factor: float, tone: str) -> list[Image.Image]:
    """A tile for each slice that the unit sees; none if it is not projected yet."""
    numbers = range(patch.visible.front, patch.visible.back)
    if not numbers:
        return []
    tile = draw_tiles([side_by_side(patch, numbers)], content, factor=factor, tone=tone)[0]
    if tile is None:
        return []
    edges = np.rint(np.linspace(0, tile.width, len(numbers) + 1)).astype(int).tolist()
    return [tile.crop((left, 0, right, tile.height)) for left, right in pairwise(edges)]
