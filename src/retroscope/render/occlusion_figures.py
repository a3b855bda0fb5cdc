"""Occlusion maps as in Zeiler & Fergus 2014, figure 7, with a map for each question."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from retroscope.geometry import IMAGE_RANK, format_size
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import GREY
from retroscope.render.captions import count_noun, join_facts, percent
from retroscope.render.colours import CLASS_COLOURS, REMAINING_CLASSES, apply_scale
from retroscope.render.heat_figures import image_or_grey, overlay_slices, scale_key
from retroscope.render.layout import (
    CLEARLY_VISIBLE,
    TIGHT,
    column,
    enlarge,
    page,
    row,
    strip_factor,
)
from retroscope.render.overlay import OPACITY
from retroscope.render.panels import image_tile, label_tile
from retroscope.render.slices import (
    flatten_heat,
    lay_out,
    separate,
    slice_lines,
    strength_of_slices,
)
from retroscope.render.text import HEADING, LABEL, line, line_height, paragraphs
from retroscope.render.theme import MUTED, Colour
from retroscope.results.heat_maps import OcclusionMap, Target

_MIN_WIDTH = 300


def draw_occlusion(
    occlusion: OcclusionMap,
    *,
    colours: str = "inferno",
    opacity: float = OPACITY,
    scale: int | None = None,
    bare: bool = False,
) -> Image.Image:
    """The image with the occluder, the loss of probability, and the maps over its positions.

    `bare` draws the loss of probability over the image, without text.
    """
    loss = overlay_slices(occlusion.heat, colours=colours, opacity=opacity)
    _, slices = flatten_heat(occlusion.heat)
    size = loss.shape[0], loss.shape[1]
    factor = strip_factor(*size, len(slices), visible=CLEARLY_VISIBLE, scale=scale)
    if bare:
        return enlarge(loss, factor)
    images = [
        ("size of the occluder", _show_size(occlusion, slices)),
        (f"loss of {occlusion.measure}", loss),
        *_position_maps(occlusion, colours, slices),
    ]
    place = row if len(occlusion.size) == IMAGE_RANK else column
    tiles = place([label_tile(label, image_tile(pixels, factor)) for label, pixels in images])
    width = max(tiles.width, _MIN_WIDTH)
    caption = [
        line(_title(occlusion), width=width, size=HEADING),
        *(line(text, width=width, colour=MUTED) for text in _lines(occlusion, slices, colours)),
        *_legend(occlusion),
    ]
    notes = paragraphs((*occlusion.notes, *occlusion.caveats), width=width)
    return page([tiles, column(caption, gap=TIGHT), column(notes, gap=TIGHT)])


def _title(occlusion: OcclusionMap) -> str:
    measured = _measure_text(occlusion, occlusion.probability)
    return f"{occlusion.target}, {measured} without an occluder"


def _measure_text(occlusion: OcclusionMap, value: float) -> str:
    """A probability in percent, or a score."""
    return percent(value) if occlusion.measure == "probability" else f"{value:.4g}"


def _lines(occlusion: OcclusionMap, slices: Sequence[int], colours: str) -> list[str]:
    low, high = (_measure_text(occlusion, end) for end in _value_range(occlusion.probabilities))
    grid = f"{format_size(map(len, occlusion.starts))} positions"
    lines = [
        join_facts(
            f"{occlusion.fill} occluder of {format_size(occlusion.occluder)} px",
            grid,
            occlusion.source,
        ),
        *slice_lines(slices, occlusion.size[0]),
        f"loss of {occlusion.measure}: {scale_key(occlusion.heat, colours)}",
        f"{occlusion.measure} with it: {low} (dark) to {high} (light)",
    ]
    if occlusion.unit is not None and occlusion.activations is not None:
        least, most = _value_range(occlusion.activations)
        clean = f"{occlusion.activation:.4g}"
        lines.append(f"total of {occlusion.unit}: {clean}; with it: {least:.4g} to {most:.4g}")
    return lines


def _value_range(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _position_maps(
    occlusion: OcclusionMap, colours: str, slices: Sequence[int]
) -> list[tuple[str, RGB]]:
    """The maps over the positions of the occluder, each stretched to the size of the image."""
    grids = {occlusion.measure: _scale_to_range(occlusion.probabilities, colours)}
    if occlusion.activations is not None:
        grids["strongest map"] = _scale_to_range(occlusion.activations, colours)
    if occlusion.classes is not None:
        grids["most probable class"] = _class_colours(occlusion, occlusion.classes)
    return [
        (label, _in_slices(_stretch(grid, occlusion.size), slices)) for label, grid in grids.items()
    ]


def _scale_to_range(values: npt.NDArray[np.float32], colours: str) -> RGB:
    return apply_scale(values, colours, limits=_value_range(values))


def _stretch(grid: RGB, size: Sequence[int]) -> RGB:
    """The grid at the size of the image; all of its cells are equally large, give or take one."""
    along_axes = [
        np.arange(length) * count // length
        for length, count in zip(size, grid.shape[:-1], strict=True)
    ]
    pixels: RGB = grid[np.ix_(*along_axes)]
    return pixels


def _class_colours(occlusion: OcclusionMap, classes: npt.NDArray[np.int64]) -> RGB:
    pixels = np.empty((*classes.shape, 3), np.uint8)
    for target, _, colour in _rank_classes(occlusion):
        pixels[classes == target.index] = colour
    return pixels


def _rank_classes(occlusion: OcclusionMap) -> list[tuple[Target, float, Colour]]:
    """Each class with its share of positions and its colour, by falling share."""
    classes = occlusion.classes
    if classes is None:
        return []
    shares = {target: float((classes == target.index).mean()) for target in occlusion.class_names}
    targets = sorted(shares, key=lambda target: (-shares[target], target.index or 0))
    rest = len(targets) - len(CLASS_COLOURS)
    colours = [*CLASS_COLOURS, *[REMAINING_CLASSES] * rest]
    return [
        (target, shares[target], colour) for target, colour in zip(targets, colours, strict=False)
    ]


def _legend(occlusion: OcclusionMap) -> list[Image.Image]:
    ranked = _rank_classes(occlusion)
    count = len(CLASS_COLOURS)
    entries = [
        (f"{target} at {percent(share)} of positions", colour)
        for target, share, colour in ranked[:count]
    ]
    if len(ranked) > count:
        rest = count_noun(len(ranked) - count, "other class", "other classes")
        entries.append((rest, REMAINING_CLASSES))
    side = line_height(LABEL) - 3
    return [
        row([Image.new("RGB", (side, side), colour), line(text, size=LABEL)], gap=2 * TIGHT)
        for text, colour in entries
    ]


def _show_size(occlusion: OcclusionMap, slices: Sequence[int]) -> RGB:
    """The image with a grey rectangle of the occluder's size in its top left corner.

    In a volume the box begins at the slice where it costs most, or ends with the last one.
    """
    size, rank = occlusion.size, len(occlusion.size)
    covered = image_or_grey(occlusion.heat).reshape(*size, 3).copy()
    corner = [slice(length) for length in occlusion.occluder]
    if rank > IMAGE_RANK:
        depth = occlusion.occluder[0]
        strongest = int(strength_of_slices(occlusion.heat.values).argmax())
        first = min(strongest, size[0] - depth)
        corner[0] = slice(first, first + depth)
    covered[tuple(corner)] = GREY
    return _in_slices(covered, slices)


def _in_slices(pixels: RGB, slices: Sequence[int]) -> RGB:
    """Pixels of an image, or those of a volume in slices side by side."""
    return separate(lay_out(pixels, pixels.ndim - 1, slices), len(slices))
