"""The way back through a convolution, computed where the signal is not zero.

The signal of one unit of a deep layer starts at one position and widens on its way down. A
convolution whose output has 14 x 14 positions gets a signal at 3 x 3 of them:

```
. . . . . .        . . . . . .
. . . . . .        . x x x x .
. . x x . .  --->  . x x x x .    of the output's positions those in the box are read,
. . x x . .        . x x x x .    of the input's those that they see are written
. . . . . .        . x x x x .
```
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

_WORTH_CUTTING = 0.75
"""A box that is at most this share of the map is cut out of it."""


@dataclass(frozen=True)
class SignalBox:
    """The rows and columns of a map between which a signal is not zero."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def of(cls, signal: torch.Tensor) -> "SignalBox":
        """Of a signal (images, channels, height, width); all of them together."""
        is_lit = signal.abs().amax((0, 1)) != 0  # also where it is not a number
        rows, columns = is_lit.any(1).nonzero(), is_lit.any(0).nonzero()
        if len(rows) == 0:
            return cls(0, 0, 0, 0)
        (top, bottom), (left, right) = (
            (int(numbers[0]), int(numbers[-1]) + 1) for numbers in (rows, columns)
        )
        return cls(top, bottom, left, right)

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def is_worth_cutting(self, maps: torch.Tensor) -> bool:
        """Whether it is so much smaller than the maps that the part costs less than the whole."""
        return self.area <= _WORTH_CUTTING * maps.shape[-2] * maps.shape[-1]

    def move(self, y: int, x: int) -> "SignalBox":
        return SignalBox(self.top + y, self.bottom + y, self.left + x, self.right + x)

    def clip(self, height: int, width: int) -> "SignalBox":
        """The part of it that lies in a map; empty at the border if there is none."""
        top, bottom = (min(max(y, 0), height) for y in (self.top, self.bottom))
        left, right = (min(max(x, 0), width) for x in (self.left, self.right))
        return SignalBox(top, bottom, left, right)

    def cut(self, maps: torch.Tensor) -> torch.Tensor:
        return maps[..., self.top : self.bottom, self.left : self.right]


def cut(maps: torch.Tensor, box: SignalBox | None) -> torch.Tensor:
    """The part of the maps in a box, if there is one."""
    return maps if box is None else box.cut(maps)


@dataclass(frozen=True)
class _Axis:
    """Rows or columns of a convolution."""

    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def reach(self) -> int:
        """How many inputs lie from the first to the last that one output reads."""
        return self.dilation * (self.kernel - 1) + 1

    def read_count(self, outputs: int) -> int:
        """How many inputs lie from the first to the last that neighbouring outputs read."""
        return (outputs - 1) * self.stride + self.reach


Pair = int | Sequence[int]


