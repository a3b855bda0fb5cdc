"""Patterns: one over its caption, or many of one layer on a sheet."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from retroscope.errors import RetroscopeError
from retroscope.render.captions import joined
from retroscope.render.layout import enlarged, factor_for
from retroscope.render.panels import Panel, contact_sheet, draw_panel, draw_sheet
from retroscope.render.tone import GREY
from retroscope.results.values import Pattern, Picture

_COLUMNS = 8
_VISIBLE, _VISIBLE_ON_SHEET = 192, 152


def draw_pattern(pattern: Pattern, *, scale: int | None = None, bare: bool = False) -> Image.Image:
    """The pattern, what it reaches and how it was made; `bare` for the picture alone.

    Where its recipe found out which parts matter, the rest fades to grey.
    """
    shown = faded(pattern)
    factor = factor_for(*shown.shape[:2], visible=_VISIBLE, scale=scale)
    if bare:
        return enlarged(shown, 1 if scale is None else scale)
    panel = Panel((("", shown),), pattern.objective, _lines(pattern), notes_of(pattern))
    return draw_panel(panel, scale=factor)


def draw_patterns(
    patterns: Sequence[Pattern],
    *,
    columns: int | None = None,
    scale: int | None = None,
    bare: bool = False,
) -> Image.Image:
    """A sheet of patterns, each with its number and what it reaches, eight in a row."""
    if columns is not None and columns < 1:
        raise RetroscopeError(f"a sheet of {columns} columns holds nothing; give 1 or more")
    across = min(columns or _COLUMNS, len(patterns))
    pictures = [faded(each) for each in patterns]
    if bare:
        return contact_sheet(pictures, scale=scale, columns=across)
    title, names = _titled(patterns)
    panels = [
        Panel((("", shown),), name, (_reached(each),), notes_of(each))
        for each, name, shown in zip(patterns, names, pictures, strict=True)
    ]
    made = joined(*dict.fromkeys(_made(each) for each in patterns))
    largest = [max(each.size[axis] for each in patterns) for axis in (0, 1)]
    factor = factor_for(*largest, visible=_VISIBLE_ON_SHEET, scale=scale)
    return draw_sheet(panels, title=title, line_below=made, scale=factor, columns=across)


def faded(pattern: Pattern) -> Picture:
    """The picture, grey where it does not matter."""
    if pattern.opacity is None:
        return pattern.picture
    shown = GREY + (pattern.picture.astype(np.float32) - GREY) * pattern.opacity[..., None]
    picture: Picture = np.rint(shown).astype(np.uint8)
    return picture


def notes_of(pattern: Pattern) -> tuple[str, ...]:
    """What is said under a pattern."""
    return (*pattern.notes, *pattern.caveats)


def _titled(patterns: Sequence[Pattern]) -> tuple[str, list[str]]:
    """What a sheet is of, as it was asked for, and what each of its patterns adds to that."""
    count = f"{len(patterns)} patterns"
    asked = {each.objective for each in patterns}
    if len(asked) == 1 and len(patterns) > 1:
        return f"{count} of {asked.pop()}", [f"seed {each.seed}" for each in patterns]
    parts = [each.objective.partition(":") for each in patterns]
    layers = {layer for layer, _, _ in parts}
    channels = [channel for _, _, channel in parts]
    if len(layers) == 1 and all(channels) and all(map(_is_address, patterns)):
        return f"{count} of {layers.pop()}", channels
    return count, [each.objective for each in patterns]


def _is_address(pattern: Pattern) -> bool:
    """Whether its objective is nothing but a unit."""
    return pattern.unit is not None and " " not in pattern.objective


def _reached(pattern: Pattern) -> str:
    own = f"{pattern.activation:.4g}"
    return own if pattern.natural is None else f"{own} (natural {pattern.natural:.4g})"


def _made(pattern: Pattern) -> str:
    height, width = pattern.size
    return f"{pattern.recipe}, {pattern.steps} steps, {height}x{width} pixels"


def _lines(pattern: Pattern) -> tuple[str, ...]:
    natural = "" if pattern.natural is None else f"best natural image {pattern.natural:.4g}"
    return (
        joined(f"activation {pattern.activation:.4g}", natural),
        joined(_made(pattern), f"seed {pattern.seed}"),
        f"objective from {pattern.started_at:.4g} to {pattern.score:.4g}",
    )
