"""How strongly pictures excite a channel: a bar for each half octave of their maxima."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from retroscope.render.layout import TIGHT, column
from retroscope.render.text import LABEL, height_of, line, paragraph, width_of
from retroscope.render.theme import HAIRLINE, MUTED, PAPER, Colour
from retroscope.results.values import HISTOGRAM_EDGES, ChannelStats

BAR: Colour = (164, 173, 187)
_HEIGHT = 44
_FEWEST_BARS = 16
_WIDEST_BAR = 24
_NARROWEST_BAR = 3
_POWERS = 10.0 ** np.arange(-4, 5)


def draw_histogram(stats: ChannelStats, *, width: int = 480) -> Image.Image:
    """The images by their largest value, on an axis of equal factors.

    Those not above the first edge, often nearly all, are said in words: as a bar they would
    flatten all others.
    """
    first, count = _shown(stats.histogram)
    each = max(min((width - _label_room()) // count, _WIDEST_BAR), _NARROWEST_BAR)
    counts = stats.histogram[1:][first : first + count]
    words = paragraph(histogram_words(stats), width=width, size=LABEL)
    return column([_bars(counts, each), _axis(first, count, each), *words], gap=0)


def histogram_words(stats: ChannelStats) -> str:
    """What the bars are, how high the highest is, and which images have none."""
    counts, edge = stats.histogram, f"{HISTOGRAM_EDGES[0]:.6f}"
    highest, low, total = (f"{int(n):,}" for n in (counts[1:].max(), counts[0], counts.sum()))
    left_out = f"; {low} of {total} are not above {edge} and have no bar" if counts[0] else ""
    return f"images by their largest value, {highest} in the highest bar{left_out}"


def _shown(histogram: npt.NDArray[np.int64]) -> tuple[int, int]:
    """The first bar to draw and how many: all that are not empty, and enough for an axis."""
    filled = np.flatnonzero(histogram[1:])
    if not len(filled):
        filled = np.searchsorted(HISTOGRAM_EDGES, [1])
    first, last = int(filled[0]), int(filled[-1])
    missing = max(_FEWEST_BARS - (last + 1 - first), 0)
    first = max(first - (missing + 1) // 2, 0)
    first = min(first, len(histogram) - 1 - _FEWEST_BARS)
    return first, max(last + 1 - first, _FEWEST_BARS)


def _bars(counts: npt.NDArray[np.int64], each: int) -> Image.Image:
    strip = Image.new("RGB", (len(counts) * each, _HEIGHT + 1), PAPER)
    pen = ImageDraw.Draw(strip)
    pen.line((0, _HEIGHT, strip.width, _HEIGHT), fill=HAIRLINE)
    heights = np.ceil(_HEIGHT * counts / max(counts.max(), 1)).astype(int)
    for n, height in enumerate(heights.tolist()):
        if height:
            pen.rectangle((n * each, _HEIGHT - height, (n + 1) * each - 2, _HEIGHT - 1), fill=BAR)
    return strip


def _axis(first: int, count: int, each: int) -> Image.Image:
    """The powers of ten at their places."""
    places = (np.interp(np.log2(_POWERS), np.log2(HISTOGRAM_EDGES), np.arange(63)) - first) * each
    size = count * each + _label_room(), height_of(LABEL) + TIGHT
    axis = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(axis)
    for power, place in zip(_POWERS.tolist(), np.rint(places).astype(int).tolist(), strict=True):
        label = line(f"{power:g}", size=LABEL, colour=MUTED)
        left = place - label.width // 2
        if left >= 0 and place <= count * each:
            pen.line((place, 0, place, 2), fill=MUTED)
            axis.paste(label, (left, TIGHT))
    return axis


def _label_room() -> int:
    """What the last label may need beyond the last bar."""
    return width_of("10000", LABEL)
