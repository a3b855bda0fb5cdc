"""Convolutions and pools on a part of a map, padded only where the map really ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F

from retroscope.engine.call_arguments import Args, Kwargs, PadArguments
from retroscope.engine.intercept import Handler
from retroscope.engine.map_regions import Cut
from retroscope.engine.motion import Axes
from retroscope.engine.operations import WindowReduction
from retroscope.geometry import IMAGE_RANK, Window


@dataclass(frozen=True)
class PartialWindows:
    """A window operation's windows along each axis, and how each runs on a part of the map."""

    windows: tuple[Window, ...]
    cuts: tuple[Cut, ...]
    axes: Axes

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.windows)

    @torch.enable_grad()
    def take(self, tensor: torch.Tensor) -> torch.Tensor:
        for axis, cut in zip(self.axes, self.cuts, strict=True):
            first, stop = cut.take
            if (first, stop) != (0, tensor.shape[axis]):
                tensor = tensor.narrow(axis, first, stop - first)
        return tensor

    @torch.enable_grad()
    def pad(self, tensor: torch.Tensor, value: float = 0.0) -> torch.Tensor:
        ends = [0] * (2 * (tensor.dim() - min(self.axes)))
        for axis, cut in zip(self.axes, self.cuts, strict=True):
            start = 2 * (tensor.dim() - 1 - axis)
            ends[start : start + 2] = cut.pad
        return F.pad(tensor, ends, value=value) if any(ends) else tensor

    def per_axis(self, name: str) -> tuple[int, ...]:
        return tuple(getattr(window, name) for window in self.windows)

    def symmetric_padding(self, tensor: torch.Tensor) -> tuple[int, ...] | None:
        """Padding that a convolution can do by itself; None if its two ends differ."""
        pads = []
        for axis, window, cut in zip(self.axes, self.windows, self.cuts, strict=True):
            before = cut.pad[0]
            symmetric = Window(window.size, window.stride, before, before, window.dilation)
            if cut.pad[1] > before or symmetric.outputs(tensor.shape[axis]) != cut.gives.count:
                return None
            pads.append(before)
        return tuple(pads)


def _convolve(work: PartialWindows, execute: Handler, args: Args, kwargs: Kwargs) -> object:
    source, weight, bias, groups = _conv_parts(*args, **kwargs)
    part = work.take(source)
    padding = work.symmetric_padding(part)
    if padding is None:
        part, padding = work.pad(part), (0,) * work.rank
    own = slice(2 - weight.dim(), None)  # on the slices of a volume: the last axes
    options = (work.per_axis("stride"), padding, work.per_axis("dilation"))
    stride, padding, dilation = (numbers[own] for numbers in options)
    convolve = _CONVOLUTIONS[weight.dim() - 2]
    return execute(convolve, (part, weight, bias, stride, padding, dilation, groups), {})


_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def _conv_parts(
    input: torch.Tensor,  # noqa: A002
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: object = 1,
    padding: object = 0,
    dilation: object = 1,
    groups: int = 1,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, int]:
    del stride, padding, dilation
    return input, weight, bias, groups


def _maximum(work: PartialWindows, execute: Handler, args: Args, kwargs: Kwargs) -> object:
    source = args[0] if args else kwargs["input"]
    part = work.pad(work.take(source), float("-inf"))
    sizes, strides, dilation = (
        work.per_axis("size"),
        work.per_axis("stride"),
        work.per_axis("dilation"),
    )
    return execute(_MAX_POOLS[work.rank], (part, sizes, strides, 0, dilation), {})


def _average(work: PartialWindows, execute: Handler, args: Args, kwargs: Kwargs) -> object:
    source = args[0] if args else kwargs["input"]
    part = work.pad(work.take(source))
    sizes, strides = work.per_axis("size"), work.per_axis("stride")
    if not any(any(cut.pad) for cut in work.cuts):
        override = _divisors(*args, **kwargs)[1] if len(args) + len(kwargs) > 2 else None
        return _mean_pool(work, execute, (part, sizes, strides), override)
    sums = cast("torch.Tensor", _mean_pool(work, execute, (part, sizes, strides), 1))
    return sums / _divisor_map(work, sums, *_divisors(*args, **kwargs))


