"""Mosaics: the patches of a channel, its projections or both in one, as a block of tiles."""

from collections.abc import Callable, Iterable, Sequence
from math import isqrt

import numpy as np
from PIL import Image, ImageChops, ImageDraw
from PIL.Image import Resampling

from retroscope.errors import RetroscopeError, choose
from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB, Size
from retroscope.imaging.image import crop
from retroscope.render.layout import enlarge, enlargement_factor, grid
from retroscope.render.text import LABEL, line, text_width
from retroscope.render.theme import BAND, HAIRLINE, INK, MUTED, PAPER
from retroscope.render.tone import DEFAULT_TONE, apply_tone, zero_non_finite
from retroscope.results.lighting import light_patch
from retroscope.results.plates import Patch, place_in_image
from retroscope.results.projections import Pixels, Projection

BLOCK_SIZE = 9
"""Tiles in a full block: three rows of three, as in Zeiler & Fergus 2014, figure 2."""
LEGIBLE = 112
"""Target for the longer side of a tile, in pixels."""
_OVERSIZE = 1.2
"""A tile is reduced only if it exceeds the target by this factor."""
_FOLD_FRACTION, _MIN_FOLD = 7, 4
_RING_FRACTION, _MIN_RING = 14, 3
_DOT_RADIUS = 0.03


