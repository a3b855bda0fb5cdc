"""The operations of a network, written out slowly in float64: each one forwards and backwards.

One image at a time, (channels, height, width). No autograd, no torch: an operation returns a
`Step`, its value together with its own way back. Zeiler & Fergus 2014, 2.1. Everything here is
linear, or linear once its gates are known; activations and pools have files of their own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rules = Literal["gradient", "deconvnet", "guided"]
Pair = tuple[int, int]
Sides = tuple[Pair, Pair]
"""((top, bottom), (left, right))"""


@dataclass(frozen=True)
class Step:
    """What an operation gave, and how a signal at its value goes back to each of its inputs."""

    value: Array
    back: Callable[[Array, Rules], tuple[Array, ...]]


def plain(value: Array, *adjoints: Callable[[Array], Array]) -> Step:
    """A step that goes back the same way under every rule; one adjoint for each input."""
    return Step(value, lambda signal, _rules: tuple(adjoint(signal) for adjoint in adjoints))


def pair(number: int | Sequence[int]) -> Pair:
    """3 means (3, 3), as everywhere in torch."""
    if isinstance(number, int):
        return number, number
    first, second = number
    return first, second


def sides(padding: int | Pair | Sides) -> Sides:
    """2 and (2, 1) mean the same on both sides of an axis; four numbers stand for themselves."""
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    rows, columns = padding
    return _both(rows), _both(columns)


def _both(side: int | Pair) -> Pair:
    return (side, side) if isinstance(side, int) else side


# Convolution


def correlate(x: Array, weight: Array, *, stride: Pair = (1, 1), dilation: Pair = (1, 1)) -> Array:
    """Filter (I, H, W) with (O, I, kh, kw), valid positions only, one kernel offset at a time."""
    outputs, _, *kernel = weight.shape
    height, width = (
        (x.shape[1 + axis] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        for axis in (0, 1)
    )
    value = np.zeros((outputs, height, width))
    for i, j in np.ndindex(*kernel):
        rows = np.arange(height) * stride[0] + i * dilation[0]
        columns = np.arange(width) * stride[1] + j * dilation[1]
        value += np.einsum("oi,ihw->ohw", weight[:, :, i, j], x[:, rows][:, :, columns])
    return value


def transposed(signal: Array, weight: Array, *, stride: Pair, dilation: Pair, size: Pair) -> Array:
    """The transposed convolution: spread by the stride, then filter with the flipped filters.

    `size` is that of the convolution's (padded) input; rows that no window reached stay zero.
    """
    outputs, height, width = signal.shape
    spread = np.zeros((outputs, (height - 1) * stride[0] + 1, (width - 1) * stride[1] + 1))
    spread[:, :: stride[0], :: stride[1]] = signal
    rows, columns = (dilation[axis] * (weight.shape[2 + axis] - 1) for axis in (0, 1))
    bordered = np.pad(spread, ((0, 0), (rows, rows), (columns, columns)))
    flipped = weight[:, :, ::-1, ::-1].swapaxes(0, 1)
    reached = correlate(bordered, flipped, dilation=dilation)
    result = np.zeros((weight.shape[1], *size))
    result[:, : reached.shape[1], : reached.shape[2]] = reached
    return result


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Pair | Sides = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Step:
    """A convolution; the bias plays its part forwards only."""
    step, gaps = pair(stride), pair(dilation)
    bordered = zero_pad(x, padding)
    size = pair(bordered.value.shape[1:])
    filters = np.split(weight, groups)
    inputs = np.split(bordered.value, groups)
    value = np.concatenate(
        [correlate(i, f, stride=step, dilation=gaps) for i, f in zip(inputs, filters, strict=True)]
    )
    if bias is not None:
        value = value + bias[:, None, None]

    def back(signal: Array, rules: Rules) -> tuple[Array, ...]:
        parts = zip(np.split(signal, groups), filters, strict=True)
        downs = [transposed(s, f, stride=step, dilation=gaps, size=size) for s, f in parts]
        return bordered.back(np.concatenate(downs), rules)

    return Step(value, back)


def zero_pad(x: Array, padding: int | Pair | Sides) -> Step:
    """A border of zeros; on the way back it is cut off."""
    (top, bottom), (left, right) = sides(padding)
    _, height, width = x.shape
    value = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    return plain(value, lambda signal: signal[:, top : top + height, left : left + width])


# Vectors


def linear(x: Array, weight: Array, bias: Array | None = None) -> Step:
    """A fully connected layer on a vector."""
    value = weight @ x if bias is None else weight @ x + bias
    return plain(value, lambda signal: weight.T @ signal)


def reshape(x: Array, shape: tuple[int, ...]) -> Step:
    """The same numbers in another shape."""
    return plain(x.reshape(shape), lambda signal: signal.reshape(x.shape))


def flatten(x: Array) -> Step:
    """The whole image as one vector."""
    return reshape(x, (x.size,))


def identity(x: Array) -> Step:
    """Dropout in evaluation, and nn.Identity."""
    return plain(x, lambda signal: signal)


# Normalisation


def batch_norm(
    x: Array, mean: Array, variance: Array, *, weight: Array, bias: Array, eps: float = 1e-5
) -> Step:
    """Batch normalisation in evaluation: a fixed scale and shift of each channel."""
    scale = (weight / np.sqrt(variance + eps))[:, None, None]
    value = (x - mean[:, None, None]) * scale + bias[:, None, None]
    return plain(value, lambda signal: signal * scale)


def local_response_norm(
    x: Array, size: int, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Step:
    """Each channel divided by the energy of its neighbours; the deconvnet passes it through."""
    channels = range(len(x))
    near = [range(max(0, c - size // 2), min(len(x), c + (size - 1) // 2 + 1)) for c in channels]
    energy = np.stack([k + alpha / size * sum(x[n] ** 2 for n in near[c]) for c in channels])

    def back(signal: Array, rules: Rules) -> tuple[Array, ...]:
        if rules == "deconvnet":
            return (signal,)
        result = signal * energy**-beta
        for c in channels:
            pull = 2 * alpha * beta / size * signal[c] * x[c] * energy[c] ** (-beta - 1)
            for n in near[c]:
                result[n] -= pull * x[n]
        return (result,)

    return Step(x * energy**-beta, back)


# Joining and parting


def add(a: Array, b: Array) -> Step:
    """The sum; a smaller operand is broadcast."""
    return plain(
        a + b, lambda signal: _fold(signal, a.shape), lambda signal: _fold(signal, b.shape)
    )


def multiply(a: Array, b: Array) -> Step:
    """The product, as in a gate; each operand gets the signal times the other."""
    return plain(
        a * b,
        lambda signal: _fold(signal * b, a.shape),
        lambda signal: _fold(signal * a, b.shape),
    )


def _fold(signal: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes along which an operand of this shape was broadcast."""
    assert signal.ndim == len(shape)
    stretched = tuple(axis for axis, length in enumerate(shape) if length != signal.shape[axis])
    folded: Array = signal.sum(axis=stretched, keepdims=True)
    return folded


def concat(*parts: Array) -> Step:
    """The channels of all parts, one part after the other."""
    edges = np.cumsum([0, *(len(part) for part in parts)])

    def back(signal: Array, _rules: Rules) -> tuple[Array, ...]:
        return tuple(signal[start:stop] for start, stop in pairwise(edges))

    return Step(np.concatenate(parts), back)


def channel_slice(x: Array, start: int, stop: int) -> Step:
    """Some channels; the others get no signal on the way back."""

    def back(signal: Array) -> Array:
        result = np.zeros_like(x)
        result[start:stop] = signal
        return result

    return plain(x[start:stop], back)


def channel_shuffle(x: Array, groups: int) -> Step:
    """Output channel i * groups + g is the i-th channel of group g (ShuffleNet)."""
    length = len(x) // groups
    order = [g * length + i for i in range(length) for g in range(groups)]

    def back(signal: Array) -> Array:
        result = np.zeros_like(x)
        result[order] = signal
        return result

    return plain(x[order], back)
