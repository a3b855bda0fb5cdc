"""Pools: every window is a list of the rows and columns that it reads."""

import math
from collections.abc import Sequence

import numpy as np

from tests.reference.operations import Array, Step, pair, plain


def _windows(
    size: int, kernel: int, *, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> list[list[int]]:
    """The positions that each window of one axis touches, also those outside the image."""
    steps = (size + 2 * padding - dilation * (kernel - 1) - 1) / stride
    count = (math.ceil(steps) if ceil_mode else math.floor(steps)) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1  # torch: the last window must start inside the image or the padding before it
    starts = [index * stride - padding for index in range(count)]
    return [[start + tap * dilation for tap in range(kernel)] for start in starts]


def _within(window: list[int], low: int, high: int) -> list[int]:
    return [position for position in window if low <= position < high]


def max_pool(
    x: Array,
    kernel: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Step:
    """The strongest of each window; its place, the first in reading order, is the switch.

    The way back is unpooling: each signal goes to its switch, and signals that meet add up.
    """
    channels, height, width = x.shape
    rows, columns = (
        _windows(size, k, stride=s, padding=p, dilation=d, ceil_mode=ceil_mode)
        for size, k, s, p, d in zip(
            (height, width),
            pair(kernel),
            pair(kernel if stride is None else stride),
            pair(padding),
            pair(dilation),
            strict=True,
        )
    )
    value = np.zeros((channels, len(rows), len(columns)))
    switches = {}
    for c, i, j in np.ndindex(value.shape):
        places = [
            (c, row, column)
            for row in _within(rows[i], 0, height)
            for column in _within(columns[j], 0, width)
        ]
        switches[c, i, j] = max(places, key=lambda place: x[place])  # max() keeps the first
        value[c, i, j] = x[switches[c, i, j]]

    def unpool(signal: Array) -> Array:
        result = np.zeros_like(x)
        for place, switch in switches.items():
            result[switch] += signal[place]
        return result

    return plain(value, unpool)


def avg_pool(
    x: Array,
    kernel: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Step:
    """The sum of each window over its size.

    The size counts what lies in the image, with `count_include_pad` also the padding, but never
    what a ceil-mode window reaches beyond the padding; a `divisor` replaces it.
    """
    weights = []
    for size, k, s, p in zip(
        x.shape[1:],
        pair(kernel),
        pair(kernel if stride is None else stride),
        pair(padding),
        strict=True,
    ):
        windows = _windows(size, k, stride=s, padding=p, dilation=1, ceil_mode=ceil_mode)
        border = p if count_include_pad else 0
        sizes = [len(_within(window, -border, size + border)) for window in windows]
        inside = [_within(window, 0, size) for window in windows]
        weights.append(_membership(inside, size, sizes if divisor is None else [1] * len(sizes)))
    return _weighted(x, weights[0], weights[1] / (divisor or 1))


def adaptive_avg_pool(x: Array, size: int | Sequence[int]) -> Step:
    """The mean of `size` bins that cover the image, overlapping where they do not divide it."""
    weights = []
    for length, count in zip(x.shape[1:], pair(size), strict=True):
        bins = [
            list(range(i * length // count, math.ceil((i + 1) * length / count)))
            for i in range(count)
        ]
        weights.append(_membership(bins, length, [len(window) for window in bins]))
    return _weighted(x, weights[0], weights[1])


def global_mean(x: Array, *, keepdims: bool = False) -> Step:
    """One number per channel."""
    _, height, width = x.shape
    value = x.sum(axis=(1, 2), keepdims=keepdims) / (height * width)
    return plain(
        value, lambda signal: np.ones_like(x) * signal.reshape(-1, 1, 1) / (height * width)
    )


def _membership(windows: list[list[int]], size: int, divisors: list[int]) -> Array:
    """A matrix (windows, positions) of how much each position weighs in each window."""
    matrix = np.zeros((len(windows), size))
    for index, (window, divisor) in enumerate(zip(windows, divisors, strict=True)):
        matrix[index, window] = 1 / divisor
    return matrix


def _weighted(x: Array, rows: Array, columns: Array) -> Step:
    value = np.einsum("ih,chw,jw->cij", rows, x, columns)
    return plain(value, lambda signal: np.einsum("ih,cij,jw->chw", rows, signal, columns))
