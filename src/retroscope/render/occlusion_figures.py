"""An occlusion as the paper shows it (Zeiler & Fergus 2014, Fig. 7): one map for each question."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from retroscope.imaging.image import GREY
from retroscope.render.captions import joined, percent
from retroscope.render.colours import CLASSES, OTHER_CLASSES, coloured
from retroscope.render.layout import CLEAR, TIGHT, column, enlarged, factor_for, framed, page, row
from retroscope.render.overlay import OPACITY, overlay
from retroscope.render.text import HEADING, LABEL, height_of, line, paragraph
from retroscope.render.theme import MUTED, Colour
from retroscope.results.heat_maps import OcclusionMap, Target
from retroscope.results.values import Picture

_NAMED = len(CLASSES)


def draw_occlusion(
    shown: OcclusionMap,
    *,
    colours: str = "inferno",
    opacity: float = OPACITY,
    scale: int | None = None,
    bare: bool = False,
) -> Image.Image:
    """The picture with its occluder, what covering costs, and the answer at each position.

    `bare` is what covering costs, over the picture, without a word.
    """
    picture = _picture(shown)
    factor = factor_for(*shown.size, visible=CLEAR, scale=scale)
    costs = overlay(picture, shown.heat, colours=colours, opacity=opacity)
    if bare:
        return enlarged(costs, factor)
    named = [
        ("the size of the occluder", _occluded(shown, picture)),
        ("what covering costs", costs),
    ]
    named += _maps(shown, colours)
    tiles = row([_tile(name, each, factor) for name, each in named])
    width = max(tiles.width, 300)
    words = [line(_title(shown), width=width, size=HEADING)]
    words += [line(each, width=width, colour=MUTED) for each in _lines(shown)]
    notes = [
        each for text in (*shown.notes, *shown.caveats) for each in paragraph(text, width=width)
    ]
    return page([tiles, column([*words, *_legend(shown)], gap=TIGHT), column(notes, gap=TIGHT)])


def _title(shown: OcclusionMap) -> str:
    return f"{shown.target}, {percent(shown.probability)} where nothing is covered"


def _lines(shown: OcclusionMap) -> list[str]:
    height, width = shown.occluder
    low, high = float(shown.probabilities.min()), float(shown.probabilities.max())
    grid = f"{len(shown.tops)}x{len(shown.lefts)} positions"
    lines = [
        joined(f"{shown.fill} occluder of {height}x{width} px", grid, shown.source),
        f"covered, it is from {percent(low)} (dark) to {percent(high)} (light)",
    ]
    if shown.unit is not None and shown.activations is not None:
        least, most = float(shown.activations.min()), float(shown.activations.max())
        lines.append(
            f"total of {shown.unit}: {shown.activation:.4g}; covered, {least:.4g} to {most:.4g}"
        )
    return lines


def _maps(shown: OcclusionMap, colours: str) -> list[tuple[str, Picture]]:
    """Each grid of positions, every position as large as its share of the picture."""
    found = [("probability", _stretched(shown, _between_ends(shown.probabilities, colours)))]
    if shown.activations is not None:
        activations = _between_ends(shown.activations, colours)
        found.append(("strongest map", _stretched(shown, activations)))
    return [*found, ("most probable class", _stretched(shown, _classes(shown)))]


def _between_ends(values: npt.NDArray[np.float32], colours: str) -> Picture:
    return coloured(values, colours, limits=(float(values.min()), float(values.max())))


def _stretched(shown: OcclusionMap, grid: Picture) -> Picture:
    rows, columns = (
        np.arange(length) * count // length
        for length, count in zip(shown.size, grid.shape[:2], strict=True)
    )
    picture: Picture = grid[rows[:, None], columns[None, :]]
    return picture


def _classes(shown: OcclusionMap) -> Picture:
    picture = np.empty((*shown.classes.shape, 3), np.uint8)
    for target, _, colour in _ranked(shown):
        picture[shown.classes == target.index] = colour
    return picture


def _ranked(shown: OcclusionMap) -> list[tuple[Target, float, Colour]]:
    """Each class that is most probable somewhere, its share of positions and its colour."""
    shares = [(float((shown.classes == one.index).mean()), one) for one in shown.named]
    ranked = sorted(shares, key=lambda pair: (-pair[0], pair[1].index))
    colours = [*CLASSES, *[OTHER_CLASSES] * len(ranked)]
    return [(one, share, colours[place]) for place, (share, one) in enumerate(ranked)]


def _legend(shown: OcclusionMap) -> list[Image.Image]:
    ranked = _ranked(shown)
    entries = [(f"{one} at {percent(share)}", colour) for one, share, colour in ranked[:_NAMED]]
    rest = len(ranked) - _NAMED
    if rest > 0:
        entries.append((f"{rest} other classes", OTHER_CLASSES))
    side = height_of(LABEL) - 3
    return [
        row([Image.new("RGB", (side, side), colour), line(text, size=LABEL)], gap=2 * TIGHT)
        for text, colour in entries
    ]


def _picture(shown: OcclusionMap) -> Picture:
    return np.full((*shown.size, 3), GREY, np.uint8) if shown.picture is None else shown.picture


def _occluded(shown: OcclusionMap, picture: Picture) -> Picture:
    """The picture with a square of mid-grey, as large as the occluder, in its first place."""
    covered = picture.copy()
    height, width = shown.occluder
    covered[:height, :width] = GREY
    return covered


def _tile(name: str, picture: Picture, factor: int) -> Image.Image:
    tile = framed(enlarged(picture, factor))
    return column([line(name, width=tile.width, size=LABEL, colour=MUTED), tile], gap=TIGHT)
