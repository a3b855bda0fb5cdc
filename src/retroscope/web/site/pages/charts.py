"""Histograms as numbers to draw: of the maxima of a channel, of a value over channels."""

from collections.abc import Iterable

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
    caption = histogram_caption(stats.histogram)
    ticks = zip(_POWERS_OF_TEN.tolist(), (positions / len(visible)).tolist(), strict=True)
    return {
        "counts": visible.tolist(),
        "edges": HISTOGRAM_EDGES[first : last + 1].tolist(),
        "heights": (visible / max(visible.max(initial=0), 1)).tolist(),
        "ticks": [{"value": value, "at": at} for value, at in ticks if 0 <= at <= 1],
        "below": int(stats.histogram[0]),
        "caption": caption[0].upper() + caption[1:],
    }


def _visible_span(counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, int]:
    """The bars to draw: all that are not empty, and enough for an axis."""
    filled = np.flatnonzero(counts)
    middle = int(np.searchsorted(HISTOGRAM_EDGES, 1))
    first, last = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (middle, middle)
    missing = max(_MIN_BARS - (last - first), 0)
    first = max(first - (missing + 1) // 2, 0)
    return first, min(max(last, first + _MIN_BARS), len(counts))


_BARS = 24
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def distribution(values: Iterable[float | None], *, chance: float | None = None) -> Facts | None:
    """The distribution of a value over channels, as bars on a linear axis.

    The axis reaches from the lowest value to the highest, or to the level of chance where that is
    beyond. Heights and positions are fractions of the drawing. None without any value.
    """
    known = np.array([value for value in values if value is not None], np.float64)
    if not len(known):
        return None
    ends = [*known, *([] if chance is None else [chance])]
    low, high = float(min(ends)), float(max(ends))
    counts, _ = np.histogram(known, bins=_BARS, range=_axis(low, high))
    quantiles = np.quantile(known, _QUANTILES).tolist()
    return {
        "count": len(known),
        "low": low,
        "high": high,
        "heights": (counts / counts.max()).tolist(),
        "quantiles": [
            {"share": share, "value": value, "at": _position(value, low, high)}
            for share, value in zip(_QUANTILES, quantiles, strict=True)
        ],
        "median": quantiles[_QUANTILES.index(0.5)],
        "chance": None if chance is None else {"value": chance, "at": _position(chance, low, high)},
    }


def _axis(low: float, high: float) -> tuple[float, float]:
    """The ends of an axis; a single value is in its middle."""
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _position(value: float, low: float, high: float) -> float:
    first, last = _axis(low, high)
    return (value - first) / (last - first)


def maxima_marks(bars: Facts | None, hits: Iterable[Facts] = ()) -> list[Facts]:
    """Where the maxima of sampled images are in a histogram of `histogram_bars`.

    Those that are not above the first edge are at its left end.
    """
    if bars is None:
        return []
    places = [(hit, _place_on_bars(hit["score"], bars)) for hit in hits]
    return [{"at": place, "value": hit["score"], "remark": hit["remark"]} for hit, place in places]


def _place_on_bars(value: float, bars: Facts) -> float:
    edges = bars["edges"]
    if value <= edges[0]:
        return 0.0
    places = np.interp(np.log2(value), np.log2(edges), np.arange(len(edges)))
    return float(places) / (len(edges) - 1)