@dataclass(frozen=True)
class ConvolutionWindow:
    """How the window of a two-dimensional convolution slides."""

    y: _Axis
    x: _Axis
    groups: int

    @classmethod
    def of(
        cls,
        weight: torch.Tensor,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> "ConvolutionWindow | None":
        """From the arguments of `conv2d`; None if `same` pads two borders differently."""
        kernel = tuple(weight.shape[2:])
        dilations = _pair(dilation)
        if padding == "valid":
            padding = 0
        elif padding == "same":
            totals = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
            if any(total % 2 for total in totals):
                return None
            padding = [total // 2 for total in totals]
        assert not isinstance(padding, str)
        y, x = map(_Axis, kernel, _pair(stride), _pair(padding), dilations)
        return cls(y, x, groups)


def _pair(numbers: Pair) -> tuple[int, int]:
    """Both axes; `conv2d` takes one number, or a sequence of one, for both."""
    first, *rest = (numbers,) if isinstance(numbers, int) else numbers
    return first, rest[0] if rest else first


class Transposed(Protocol):
    """From a signal at the outputs of a linear map, multiplied by a factor, to its inputs.

    The signal is zero outside of the box, if there is one.
    """

    def __call__(
        self, factor: torch.Tensor | None, signal: torch.Tensor, box: SignalBox | None, /
    ) -> torch.Tensor: ...


class TransposedConvolution:
    """W^T of a two-dimensional convolution, for inputs like `source`."""

    def __init__(
        self, weight: torch.Tensor, source: torch.Tensor, window: ConvolutionWindow
    ) -> None:
        self._source, self._window = source, window
        self._weight = _fill_up_channels(weight, window)
        self._matrix = _pointwise_matrix(weight, window)

    def __call__(
        self, factor: torch.Tensor | None, signal: torch.Tensor, box: SignalBox | None, /
    ) -> torch.Tensor:
        signal = cut(signal, box)
        signal = signal if factor is None else signal * cut(factor, box)
        if self._matrix is not None:
            return self._run_pointwise(self._matrix, signal, box)
        if box is None:
            padding = self._window.y.padding, self._window.x.padding
            return self._run(signal, self._source.shape[2:], padding)
        result = torch.zeros_like(self._source)
        self._write(self._run_without_padding(signal), box, result)
        return result

    def _run_pointwise(
        self, matrix: torch.Tensor, signal: torch.Tensor, box: SignalBox | None
    ) -> torch.Tensor:
        maps = (signal.permute(0, 2, 3, 1) @ matrix).permute(0, 3, 1, 2)
        if maps.shape == self._source.shape:
            return maps
        result, y, x = torch.zeros_like(self._source), self._window.y, self._window.x
        top, left = (box.top * y.stride, box.left * x.stride) if box else (0, 0)
        read = result[..., top :: y.stride, left :: x.stride]
        read[..., : maps.shape[2], : maps.shape[3]] = maps
        return result

    def _run_without_padding(self, signal: torch.Tensor) -> torch.Tensor:
        """The signal at all inputs that these outputs read, also at those in the padding."""
        height, width = signal.shape[2:]
        size = self._window.y.read_count(height), self._window.x.read_count(width)
        return self._run(signal, size, (0, 0))

    def _run(
        self, signal: torch.Tensor, size: Sequence[int], padding: tuple[int, int]
    ) -> torch.Tensor:
        y, x, groups = self._window.y, self._window.x, self._window.groups
        channels = self._weight.shape[1] * groups
        source = signal.new_empty(len(signal), *size, channels).permute(0, 3, 1, 2)
        result: torch.Tensor = torch.ops.aten.convolution_backward(
            signal,
            source,
            self._weight,
            None,
            [y.stride, x.stride],
            padding,
            [y.dilation, x.dilation],
            False,
            [0, 0],
            groups,
            [True, False, False],
        )[0]
        return result[:, : self._source.shape[1]]

    def _write(self, signal: torch.Tensor, box: SignalBox, result: torch.Tensor) -> None:
        """Writes the signal at the inputs that a box reads into a map; the padding is left out."""
        top = box.top * self._window.y.stride - self._window.y.padding
        left = box.left * self._window.x.stride - self._window.x.padding
        read = SignalBox(top, top + signal.shape[2], left, left + signal.shape[3])
        inside = read.clip(*result.shape[2:])
        inside.cut(result).copy_(inside.move(-top, -left).cut(signal))


_CHANNELS_AT_ONCE = 8


def _fill_up_channels(weight: torch.Tensor, window: ConvolutionWindow) -> torch.Tensor:
    """With inputs of zero weight: a processor goes back to 8 as fast as to the 3 of an image."""
    missing = _CHANNELS_AT_ONCE - weight.shape[1]
    if weight.device.type != "cpu" or window.groups > 1 or missing <= 0:
        return weight
    zeros = weight.new_zeros(weight.shape[0], missing, *weight.shape[2:])
    return torch.cat((weight, zeros), 1)


def _pointwise_matrix(weight: torch.Tensor, window: ConvolutionWindow) -> torch.Tensor | None:
    """The weights of a 1x1 convolution: a processor multiplies by the matrix faster."""
    is_padded = window.y.padding or window.x.padding
    is_pointwise = weight.shape[2:] == (1, 1) and window.groups == 1 and not is_padded
    return weight[:, :, 0, 0] if weight.device.type == "cpu" and is_pointwise else None
