"""The histogram of a channel as numbers to draw."""

import numpy as np

from retroscope.render.histogram import histogram_caption
from retroscope.results.statistics import HISTOGRAM_EDGES, ChannelStats
from retroscope.web.site.site import Facts

_POWERS_OF_TEN = 10.0 ** np.arange(-4, 5)
_MIN_BARS = 16


def histogram_bars(stats: ChannelStats) -> Facts | None:
    """A histogram as bars on a logarithmic axis, heights and positions as fractions of the drawing.

    Images not above the first edge, often nearly all, are only in the caption: their bar would
    flatten all others. None if the atlas has no histogram.
    """
    if stats.histogram is None:
        return None
    counts = stats.histogram[1:]
    first, last = _visible_span(counts)
    visible = counts[first:last]
    positions = np.interp(np.log2(_POWERS_OF_TEN), np.log2(HISTOGRAM_EDGES), np.arange(63)) - first
    ticks = zip(_POWERS_OF_TEN.tolist(), (positions / len(visible)).tolist(), strict=True)
    return {
        "counts": visible.tolist(),
        "edges": HISTOGRAM_EDGES[first : last + 1].tolist(),
        "heights": (visible / max(visible.max(initial=0), 1)).tolist(),
        "ticks": [{"value": value, "at": at} for value, at in ticks if 0 <= at <= 1],
        "below": int(stats.histogram[0]),
        "caption": histogram_caption(stats.histogram),
    }


def _visible_span(counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, int]:
    """The bars to draw: all that are not empty, and enough for an axis."""
    filled = np.flatnonzero(counts)
    middle = int(np.searchsorted(HISTOGRAM_EDGES, 1))
    first, last = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (middle, middle)
    missing = max(_MIN_BARS - (last - first), 0)
    first = max(first - (missing + 1) // 2, 0)
    return first, min(max(last, first + _MIN_BARS), len(counts))