def _mean_pool(work: PartialWindows, execute: Handler, args: Args, divisor: int | None) -> object:
    """Over whole windows. torch's pool along one axis knows no divisor, but that of windows."""
    if work.rank == 1:
        mean = cast("torch.Tensor", execute(F.avg_pool1d, (*args, 0, False, True), {}))
        return mean if divisor is None else mean * (work.windows[0].size / divisor)
    pool = F.avg_pool2d if work.rank == IMAGE_RANK else F.avg_pool3d
    return execute(pool, (*args, 0, False, True, divisor), {})


def _divisors(
    input: object,  # noqa: A002
    kernel_size: object = None,
    stride: object = None,
    padding: object = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[bool, int | None]:
    del input, kernel_size, stride, padding, ceil_mode
    return count_include_pad, divisor_override


def _divisor_map(
    work: PartialWindows, sums: torch.Tensor, with_padding: bool, override: int | None
) -> torch.Tensor:
    """How many values each mean averages: a window over the border counts fewer."""
    if override is not None:
        return sums.new_tensor(override)
    divisors = sums.new_ones(())
    for axis, window, cut in zip(work.axes, work.windows, work.cuts, strict=True):
        low = -window.before if with_padding else 0
        high = cut.full + window.after if with_padding else cut.full
        reads = [window.reads(output) for output in range(cut.gives.start, cut.gives.stop)]
        counts = sums.new_tensor([min(stop, high) - max(start, low) for start, stop in reads])
        divisors = divisors * counts.view([-1 if dim == axis else 1 for dim in range(sums.dim())])
    return divisors


def _copy(work: PartialWindows, execute: Handler, args: Args, kwargs: Kwargs) -> object:
    part = _slice(work, execute, args, kwargs)
    assert isinstance(part, torch.Tensor)
    with torch.enable_grad():
        return part.clone()


@torch.enable_grad()
def _slice(work: PartialWindows, _execute: Handler, args: Args, kwargs: Kwargs) -> object:
    """A view, also of the whole part, as torch's slices are; None where channels are listed."""
    source: torch.Tensor = args[0] if args else kwargs["input"]
    keys = args[1] if len(args) > 1 and isinstance(args[1], tuple) else args[1:2]
    if any(isinstance(key, list | torch.Tensor) for key in keys):
        return None
    part = work.pad(work.take(source.view_as(source)))
    for axis, window in zip(work.axes, work.windows, strict=True):
        if window.stride > 1:
            steps = [slice(None)] * axis + [slice(None, None, window.stride)]
            part = part[tuple(steps)]
    return part


def _pad_border(work: PartialWindows, _execute: Handler, args: Args, kwargs: Kwargs) -> object:
    """None where more than the axes are padded, or not with one number."""
    call = PadArguments(*args, **kwargs)
    source = call.input
    dims = [source.dim() - 1 - index // 2 for index, end in enumerate(call.pad) if end]
    if call.mode != "constant" or not set(dims) <= set(work.axes):
        return None
    padded = work.pad(work.take(source), call.value or 0.0)
    address = source.untyped_storage().data_ptr()
    with torch.enable_grad():
        return padded.clone() if padded.untyped_storage().data_ptr() == address else padded


def _unshuffle(work: PartialWindows, execute: Handler, args: Args, kwargs: Kwargs) -> object:
    source = args[0] if args else kwargs["input"]
    return execute(F.pixel_unshuffle, (work.take(source), work.windows[0].stride), {})


REDUCTIONS: dict[WindowReduction, Callable[[PartialWindows, Handler, Args, Kwargs], object]] = {
    WindowReduction.CONVOLUTION: _convolve,
    WindowReduction.MAXIMUM: _maximum,
    WindowReduction.MEAN: _average,
    WindowReduction.COPY: _copy,
    WindowReduction.SLICE: _slice,
    WindowReduction.PADDING: _pad_border,
    WindowReduction.UNSHUFFLE: _unshuffle,
}
"""What a window operation gives for a part; None if it has to run on a map of the full size."""