def mosaic(
    patches: Sequence[Patch],
    *,
    kind: str = "patch",
    columns: int = 3,
    gap: int = 1,
    tone: str = DEFAULT_TONE,
    scale: int | None = None,
) -> Image.Image:
    """The patches, the projections or the lit patches of a channel, strongest first, without text.

    The mosaic has at least as many rows as columns; empty places are pale.
    """
    factor = legible_factor(map(tile_size, patches), scale=scale)
    tiles = draw_tiles(patches, kind, factor=factor, tone=tone)
    if patches and not any(tiles):
        raise RetroscopeError(
            "these patches are not projected yet; 'retroscope illustrate' makes them"
        )
    rows = max(-(-len(tiles) // max(columns, 1)), columns)
    return block(tiles, places=rows * columns, columns=columns, gap=gap)


def draw_tiles(
    patches: Iterable[Patch], kind: str, *, factor: float, tone: str = DEFAULT_TONE
) -> list[Image.Image | None]:
    """A tile of this kind for each patch; None for one that lacks the projection it needs.

    All kinds of tile show the same part of the image: what the unit sees of it; of a volume, in its
    strongest slice.
    """
    draw_tile = choose("mosaic", kind, TILE_KINDS)
    return [draw_tile(patch.flat, factor, tone) for patch in patches]


def block(
    tiles: Sequence[Image.Image | None],
    *,
    places: int,
    columns: int,
    gap: int,
    missing: str = "",
    beyond: str = "",
) -> Image.Image:
    """Tiles in reading order, in the middle of cells of one size: that of the largest tile.

    `missing` is written on the place of a tile that is None, if it fits, and a dot is drawn there
    if not; `beyond` is written on the first place after the last tile.
    """
    size = cell_size(tile.size for tile in tiles if tile)
    cells = [_centre(tile, size) if tile else _promised_place(size, missing) for tile in tiles]
    if len(cells) < places:
        cells.append(empty_place(size, beyond))
    cells += [empty_place(size)] * (places - len(cells))
    return grid(cells, columns=columns, gap=gap)


def cell_size(sizes: Iterable[Size]) -> Size:
    """The smallest size that holds a tile of each of these sizes; legible if there are none."""
    longest = [max(sides) for sides in zip(*sizes, strict=True)] or [LEGIBLE, LEGIBLE]
    return longest[0], longest[1]


def square_columns(count: int) -> int:
    """The number of columns that makes a block of `count` tiles, at least nine, most square."""
    return isqrt(max(count, BLOCK_SIZE) - 1) + 1


def tile_size(patch: Patch) -> Size:
    """Height and width of the part of the image that a tile shows."""
    return patch.visible.height, patch.visible.width


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
    size = scaled_size(pixels.shape[:2], factor)
    return Image.fromarray(pixels).resize(size, Resampling.LANCZOS)


def resize_projection(pixels: Pixels, factor: float, tone: str) -> Image.Image:
    """Signed pixels in a tone. They are reduced before the tone, which keeps thin lines strong."""
    if factor >= 1 or not pixels.size:
        return resize_tile(apply_tone(pixels, tone), factor)
    reduced = _reduce(pixels, scaled_size(pixels.shape[:2], factor))
    return Image.fromarray(apply_tone(reduced, tone))


def empty_place(size: tuple[int, int], reason: str = "") -> Image.Image:
    """A pale tile, with the reason on it if that fits."""
    tile = Image.new("RGB", size, BAND)
    ImageDraw.Draw(tile).rectangle((0, 0, size[0] - 1, size[1] - 1), outline=HAIRLINE)
    if _fits(reason, size):
        label = line(reason, size=LABEL, colour=MUTED)
        label = ImageChops.darker(label, Image.new("RGB", label.size, BAND))
        tile.paste(label, ((size[0] - label.width) // 2, (size[1] - label.height) // 2))
    return tile


def _promised_place(size: tuple[int, int], reason: str) -> Image.Image:
    """The place of a tile that is not made yet: with the reason, or with a dot if that is long."""
    tile = empty_place(size, reason)
    if not _fits(reason, size):
        middle, reach = ((size[0] - 1) / 2, (size[1] - 1) / 2), max(min(size) * _DOT_RADIUS, 0.5)
        ImageDraw.Draw(tile).ellipse(
            (middle[0] - reach, middle[1] - reach, middle[0] + reach, middle[1] + reach),
            fill=HAIRLINE,
        )
    return tile


def _fits(text: str, size: tuple[int, int]) -> bool:
    return bool(text) and text_width(text, LABEL) < size[0] - 4


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


def ring_place(
    tile: Image.Image, box: Box, size: tuple[int, ...] | None, factor: float = 1
) -> Image.Image:
    """The tile of what a field shows of an image, with a ring at its middle if that is nearly all.

    Fields of one layer then look alike in all their images; the ring tells the units apart.
    """
    place = size and place_in_image(box, size)
    if not (size and place):
        return tile
    ringed, visible = tile.copy(), box.clip(*size)
    radius = max(min(tile.size) // _RING_FRACTION, _MIN_RING)
    y, x = ((place[0] - visible.top + 0.5) * factor, (place[1] - visible.left + 0.5) * factor)
    pen = ImageDraw.Draw(ringed)
    for distance, colour in ((1, INK), (-1, INK), (0, PAPER)):
        reach = radius + distance
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), outline=colour)
    return ringed


def _patch_tile(patch: Patch, factor: float, tone: str) -> Image.Image | None:
    del tone
    return ring_place(resize_tile(patch.pixels, factor), patch.box, patch.size, factor)


def _projection_tile(patch: Patch, factor: float, tone: str) -> Image.Image | None:
    if patch.projection is None:
        return None
    return resize_projection(visible_projection(patch, patch.projection.in_bands()), factor, tone)


def _lit_tile(patch: Patch, factor: float, tone: str) -> Image.Image | None:
    del tone
    if patch.projection is None:
        return None
    lit = light_patch(patch.pixels, visible_projection(patch, patch.projection))
    return resize_tile(lit, factor)


def visible_projection(patch: Patch, projection: Projection) -> Pixels:
    """The projection on the pixels of its patch."""
    if projection.box == patch.visible:
        return projection.pixels
    return crop(projection.full(), patch.visible, fill=0)


TILE_KINDS: dict[str, Callable[[Patch, float, str], Image.Image | None]] = {
    "patch": _patch_tile,
    "projection": _projection_tile,
    "lit": _lit_tile,
}
"""How each kind of tile is drawn from a patch, a factor and a tone."""


def _centre(tile: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The tile in the middle of a cell, on paper."""
    if tile.size == size:
        return tile
    cell = Image.new("RGB", size, PAPER)
    cell.paste(tile, ((size[0] - tile.width) // 2, (size[1] - tile.height) // 2))
    return cell


def _reduce(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Signed pixels at a smaller width and height; Pillow resizes floats one band at a time."""
    bands = np.moveaxis(zero_non_finite(pixels), 2, 0).astype(np.float32)
    reduced = [Image.fromarray(band).resize(size, Resampling.LANCZOS) for band in bands]
    return np.stack([np.asarray(band) for band in reduced], axis=-1)


def scaled_size(size: Size, factor: float) -> tuple[int, int]:
    """Width and height after scaling, at least one pixel each."""
    height, width = (max(round(side * factor), 1) for side in size)
    return width, height
