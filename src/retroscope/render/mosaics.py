"""Blocks of tiles of one size: the patches of a channel, and its projections in the same order."""

from collections.abc import Iterable, Sequence
from math import isqrt

import numpy as np
from PIL import Image, ImageChops, ImageDraw
from PIL.Image import Resampling

from retroscope.errors import RetroscopeError, did_you_mean
from retroscope.geometry import Box
from retroscope.imaging.image import Size, crop
from retroscope.render.layout import enlarged, factor_for, grid
from retroscope.render.text import LABEL, line, width_of
from retroscope.render.theme import BAND, HAIRLINE, INK, MUTED, PAPER
from retroscope.render.tone import GREY, finite, toned
from retroscope.results.values import Patch, Picture, Pixels

PLACES = 9
"""Tiles of a full block: three rows of three, as in Zeiler & Fergus 2014, figure 2."""
LEGIBLE = 112
"""Pixels that the longer side of a tile should have."""
KINDS = ("patch", "projection")
_ROOM = 1.2
_FOLD, _LEAST_FOLD = 7, 4


def mosaic(
    patches: Sequence[Patch],
    *,
    what: str = "patch",
    columns: int = 3,
    gap: int = 1,
    tone: str = "tile",
    scale: int | None = None,
) -> Image.Image:
    """The patches alone, or their projections alone, strongest first, without a word.

    It has at least as many rows as columns; places that nothing fills are left pale.
    """
    factor = factor_of(map(size_of, patches), scale=scale)
    tiles = tiles_of(patches, what, factor=factor, tone=tone)
    if patches and not any(tiles):
        raise RetroscopeError(
            "these patches have no projections yet; 'retroscope illustrate' adds them"
        )
    rows = max(-(-len(tiles) // max(columns, 1)), columns)
    return block(tiles, places=rows * columns, columns=columns, gap=gap)


def tiles_of(
    patches: Iterable[Patch], what: str, *, factor: float, tone: str = "tile"
) -> list[Image.Image | None]:
    """What each place shows; a patch and its projection show the same part of the picture."""
    if what not in KINDS:
        hint = did_you_mean(what, KINDS) or f"there are {', '.join(KINDS)}"
        raise RetroscopeError(f"no mosaic of {what!r}; {hint}")
    if what == "patch":
        return [resized(_seen(patch), factor) for patch in patches]
    return [_projected(patch, factor, tone) for patch in patches]


def block(
    tiles: Sequence[Image.Image | None],
    *,
    places: int,
    columns: int,
    gap: int,
    missing: str = "",
    after: str = "",
) -> Image.Image:
    """Tiles in reading order, in cells of one size; what is missing is pale, with its reason."""
    sizes = [tile.size for tile in tiles if tile] or [(LEGIBLE, LEGIBLE)]
    size = max(width for width, _ in sizes), max(height for _, height in sizes)
    filled = [tile or pale(size, missing) for tile in tiles]
    rest = [pale(size, "" if n else after) for n in range(places - len(filled))]
    return grid([*filled, *rest], columns=columns, gap=gap)


def columns_for(count: int) -> int:
    """The columns of a block of nine places or more that is as square as it can be."""
    return isqrt(max(count, PLACES) - 1) + 1


def size_of(patch: Patch) -> Size:
    """Height and width of what a tile shows."""
    window = _window(patch)
    return window.height, window.width


def factor_of(sizes: Iterable[Size], *, legible: int = LEGIBLE, scale: int | None = None) -> float:
    """The one factor that makes pictures legible: a whole number of times, or smaller.

    >>> [factor_of([(side, side)]) for side in (5, 40, 120, 224)]
    [22, 3, 1, 0.5]
    """
    longest = max((side for size in sizes for side in size), default=legible) or 1
    if scale is not None:
        return factor_for(longest, longest, scale=scale)
    if longest > _ROOM * legible:
        return legible / longest
    times = max(legible // longest, 1)
    return times + (legible**2 > times * (times + 1) * longest**2)


def resized(picture: Picture, factor: float) -> Image.Image:
    """Each pixel a square where the picture grows; averaged where it shrinks."""
    if factor >= 1 or not picture.size:
        return enlarged(picture, max(round(factor), 1))
    return Image.fromarray(picture).resize(_reduced(picture.shape[:2], factor), Resampling.LANCZOS)


def resized_projection(pixels: Pixels, factor: float, tone: str) -> Image.Image:
    """Signed pixels in their tone. They shrink first, so that thin lines keep their contrast."""
    if factor >= 1 or not pixels.size:
        return resized(toned(pixels, tone), factor)
    return Image.fromarray(toned(_shrunk(pixels, _reduced(pixels.shape[:2], factor)), tone))


def pale(size: tuple[int, int], words: str = "") -> Image.Image:
    """A place that nothing fills, with the reason where there is room for it."""
    tile = Image.new("RGB", size, BAND)
    ImageDraw.Draw(tile).rectangle((0, 0, size[0] - 1, size[1] - 1), outline=HAIRLINE)
    if words and width_of(words, LABEL) < size[0] - 4:
        label = line(words, size=LABEL, colour=MUTED)
        label = ImageChops.darker(label, Image.new("RGB", label.size, BAND))
        tile.paste(label, ((size[0] - label.width) // 2, (size[1] - label.height) // 2))
    return tile


def folded(tile: Image.Image) -> Image.Image:
    """The tile with a corner turned down: something is said of it."""
    marked, side = tile.copy(), max(min(tile.size) // _FOLD, _LEAST_FOLD)
    right, corner = tile.width - 1, (tile.width - 1 - side, side)
    pen = ImageDraw.Draw(marked)
    pen.polygon([(corner[0], 0), (right, 0), (right, side)], fill=PAPER)
    pen.polygon([(corner[0], 0), corner, (right, side)], fill=HAIRLINE, outline=INK)
    return marked


def _window(patch: Patch) -> Box:
    """What a tile shows: the field, or the picture where the field is larger than that.

    A field of 483 pixels in a picture of 224 would be a wide frame of grey.
    """
    box = patch.box
    if patch.projection is None:
        return box
    height, width = patch.projection.size
    top, bottom = (0, height) if box.height > height else (box.top, box.bottom)
    left, right = (0, width) if box.width > width else (box.left, box.right)
    return Box(top, left, bottom, right)


def _seen(patch: Patch) -> Picture:
    return crop(patch.pixels, _within(_window(patch), patch.box), fill=GREY)


def _projected(patch: Patch, factor: float, tone: str) -> Image.Image | None:
    shown = patch.projection
    if shown is None:
        return None
    pixels = crop(shown.pixels, _within(_window(patch), shown.box), fill=0)
    return resized_projection(pixels, factor, tone)


def _within(window: Box, box: Box) -> Box:
    """A window of the picture as a window of what lies in a box."""
    return Box(
        window.top - box.top,
        window.left - box.left,
        window.bottom - box.top,
        window.right - box.left,
    )


def _shrunk(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    bands = [Image.fromarray(band) for band in np.moveaxis(finite(pixels), 2, 0).astype(np.float32)]
    return np.stack([np.asarray(band.resize(size, Resampling.LANCZOS)) for band in bands], axis=-1)


def _reduced(size: Size, factor: float) -> tuple[int, int]:
    """Width and height after shrinking."""
    height, width = (max(round(side * factor), 1) for side in size)
    return width, height
