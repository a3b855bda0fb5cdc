"""A vector as bars from a common zero, in bands that share one scale."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from retroscope.render.layout import column
from retroscope.render.text import LABEL, height_of, line, width_of
from retroscope.render.theme import ALARM, COOL, HAIRLINE, MUTED, PAPER, WARM
from retroscope.render.tone import finite
from retroscope.results.values import Pixels

BAND_LENGTH = 512
"""Bars in one band at most."""
_WIDTH = 1024
_WIDEST_BAR = 36
_HEIGHT = 80
_BETWEEN_LABELS = 34


def bars(values: Pixels) -> Image.Image:
    """A bar for each channel, warm above zero and cool below; not finite is a line of alarm."""
    each = min(_WIDTH // min(len(values), BAND_LENGTH), _WIDEST_BAR)
    limits = (min(finite(values).min(), 0.0), max(finite(values).max(), 0.0))
    starts = range(0, len(values), BAND_LENGTH)
    bands = [
        column(
            [
                _band(values[start : start + BAND_LENGTH], each, limits),
                _axis(range(start, min(start + BAND_LENGTH, len(values))), each),
            ],
            gap=0,
        )
        for start in starts
    ]
    return column(bands)


def _band(values: Pixels, each: int, limits: tuple[float, float]) -> Image.Image:
    low, high = limits
    per_unit = (_HEIGHT - 1) / ((high - low) or 1)
    zero = round(high * per_unit)
    band = Image.new("RGB", (len(values) * each, _HEIGHT), PAPER)
    pen = ImageDraw.Draw(band)
    pen.line((0, zero, band.width, zero), fill=HAIRLINE)
    for n, value in enumerate(values):
        left, right = n * each, (n + 1) * each - 1 - (each > 3)
        if not np.isfinite(value):
            pen.rectangle((left, 0, right, _HEIGHT), fill=ALARM)
        elif value:
            ends = sorted((zero, zero - round(float(value) * per_unit)))
            pen.rectangle((left, ends[0], right, ends[1]), fill=WARM if value > 0 else COOL)
    return band


def _axis(channels: Sequence[int], each: int) -> Image.Image:
    """Channel numbers below their bars, as many as have room."""
    step = next(
        size for size in (1, 2, 4, 8, 16, 32, 64) if size * each >= _BETWEEN_LABELS or size == 64
    )
    numbered = channels[::step]
    ends = (numbered[-1] - channels[0]) * each + width_of(str(numbered[-1]), LABEL)
    axis = Image.new("RGB", (max(len(channels) * each, ends), height_of(LABEL) + 4), PAPER)
    pen = ImageDraw.Draw(axis)
    for channel in numbered:
        left = (channel - channels[0]) * each
        pen.line((left, 1, left, 4), fill=MUTED)
        axis.paste(line(str(channel), size=LABEL, colour=MUTED), (left, 4))
    return axis
