"""What a call of torch is from the side of the table of operations, and what perturbing finds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from math import prod
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
LINE, VOLUME = (1, 4, 9), (1, 4, 4, 6, 5)
"""A map of a signal and one of a volume, with four channels in front."""


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
    """For each position of the map, which numbers of the result can change with it."""
    before = next(tensors_in(call(x.clone()))).double()
    lengths = [x.shape[axis] for axis in axes]
    found = torch.zeros(*lengths, *before.shape, dtype=torch.bool)
    ramp = torch.linspace(50, 150, x.numel() // prod(lengths), dtype=x.dtype)
    for position in product(*map(range, lengths)):
        for sign in (1, -1):
            other = x.clone()
            places = dict(zip(axes, position, strict=True))
            spot = other[tuple(places.get(dim, slice(None)) for dim in range(x.dim()))]
            spot.add_(sign * ramp.view_as(spot))
            found[position] |= (next(tensors_in(call(other))).double() - before).abs() > 1e-9
    return found


def check(call: Call, x: torch.Tensor, axes: Axes) -> Heard:
    """What the table says of a call is what perturbing the map finds."""
    told, found = heard(call, x, axes), influence(call, x, axes)
    if isinstance(told.motion, Mix):
        return told
    rank, moved = len(axes), _axes_of_result(told.motion, axes)
    others = [rank + dim for dim in range(told.result.dim()) if dim not in moved]
    pairs = found.any(others) if others else found
    order = [sorted(moved).index(axis) for axis in moved]
    pairs = pairs.permute(*range(rank), *(rank + place for place in order))
    reads = _reads(told.motion, found.shape[:rank], pairs.shape[rank:])
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


def _reads(motion: Motion, inputs: torch.Size, outputs: torch.Size) -> torch.Tensor:
    """For each position of the map, and each of the result, whether it is read there."""
    rank = len(inputs)
    windows = motion.windows if isinstance(motion, Slide) else (Window(),) * rank
    pairs = torch.ones(*inputs, *outputs, dtype=torch.bool)
    for axis, (size, count) in enumerate(zip(inputs, outputs, strict=True)):
        if isinstance(motion, Resample):
            taps = [range(*interval) for interval in motion.reads[axis]]
        else:
            taps = [_taps(windows[axis], output) for output in range(count)]
        along = torch.tensor([[at in reads for reads in taps] for at in range(size)])
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = size, count
        pairs &= along.view(shape)
    return pairs


def _taps(window: Window, output: int) -> range:
    start, stop = window.reads(output)
    return range(start, stop, window.dilation)
