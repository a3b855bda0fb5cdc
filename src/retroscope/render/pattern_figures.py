"""Synthesised patterns: one with its caption, or many on a sheet."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from retroscope.errors import RetroscopeError
from retroscope.geometry import IMAGE_RANK, format_size
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import GREY
from retroscope.render.captions import count_noun, join_facts
from retroscope.render.layout import enlarge, enlargement_factor, strip_factor
from retroscope.render.panels import Panel, contact_sheet, draw_panel, draw_sheet
from retroscope.render.slices import (
    choose_slices,
    lay_out,
    separate,
    slice_lines,
    strength_of_slices,
)
from retroscope.results.patterns import Pattern

_COLUMNS = 8
_VISIBLE, _VISIBLE_ON_SHEET = 192, 152


def draw_pattern(pattern: Pattern, *, scale: int | None = None, bare: bool = False) -> Image.Image:
    """The pattern, the activation it reaches and its recipe; `bare` draws the image alone.

    If the pattern has an opacity, its transparent parts fade to grey.
    """
    pixels, slices = lay_out_slices(fade_by_opacity(pattern))
    if bare:
        return enlarge(pixels, 1 if scale is None else scale)
    size = pixels.shape[0], pixels.shape[1]
    factor = strip_factor(*size, len(slices), visible=_VISIBLE, scale=scale)
    lines = (*_lines(pattern), *slice_lines(slices, pattern.size[0]))
    panel = Panel((("", pixels),), pattern.objective, lines, pattern_notes(pattern))
    return draw_panel(panel, scale=factor)


def draw_patterns(
    patterns: Sequence[Pattern],
    *,
    columns: int | None = None,
    scale: int | None = None,
    bare: bool = False,
) -> Image.Image:
    """A sheet of patterns, each with its number and activation; by default eight in a row."""
    if columns is not None and columns < 1:
        raise RetroscopeError(f"cannot draw a sheet of {columns} columns; give 1 or more")
    columns = min(columns or _COLUMNS, len(patterns))
    images = [lay_out_slices(fade_by_opacity(pattern))[0] for pattern in patterns]
    if bare:
        return contact_sheet(images, scale=scale, columns=columns)
    title, names = _sheet_titles(patterns)
    panels = [
        Panel((("", image),), name, (_activation_line(pattern),), pattern_notes(pattern))
        for pattern, name, image in zip(patterns, names, images, strict=True)
    ]
    recipes = join_facts(*dict.fromkeys(map(_recipe_line, patterns)))
    heights, widths = zip(*(image.shape[:2] for image in images), strict=True)
    factor = enlargement_factor(max(heights), max(widths), visible=_VISIBLE_ON_SHEET, scale=scale)
    return draw_sheet(panels, title=title, line_below=recipes, scale=factor, columns=columns)


def lay_out_slices(pixels: RGB) -> tuple[RGB, tuple[int, ...]]:
    """The pixels of a pattern as one image, and the slices of a volume that stand side by side."""
    rank = pixels.ndim - 1
    if rank == IMAGE_RANK:
        return pixels, ()
    slices = choose_slices(strength_of_slices(pixels.astype(np.float32) - GREY))
    return separate(lay_out(pixels, rank, slices), len(slices)), slices


def fade_by_opacity(pattern: Pattern) -> RGB:
    """The image of a pattern, blended with grey by its opacity."""
    if pattern.opacity is None:
        return pattern.image
    blended = GREY + (pattern.image.astype(np.float32) - GREY) * pattern.opacity[..., None]
    pixels: RGB = np.rint(blended).astype(np.uint8)
    return pixels


def pattern_notes(pattern: Pattern) -> tuple[str, ...]:
    """The notes and caveats under a pattern."""
    return (*pattern.notes, *pattern.caveats)


def _sheet_titles(patterns: Sequence[Pattern]) -> tuple[str, list[str]]:
    """The title of a sheet, and a title for each pattern without what the sheet's title says."""
    count = count_noun(len(patterns), "pattern")
    objectives = [pattern.objective for pattern in patterns]
    if len(patterns) > 1 and len(set(objectives)) == 1:
        return f"{count} of {objectives[0]}", [f"seed {pattern.seed}" for pattern in patterns]
    layers, _, channels = zip(*(text.partition(":") for text in objectives), strict=True)
    if len(set(layers)) == 1 and all(channels) and all(map(_is_unit_objective, patterns)):
        return f"{count} of {layers[0]}", list(channels)
    return count, objectives


def _is_unit_objective(pattern: Pattern) -> bool:
    """Whether the objective is a single unit, such as `conv5_3:42`."""
    return pattern.unit is not None and " " not in pattern.objective


def _activation_line(pattern: Pattern) -> str:
    activation = f"{pattern.activation:.4g}"
    natural = "" if pattern.natural is None else f" (natural {pattern.natural:.4g})"
    return f"{activation}{natural}"


def _recipe_line(pattern: Pattern) -> str:
    return f"{pattern.recipe}, {pattern.steps} steps, {format_size(pattern.size)} pixels"


def _lines(pattern: Pattern) -> tuple[str, ...]:
    natural = "" if pattern.natural is None else f"best natural image {pattern.natural:.4g}"
    return (
        join_facts(f"activation {pattern.activation:.4g}", natural),
        join_facts(_recipe_line(pattern), f"seed {pattern.seed}"),
        f"objective from {pattern.started_at:.4g} to {pattern.score:.4g}",
    )
