"""The activations of a layer: a tile for each map, bars for a vector, a matrix for tokens."""

from collections import Counter

import numpy as np
from PIL import Image

from retroscope.geometry import IMAGE_RANK, format_size
from retroscope.render.bars import draw_bars
from retroscope.render.captions import join_facts
from retroscope.render.layout import TIGHT, column, enlarge, enlargement_factor, page, row
from retroscope.render.panels import heading_block, notes_block
from retroscope.render.slices import lay_out, strength_of_slices
from retroscope.render.text import LABEL, line, line_height
from retroscope.render.theme import DIVERGING, MUTED, SEQUENTIAL, interpolate_ramp
from retroscope.render.tiles import CONDITION_MARKS, map_condition, paint_map, tile_grid
from retroscope.render.tone import has_negatives, zero_non_finite
from retroscope.results.projections import Activations, Pixels

_MIN_WIDTH = 480
_BAND_LENGTH = 1024
_MAX_BAND_FACTOR = 8
_KEY_WIDTH = 120
_MATRIX_CAPTION = "one column per channel, one row per position"


def draw_activations(
    activations: Activations, *, columns: int = 16, scale: int | None = None
) -> Image.Image:
    """All maps of a layer, each numbered and scaled by its own maximum.

    A dead map (all zero) is crossed out, a constant map hatched, and a map with a non-finite value
    underlined. A vector is drawn as bars on one scale, the tokens of a transformer as a matrix.
    """
    maps, strongest = _shown_maps(activations.maps)
    if maps.shape[1:] == (1, 1):
        facts = [_strongest_channels(activations), _vector_facts(maps)]
        body = [draw_bars(maps[:, 0, 0])]
    elif 1 in maps.shape[1:]:
        facts = [_MATRIX_CAPTION, _map_facts(maps, marks="")]
        body = [_scale_key(maps), _matrix(maps, scale)]
    else:
        facts = [_map_facts(maps)]
        body = [_scale_key(maps), tile_grid(maps, columns=columns, scale=scale)]
    width = max(_MIN_WIDTH, *(block.width for block in body))
    heading = heading_block(
        activations.layer.name, [_layer_facts(activations), strongest, *facts], width=width
    )
    return page([heading, *body, *notes_block(activations.notes, width=width)])


def _layer_facts(activations: Activations) -> str:
    channels, *size = activations.maps.shape
    kind, source = activations.layer.kind, activations.source
    return join_facts(kind, f"{channels} channels", format_size(size), source)


def _shown_maps(maps: Pixels) -> tuple[Pixels, str]:
    """The maps as images (channels, height, width), and which slice they are of a volume: that with
    the strongest maximum. Those of a signal are repeated over some rows.
    """
    rank = maps.ndim - 1
    if max(maps.shape[1:]) == 1:
        return maps.reshape(len(maps), 1, 1), ""
    if rank == IMAGE_RANK:
        return maps, ""
    if rank < IMAGE_RANK:
        return np.moveaxis(lay_out(maps.T, rank), 2, 0), ""
    number = int(strength_of_slices(np.moveaxis(maps, 1, 0)).argmax())
    return maps[:, number], f"slice z {number} of 0 to {maps.shape[1] - 1}, the strongest"


_CONDITION_WORDS = {"dead": "silent here"}
"""A channel is dead if it fires in no image at all; these maps are of a single image."""


def _map_facts(maps: Pixels, *, marks: str = " ({})") -> str:
    counts = Counter(map_condition(values) for values in maps)
    return ", ".join(
        f"{counts[name]} {_CONDITION_WORDS.get(name, name)}{marks.format(mark)}"
        for name, mark in CONDITION_MARKS.items()
        if counts[name]
    )


def _vector_facts(maps: Pixels) -> str:
    finite_values = zero_non_finite(maps)
    low, high = finite_values.min(), finite_values.max()
    counts = {
        "below zero": int((finite_values < 0).sum()),
        "zero": int((maps == 0).sum()),
        "not finite (full bar)": int((~np.isfinite(maps)).sum()),
    }
    count_texts = [f"{count} {name}" for name, count in counts.items() if count]
    return ", ".join([f"from {low:.4g} to {high:.4g}", *count_texts])


def _strongest_channels(activations: Activations) -> str:
    channels = [unit.channel for unit in activations.strongest(5)]
    values = activations.maps.reshape(len(activations.maps))
    return "strongest: " + ", ".join(f"{channel} ({values[channel]:.4g})" for channel in channels)


def _scale_key(maps: Pixels) -> Image.Image:
    """The colour scale with its two ends."""
    signed = has_negatives(maps)
    ramp = interpolate_ramp(np.linspace(0, 1, _KEY_WIDTH), DIVERGING if signed else SEQUENTIAL)
    bar = Image.fromarray(np.tile(ramp, (line_height(LABEL) - 3, 1, 1)))
    low, high = ("-max", "max of each map, grey is 0") if signed else ("0", "max of each map")
    low_label, high_label = (line(text, size=LABEL, colour=MUTED) for text in (low, high))
    return row([low_label, bar, high_label], gap=2 * TIGHT)


def _matrix(maps: Pixels, scale: int | None) -> Image.Image:
    """A column for each channel, scaled by its own maximum, wrapped into bands."""
    flat = maps.reshape(len(maps), -1)
    limits = np.abs(zero_non_finite(flat)).max(axis=1, keepdims=True)
    shares = (flat / np.where(limits, limits, 1)).astype(np.float32)
    pixels = paint_map(shares.T, signed=has_negatives(maps))
    factor = enlargement_factor(*pixels.shape[:2], visible=_BAND_LENGTH, scale=scale)
    bands = []
    for start in range(0, len(maps), _BAND_LENGTH):
        band = pixels[:, start : start + _BAND_LENGTH]
        tile = enlarge(band, min(factor, _MAX_BAND_FACTOR))
        bands.append(column([tile, _band_label(start, len(maps))]))
    return column(bands)


def _band_label(start: int, channels: int) -> Image.Image:
    last = min(start + _BAND_LENGTH, channels) - 1
    return line(f"channels {start} to {last}", size=LABEL, colour=MUTED)
