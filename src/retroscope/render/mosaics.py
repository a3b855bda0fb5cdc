"""Mosaics: the patches of a channel, or its projections, as a block of tiles of one size."""

from collections.abc import Callable, Iterable, Sequence
from math import isqrt

import numpy as np
from PIL import Image, ImageChops, ImageDraw
from PIL.Image import Resampling

from retroscope.errors import RetroscopeError, choose
from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB, Size
from retroscope.imaging.image import GREY, crop
from retroscope.render.layout import enlarge, enlargement_factor, grid
from retroscope.render.text import LABEL, line, text_width
from retroscope.render.theme import BAND, HAIRLINE, INK, MUTED, PAPER
from retroscope.render.tone import apply_tone, zero_non_finite
from retroscope.results.plates import Patch
from retroscope.results.projections import Pixels

BLOCK_SIZE = 9
"""Tiles in a full block: three rows of three, as in Zeiler & Fergus 2014, figure 2."""
LEGIBLE = 112
"""Target for the longer side of a tile, in pixels."""
_OVERSIZE = 1.2
"""A tile is reduced only if it exceeds the target by this factor."""
_FOLD_FRACTION, _MIN_FOLD = 7, 4


def mosaic(
    patches: Sequence[Patch],
    *,
    kind: str = "patch",
    columns: int = 3,
    gap: int = 1,
    tone: str = "tile",
    scale: int | None = None,
) -> Image.Image:
    """The patches or the projections of a channel, strongest first, without text.

    The mosaic has at least as many rows as columns; empty places are pale.
    """
    factor = legible_factor(map(tile_size, patches), scale=scale)
    tiles = draw_tiles(patches, kind, factor=factor, tone=tone)
    if patches and not any(tiles):
        raise RetroscopeError(
            "these patches have no projections yet; 'retroscope illustrate' adds them"
        )
    rows = max(-(-len(tiles) // max(columns, 1)), columns)
    return block(tiles, places=rows * columns, columns=columns, gap=gap)


def draw_tiles(
    patches: Iterable[Patch], kind: str, *, factor: float, tone: str = "tile"
) -> list[Image.Image | None]:
    """A tile for each patch, or for its projection; None for a projection that is missing.

    The tile of a patch and the tile of its projection show the same window of the image.
    """
    draw_tile = choose("mosaic", kind, TILE_KINDS)
    return [draw_tile(patch, factor, tone) for patch in patches]


def block(
    tiles: Sequence[Image.Image | None],
    *,
    places: int,
    columns: int,
    gap: int,
    missing: str = "",
    beyond: str = "",
) -> Image.Image:
    """Tiles in reading order, in cells of one size.

    `missing` is written on the place of a tile that is None, `beyond` on the first place after the
    last tile.
    """
    sizes = [tile.size for tile in tiles if tile] or [(LEGIBLE, LEGIBLE)]
    size = max(width for width, _ in sizes), max(height for _, height in sizes)
    cells = [tile or empty_place(size, missing) for tile in tiles]
    if len(cells) < places:
        cells.append(empty_place(size, beyond))
    cells += [empty_place(size)] * (places - len(cells))
    return grid(cells, columns=columns, gap=gap)


def square_columns(count: int) -> int:
    """The number of columns that makes a block of `count` tiles, at least nine, most square."""
    return isqrt(max(count, BLOCK_SIZE) - 1) + 1


def tile_size(patch: Patch) -> Size:
    """Height and width of the window that a tile shows."""
    window = _visible_window(patch)
    return window.height, window.width


def legible_factor(
    sizes: Iterable[Size], *, legible: int = LEGIBLE, scale: int | None = None
) -> float:
    """`scale`, or the factor that makes the largest of the tiles legible: whole, or below 1.

    >>> [legible_factor([(side, side)]) for side in (5, 40, 120, 224)]
    [22, 3, 1, 0.5]
    """
    longest = max((side for size in sizes for side in size), default=legible) or 1
    if scale is not None:
        return enlargement_factor(longest, longest, scale=scale)
    if longest > _OVERSIZE * legible:
        return legible / longest
    multiple = max(legible // longest, 1)
    # Between two multiples, the one whose ratio to the target is closer to 1.
    return multiple + (legible**2 > multiple * (multiple + 1) * longest**2)


def resize_tile(pixels: RGB, factor: float) -> Image.Image:
    """A tile, enlarged with square pixels or reduced with antialiasing."""
    if factor >= 1 or not pixels.size:
        return enlarge(pixels, max(round(factor), 1))
    size = _scaled_size(pixels.shape[:2], factor)
    return Image.fromarray(pixels).resize(size, Resampling.LANCZOS)


def resize_projection(pixels: Pixels, factor: float, tone: str) -> Image.Image:
    """Signed pixels in a tone. They are reduced before the tone, which keeps thin lines strong."""
    if factor >= 1 or not pixels.size:
        return resize_tile(apply_tone(pixels, tone), factor)
    reduced = _reduce(pixels, _scaled_size(pixels.shape[:2], factor))
    return Image.fromarray(apply_tone(reduced, tone))


def empty_place(size: tuple[int, int], reason: str = "") -> Image.Image:
    """A pale tile, with the reason on it if that fits."""
    tile = Image.new("RGB", size, BAND)
    ImageDraw.Draw(tile).rectangle((0, 0, size[0] - 1, size[1] - 1), outline=HAIRLINE)
    if reason and text_width(reason, LABEL) < size[0] - 4:
        label = line(reason, size=LABEL, colour=MUTED)
        label = ImageChops.darker(label, Image.new("RGB", label.size, BAND))
        tile.paste(label, ((size[0] - label.width) // 2, (size[1] - label.height) // 2))
    return tile


def fold_corner(tile: Image.Image) -> Image.Image:
    r"""The tile with its top right corner folded, which refers to a note below.

    left        right
      +-----------+  0
      | \  paper  |
      |   \       |
      | flap\     |
      |       \   |
      +-----------+  bottom
    """
    folded, side = tile.copy(), max(min(tile.size) // _FOLD_FRACTION, _MIN_FOLD)
    left, right, bottom = tile.width - 1 - side, tile.width - 1, side
    pen = ImageDraw.Draw(folded)
    pen.polygon([(left, 0), (right, 0), (right, bottom)], fill=PAPER)
    pen.polygon([(left, 0), (left, bottom), (right, bottom)], fill=HAIRLINE, outline=INK)
    return folded


def _visible_window(patch: Patch) -> Box:
    """The window of the image that a tile shows: the field, but no larger than the image.

    A field of 483 pixels in an image of 224 would be mostly grey border.
    """
    box = patch.box
    if patch.projection is None:
        return box
    height, width = patch.projection.size
    top, bottom = (0, height) if box.height > height else (box.top, box.bottom)
    left, right = (0, width) if box.width > width else (box.left, box.right)
    return Box(top, left, bottom, right)


def _patch_tile(patch: Patch, factor: float, tone: str) -> Image.Image | None:
    del tone
    window = _relative_to(_visible_window(patch), patch.box)
    return resize_tile(crop(patch.pixels, window, fill=GREY), factor)


def _projection_tile(patch: Patch, factor: float, tone: str) -> Image.Image | None:
    projection = patch.projection
    if projection is None:
        return None
    window = _relative_to(_visible_window(patch), projection.box)
    return resize_projection(crop(projection.pixels, window, fill=0), factor, tone)


TILE_KINDS: dict[str, Callable[[Patch, float, str], Image.Image | None]] = {
    "patch": _patch_tile,
    "projection": _projection_tile,
}
"""How each kind of tile is drawn from a patch, a factor and a tone."""


def _relative_to(window: Box, box: Box) -> Box:
    """A window of the image in the coordinates of a box of it."""
    return Box(
        window.top - box.top,
        window.left - box.left,
        window.bottom - box.top,
        window.right - box.left,
    )


def _reduce(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Signed pixels at a smaller width and height; Pillow resizes floats one band at a time."""
    bands = np.moveaxis(zero_non_finite(pixels), 2, 0).astype(np.float32)
    reduced = [Image.fromarray(band).resize(size, Resampling.LANCZOS) for band in bands]
    return np.stack([np.asarray(band) for band in reduced], axis=-1)


def _scaled_size(size: Size, factor: float) -> tuple[int, int]:
    """Width and height after scaling, at least one pixel each."""
    height, width = (max(round(side * factor), 1) for side in size)
    return width, height
