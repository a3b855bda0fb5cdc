"""A vector as a bar chart, wrapped into bands that share one scale."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from retroscope.render.layout import column
from retroscope.render.text import LABEL, line, line_height, text_width
from retroscope.render.theme import ALARM, COOL, HAIRLINE, MUTED, PAPER, WARM
from retroscope.render.tone import zero_non_finite
from retroscope.results.projections import Pixels

BAND_LENGTH = 512
"""Maximum number of bars in a band."""
_WIDTH = 1024
_MAX_BAR_WIDTH = 36
_HEIGHT = 80
_MIN_LABEL_STEP = 34


def draw_bars(values: Pixels) -> Image.Image:
    """A bar for each channel: red above zero, blue below, and full height if not finite."""
    bar_width = min(_WIDTH // min(len(values), BAND_LENGTH), _MAX_BAR_WIDTH)
    finite_values = zero_non_finite(values)
    limits = (min(finite_values.min(), 0.0), max(finite_values.max(), 0.0))
    starts = range(0, len(values), BAND_LENGTH)
    bands = [
        column(
            [
                _band(values[start : start + BAND_LENGTH], bar_width, limits),
                _axis(range(start, min(start + BAND_LENGTH, len(values))), bar_width),
            ],
            gap=0,
        )
        for start in starts
    ]
    return column(bands)


def _band(values: Pixels, bar_width: int, limits: tuple[float, float]) -> Image.Image:
    low, high = limits
    per_unit = (_HEIGHT - 1) / ((high - low) or 1)
    zero = round(high * per_unit)
    band = Image.new("RGB", (len(values) * bar_width, _HEIGHT), PAPER)
    pen = ImageDraw.Draw(band)
    pen.line((0, zero, band.width, zero), fill=HAIRLINE)
    for index, value in enumerate(values):
        left, right = index * bar_width, (index + 1) * bar_width - 1 - (bar_width > 3)
        if not np.isfinite(value):
            pen.rectangle((left, 0, right, _HEIGHT), fill=ALARM)
        elif value:
            ends = sorted((zero, zero - round(float(value) * per_unit)))
            pen.rectangle((left, ends[0], right, ends[1]), fill=WARM if value > 0 else COOL)
    return band


def _axis(channels: Sequence[int], bar_width: int) -> Image.Image:
    """Channel numbers below their bars, as many as fit."""
    steps = (1, 2, 4, 8, 16, 32)
    step = next((step for step in steps if step * bar_width >= _MIN_LABEL_STEP), 64)
    labelled = channels[::step]
    last = labelled[-1]
    right = (last - channels[0]) * bar_width + text_width(str(last), LABEL)
    axis = Image.new("RGB", (max(len(channels) * bar_width, right), line_height(LABEL) + 4), PAPER)
    pen = ImageDraw.Draw(axis)
    for channel in labelled:
        left = (channel - channels[0]) * bar_width
        pen.line((left, 1, left, 4), fill=MUTED)
        axis.paste(line(str(channel), size=LABEL, colour=MUTED), (left, 4))
    return axis
