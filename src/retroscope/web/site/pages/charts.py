"""The drawings of the pages as numbers: the diagram of a network and the histogram of a channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

from retroscope.imaging.decoding import Size
from retroscope.render.histogram import histogram_caption
from retroscope.results.layers import Layer
from retroscope.results.statistics import HISTOGRAM_EDGES, ChannelStats
from retroscope.web.site.site import Facts

_MIN_WIDTH, _MIN_HEIGHT, _HEIGHT_RANGE = 6, 8, 96
_MAX_NAMED_LAYERS, _MAX_NAME = 12, 14
_POWERS_OF_TEN = 10.0 ** np.arange(-4, 5)
_MIN_BARS = 16


@dataclass(frozen=True)
class _Spacing:
    """The gap between blocks, the width of the widest block, and the side of the frames below."""

    gap: int
    max_width: int
    frame: int


_NARROW, _WIDE = _Spacing(12, 40, 26), _Spacing(22, 68, 40)


def network_diagram(layers: Sequence[Layer], input_size: Size, hrefs: Sequence[str]) -> Facts:
    """A block for each layer in running order, in pixels of the drawing::

          ____
         |    |   ______     height: square root of the side of the maps
         |    |  |      |    width:  logarithm of the number of channels
         |____|  |______|
          [. ]    [::]       frame:  the input; filled: the receptive field, to scale

    The square root keeps both ends of a network visible. Up to twelve layers are named; more are
    numbered.
    """
    is_named = len(layers) <= _MAX_NAMED_LAYERS and all(
        len(layer.name) <= _MAX_NAME for layer in layers
    )
    spacing = _WIDE if is_named else _NARROW
    max_log = max((log2(layer.channels + 1) for layer in layers), default=1)
    max_side = max((max(layer.size) for layer in layers), default=1)
    blocks: list[Facts] = []
    x = float(spacing.gap)
    for layer, href in zip(layers, hrefs, strict=True):
        width = _MIN_WIDTH + (spacing.max_width - _MIN_WIDTH) * log2(layer.channels + 1) / max_log
        slot = spacing.max_width if is_named else max(width, spacing.frame)
        height = _MIN_HEIGHT + _HEIGHT_RANGE * (max(layer.size) / max_side) ** 0.5
        blocks.append(
            {
                **_block_text(layer),
                "href": href,
                "number": len(blocks) + 1,
                "x": round(x + (slot - width) / 2, 2),
                "width": round(width, 2),
                "height": round(height, 2),
                "field": _scale_field(layer, input_size, spacing.frame),
            }
        )
        x += slot + spacing.gap
    return {"width": round(x), "frame": spacing.frame, "named": is_named, "blocks": blocks}


def _block_text(layer: Layer) -> Facts:
    height, width = layer.size
    field = layer.field
    sees = "the whole image" if field.whole else f"{field.y.size}x{field.x.size} px"
    maps = f"{layer.channels} channels of {height}x{width}"
    return {
        "name": layer.name,
        "kind": layer.kind,
        "channels": layer.channels,
        "size": list(layer.size),
        "label": f"{layer.name}: {layer.kind}, {maps}, sees {sees}",
    }


def _scale_field(layer: Layer, input_size: Size, frame: int) -> list[float]:
    """Height and width of the field in its frame, large enough to see."""
    if layer.field.whole:
        return [frame, frame]
    sizes = zip((layer.field.y.size, layer.field.x.size), input_size, strict=True)
    return [round(max(min(size / side, 1) * frame, 2), 2) for size, side in sizes]


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
