"""The activations of a layer: a tile for each map, bars for a vector, a matrix for tokens."""

from collections import Counter

import numpy as np
from PIL import Image

from retroscope.render.bars import bars
from retroscope.render.layout import TIGHT, column, enlarged, factor_for, page, row
from retroscope.render.text import HEADING, LABEL, height_of, line, paragraph
from retroscope.render.theme import DIVERGING, MUTED, SEQUENTIAL, mixed
from retroscope.render.tiles import SAID, condition, painted, tiles
from retroscope.render.tone import finite, has_negatives
from retroscope.results.values import Activations, Pixels

_LEAST_WIDTH = 480
_BAND_LENGTH = 1024
_BAND_FACTOR = 8
_KEY_WIDTH = 120
_MATRIX = "one column for each channel, one row for each position"


def draw_activations(
    activations: Activations, *, columns: int = 16, scale: int | None = None
) -> Image.Image:
    """All maps of a layer, each numbered and scaled by its own largest value.

    A dead map, all zero, is crossed out; a constant one is hatched; one with a value that is
    not finite is underlined. A vector is drawn as bars on one scale, tokens as a matrix.
    """
    maps = activations.maps
    if maps.shape[1:] == (1, 1):
        facts, body = [_strongest(activations), _vector_facts(maps)], [bars(maps[:, 0, 0])]
    elif 1 in maps.shape[1:]:
        facts, body = [_MATRIX, _map_facts(maps, marks="")], [_key(maps), _matrix(maps, scale)]
    else:
        shown = tiles(maps, columns=columns, scale=scale)
        facts, body = [_map_facts(maps)], [_key(maps), shown]
    width = max(_LEAST_WIDTH, *(block.width for block in body))
    return page([_heading(activations, facts, width), *body])


def _heading(activations: Activations, facts: list[str], width: int) -> Image.Image:
    layer, (channels, height, across) = activations.layer, activations.maps.shape
    size = f"{height}x{across}"
    known = " · ".join(filter(None, [layer.kind, f"{channels} channels", size, activations.source]))
    texts = [block for text in (known, *facts) for block in paragraph(text, width=width)]
    return column([line(layer.name, width=width, size=HEADING), *texts], gap=TIGHT)


_IN_WORDS = {"dead": "silent here"}
"""Dead is what fires in no picture at all, and this is only one."""


def _map_facts(maps: Pixels, *, marks: str = " ({})") -> str:
    found = Counter(condition(values) for values in maps)
    return ", ".join(
        f"{found[name]} {_IN_WORDS.get(name, name)}{marks.format(how)}"
        for name, how in SAID.items()
        if found[name]
    )


def _vector_facts(maps: Pixels) -> str:
    low, high = finite(maps).min(), finite(maps).max()
    counts = {
        "below zero": int((finite(maps) < 0).sum()),
        "zero": int((maps == 0).sum()),
        "not finite (full bar)": int((~np.isfinite(maps)).sum()),
    }
    said = [f"{count} {name}" for name, count in counts.items() if count]
    return ", ".join([f"from {low:.4g} to {high:.4g}", *said])


def _strongest(activations: Activations) -> str:
    channels = [unit.channel for unit in activations.strongest(5)]
    values = activations.maps[:, 0, 0]
    return "strongest: " + ", ".join(f"{channel} ({values[channel]:.4g})" for channel in channels)


def _key(maps: Pixels) -> Image.Image:
    """The scale of colours, with its two ends."""
    signed = has_negatives(maps)
    ramp = mixed(np.linspace(0, 1, _KEY_WIDTH), DIVERGING if signed else SEQUENTIAL)
    bar = Image.fromarray(np.tile(ramp, (height_of(LABEL) - 3, 1, 1)))
    low, high = ("-max", "max of each map, grey is 0") if signed else ("0", "max of each map")
    ends = [line(text, size=LABEL, colour=MUTED) for text in (low, high)]
    return row([ends[0], bar, ends[1]], gap=2 * TIGHT)


def _matrix(maps: Pixels, scale: int | None) -> Image.Image:
    """A column for each channel, scaled by its own largest value, in bands that fit the page."""
    flat = maps.reshape(len(maps), -1)
    limits = np.abs(finite(flat)).max(axis=1, keepdims=True)
    shares = (flat / np.where(limits, limits, 1)).astype(np.float32)
    picture = painted(shares.T, signed=has_negatives(maps))
    factor = min(factor_for(*picture.shape[:2], visible=_BAND_LENGTH, scale=scale), _BAND_FACTOR)
    bands = [
        column(
            [enlarged(picture[:, start : start + _BAND_LENGTH], factor), _span(start, len(maps))]
        )
        for start in range(0, len(maps), _BAND_LENGTH)
    ]
    return column(bands)


def _span(start: int, channels: int) -> Image.Image:
    last = min(start + _BAND_LENGTH, channels) - 1
    return line(f"channels {start} to {last}", size=LABEL, colour=MUTED)
