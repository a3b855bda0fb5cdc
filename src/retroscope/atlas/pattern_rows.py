"""Patterns as rows of an atlas, and back. No torch."""

import numpy as np
import numpy.typing as npt

from retroscope.atlas.database import Row
from retroscope.atlas.pictures import decode_picture, encode_picture
from retroscope.results.values import Layer, Pattern, Picture
from retroscope.unit import Unit

COLUMNS = 12
"""How many the table `patterns` has."""

MISSING = """
    WITH RECURSIVE every (channel) AS (
        SELECT 0 UNION ALL SELECT channel + 1 FROM every WHERE channel + 1 < ?)
    SELECT channel FROM every
    WHERE NOT EXISTS (
        SELECT 1 FROM patterns WHERE layer = ? AND patterns.channel = every.channel
            AND recipe = ? AND seed = ? AND steps = ?)
    ORDER BY channel"""
"""The channels of a layer, of so many, that have no pattern of this recipe, seed and steps."""

OF_CHANNEL = (
    "SELECT channel, recipe, seed, steps, activation, score, started_at, blob, opacity, note, "
    "caveat FROM patterns WHERE layer = ? AND channel = ? ORDER BY recipe <> 'olah', recipe"
)
OF_LAYER = OF_CHANNEL.replace("AND channel = ?", "AND recipe = ?").partition(" ORDER")[0] + (
    " ORDER BY channel"
)


def pattern_row(layer: int, pattern: Pattern) -> Row:
    """A pattern of a channel. SQLite keeps NULL for a number that is none."""
    unit, opacity = pattern.unit, pattern.opacity
    assert unit is not None
    blob = None if opacity is None else encode_picture(_as_picture(opacity))
    numbers = (pattern.activation, pattern.score, pattern.started_at)
    return (
        *(layer, unit.channel, pattern.recipe, pattern.seed, pattern.steps, *numbers),
        *(encode_picture(pattern.picture), blob),
        *("\n".join(pattern.notes), "\n".join(pattern.caveats)),
    )


def pattern_of(layer: Layer, row: Row) -> Pattern:
    """The pattern that a row in the order of `OF_CHANNEL` keeps."""
    channel, recipe, seed, steps, activation, score, started, blob, opacity, note, caveat = row
    unit = Unit(layer.name, channel)
    return Pattern(
        picture=decode_picture(blob),
        objective=str(unit),
        activation=_number(activation),
        recipe=recipe,
        seed=seed,
        steps=steps,
        score=_number(score),
        started_at=_number(started),
        unit=unit,
        opacity=None if opacity is None else _as_opacity(opacity),
        notes=tuple(filter(None, note.split("\n"))),
        caveats=tuple(filter(None, caveat.split("\n"))),
    )


def _as_picture(opacity: npt.NDArray[np.float32]) -> Picture:
    grey = np.rint(np.clip(opacity, 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _as_opacity(blob: bytes) -> npt.NDArray[np.float32]:
    return (decode_picture(blob)[..., 0] / 255).astype(np.float32)


def _number(stored: float | None) -> float:
    return float("nan") if stored is None else stored
