"""The histogram of a channel as bars on an axis of equal factors, in shares of the drawing."""

import numpy as np

from retroscope.render.histogram import histogram_words
from retroscope.results.values import HISTOGRAM_EDGES, ChannelStats

_POWERS = 10.0 ** np.arange(-4, 5)
_FEWEST = 16


def histogram_bars(stats: ChannelStats) -> dict[str, object]:
    """Bars from the first that is filled to the last, ticks at powers of ten, and words.

    The images not above the first edge, often nearly all, are in the words alone: as a bar they
    would flatten all others.
    """
    counts = stats.histogram[1:]
    first, last = _span(counts)
    shown = counts[first:last]
    places = np.interp(np.log2(_POWERS), np.log2(HISTOGRAM_EDGES), np.arange(63)) - first
    ticks = zip(_POWERS.tolist(), (places / len(shown)).tolist(), strict=True)
    return {
        "counts": shown.tolist(),
        "edges": HISTOGRAM_EDGES[first : last + 1].tolist(),
        "heights": (shown / max(shown.max(initial=0), 1)).tolist(),
        "ticks": [{"value": value, "at": at} for value, at in ticks if 0 <= at <= 1],
        "not_above": int(stats.histogram[0]),
        "words": histogram_words(stats),
    }


def _span(counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, int]:
    """The bars to draw: all that are filled, and enough for an axis."""
    filled = np.flatnonzero(counts)
    middle = int(np.searchsorted(HISTOGRAM_EDGES, 1))
    first, last = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (middle, middle)
    missing = max(_FEWEST - (last - first), 0)
    first = max(first - (missing + 1) // 2, 0)
    return first, min(max(last, first + _FEWEST), len(counts))
