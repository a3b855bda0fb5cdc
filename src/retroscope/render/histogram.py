"""Histogram of a channel's maximum activation per image, with a bar for each half octave."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from retroscope.render.layout import TIGHT, column
from retroscope.render.text import LABEL, line, line_height, paragraph, text_width
from retroscope.render.theme import HAIRLINE, MUTED, PAPER, Colour
from retroscope.results.statistics import HISTOGRAM_EDGES

Counts = npt.NDArray[np.int64]
"""The number of images in each bin of `HISTOGRAM_EDGES`."""

BAR: Colour = (164, 173, 187)
_HEIGHT = 44
_MIN_BARS = 16
_MAX_BAR_WIDTH = 24
_MIN_BAR_WIDTH = 3
_POWERS = 10.0 ** np.arange(-4, 5)


def draw_histogram(histogram: Counts, *, width: int = 480) -> Image.Image:
    """The number of images by maximum activation, on a logarithmic axis.

    Images at or below the lowest edge, often nearly all, are counted in the caption: as a bar they
    would flatten the others.
    """
    first, count = _visible_bins(histogram)
    bar_width = max(min((width - _label_width()) // count, _MAX_BAR_WIDTH), _MIN_BAR_WIDTH)
    counts = histogram[1:][first : first + count]
    caption = paragraph(histogram_caption(histogram), width=width, size=LABEL)
    return column([_bars(counts, bar_width), _axis(first, count, bar_width), *caption], gap=0)


def histogram_caption(histogram: Counts) -> str:
    """What the bars count, the height of the tallest, and how many images have no bar."""
    tallest, low, total = (
        f"{int(count):,}" for count in (histogram[1:].max(), histogram[0], histogram.sum())
    )
    edge = f"{HISTOGRAM_EDGES[0]:.6f}"
    omitted = f"; {low} of {total} are at or below {edge} (no bar)" if histogram[0] else ""
    return f"images by maximum activation, {tallest} in the tallest bar{omitted}"


def _visible_bins(histogram: Counts) -> tuple[int, int]:
    """The index of the first bar and the number of bars: all non-empty bins, and at least 16."""
    non_empty = np.flatnonzero(histogram[1:])
    if not len(non_empty):
        non_empty = np.searchsorted(HISTOGRAM_EDGES, [1])
    first, last = int(non_empty[0]), int(non_empty[-1])
    missing = max(_MIN_BARS - (last + 1 - first), 0)
    first = max(first - (missing + 1) // 2, 0)
    first = min(first, len(histogram) - 1 - _MIN_BARS)
    return first, max(last + 1 - first, _MIN_BARS)


def _bars(counts: Counts, bar_width: int) -> Image.Image:
    strip = Image.new("RGB", (len(counts) * bar_width, _HEIGHT + 1), PAPER)
    pen = ImageDraw.Draw(strip)
    pen.line((0, _HEIGHT, strip.width, _HEIGHT), fill=HAIRLINE)
    heights = np.ceil(_HEIGHT * counts / max(counts.max(), 1)).astype(int)
    for index, height in enumerate(heights.tolist()):
        if height:
            left, right = index * bar_width, (index + 1) * bar_width - 2
            pen.rectangle((left, _HEIGHT - height, right, _HEIGHT - 1), fill=BAR)
    return strip


def _axis(first: int, count: int, bar_width: int) -> Image.Image:
    """Ticks at the powers of ten. `first` and `count` are those of `_visible_bins`."""
    edges = np.arange(len(HISTOGRAM_EDGES))
    bins = np.interp(np.log2(_POWERS), np.log2(HISTOGRAM_EDGES), edges)
    ticks = (bins - first) * bar_width
    size = count * bar_width + _label_width(), line_height(LABEL) + TIGHT
    axis = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(axis)
    for power, tick in zip(_POWERS.tolist(), np.rint(ticks).astype(int).tolist(), strict=True):
        label = line(f"{power:g}", size=LABEL, colour=MUTED)
        left = tick - label.width // 2
        if left >= 0 and tick <= count * bar_width:
            pen.line((tick, 0, tick, 2), fill=MUTED)
            axis.paste(label, (left, TIGHT))
    return axis


def _label_width() -> int:
    """The space that the last label may need beyond the last bar."""
    return text_width("10000", LABEL)
