"""What a call of torch is from the side of the table of operations, and what perturbing finds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from retroscope.engine.call_arguments import Args, Function, Kwargs, tensors_in
from retroscope.engine.motion import Axes, Mix, Motion, Move, Place, Resample, Slide, Stack, Stay
from retroscope.engine.operations import TABLE, Operation
from retroscope.geometry import Window

Call = Callable[[torch.Tensor], Any]
FRONT, LAST = (1, 4, 6, 5), (1, 6, 5, 4)
"""A map of 6x5 with four channels, in front and last."""


class Listen(TorchFunctionMode):
    """Remembers every call of a torch function."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[Function, Args, Kwargs]] = []

    def __torch_function__(
        self, func: Function, _types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> object:
        self.heard.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Heard:
    """What a call of the table's functions looks like from the table's side."""

    operation: Operation
    motion: Motion
    result: torch.Tensor
    place: Place = field(repr=False)


def heard(call: Call, x: torch.Tensor, axes: Axes) -> Heard:
    """The last call that is given the map, and what the table says of it."""
    with Listen() as listener:
        result = next(tensors_in(call(x)))
    function, args, kwargs = listener.heard[-1]
    operation = TABLE[function]
    constants = tuple(tuple(one.shape) for one in tensors_in(args, kwargs) if one is not x)
    place = Place(axes, tuple(x.shape), tuple(result.shape), constants)
    return Heard(operation, operation.motion_of(place, args, kwargs), result, place)


def influence(call: Call, x: torch.Tensor, axes: Axes) -> torch.Tensor:
    """For each position (y, x) of the map, which numbers of the result can change with it."""
    before = next(tensors_in(call(x.clone()))).double()
    lengths = x.shape[axes[0]], x.shape[axes[1]]
    found = torch.zeros(*lengths, *before.shape, dtype=torch.bool)
    ramp = torch.linspace(50, 150, x.numel() // (lengths[0] * lengths[1]), dtype=x.dtype)
    for y, x_, sign in product(range(lengths[0]), range(lengths[1]), (1, -1)):
        other = x.clone()
        spot = other.select(axes[1], x_).select(axes[0], y)
        spot.add_(sign * ramp.view_as(spot))
        found[y, x_] |= (next(tensors_in(call(other))).double() - before).abs() > 1e-9
    return found


def check(call: Call, x: torch.Tensor, axes: Axes) -> Heard:
    """What the table says of a call is what perturbing the map finds."""
    told, found = heard(call, x, axes), influence(call, x, axes)
    if isinstance(told.motion, Mix):
        return told
    y, x_ = _axes_of_result(told.motion, axes)
    others = [2 + dim for dim in range(told.result.dim()) if dim not in (y, x_)]
    pairs = found.any(others) if others else found
    pairs = pairs.transpose(2, 3) if y > x_ else pairs
    reads = _reads(told.motion, pairs.shape[2:])
    if isinstance(told.motion, Stay) and told.motion.gated:
        assert (pairs | ~reads).all(), "a gate keeps the local path"
        assert (pairs & ~reads).any(), "a gate lets more through"
        return told
    assert torch.equal(pairs, reads)
    return told


def _axes_of_result(motion: Motion, axes: Axes) -> Axes:
    if isinstance(motion, Stack):
        return motion.axes(axes)
    moved = motion.axes if isinstance(motion, Move | Slide | Resample) else None
    return moved or axes


def _reads(motion: Motion, outputs: torch.Size) -> torch.Tensor:
    if isinstance(motion, Resample):
        y, x = (
            torch.tensor([[at in range(*interval) for interval in intervals] for at in range(size)])
            for intervals, size in zip((motion.y, motion.x), (6, 5), strict=True)
        )
        return y[:, None, :, None] & x[None, :, None, :]
    windows = (motion.y, motion.x) if isinstance(motion, Slide) else (Window(), Window())
    y, x = (
        torch.tensor([[_taps(window, output, at) for output in range(count)] for at in range(size)])
        for window, count, size in zip(windows, outputs, (6, 5), strict=True)
    )
    return y[:, None, :, None] & x[None, :, None, :]


def _taps(window: Window, output: int, at: int) -> bool:
    start, stop = window.reads(output)
    return at in range(start, stop, window.dilation)
