"""How calls that change a tensor's shape, or pick from it, move positions.

Like `call_motions`: each function takes a `Place` and then the parameters of the torch function.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from numbers import Integral
from operator import mul
from typing import Any

import torch

from retroscope.engine.call_arguments import is_basic_key, tensors_in
from retroscope.engine.call_motions import Dims
from retroscope.engine.motion import (
    Axes,
    Mix,
    Motion,
    Move,
    Place,
    Resample,
    Shape,
    Slide,
    Stack,
)
from retroscope.geometry import Interval, Window


def expand(at: Place, *_args: object, **_kwargs: object) -> Motion:
    """One value for all positions, or a map repeated along new dimensions."""
    added = len(at.result) - len(at.shape)
    axes = tuple(axis + added for axis in at.axes)
    if tuple(at.result[axis] for axis in axes) == at.lengths:
        return Move(axes)
    return Mix(uniform=set(at.lengths) == {1})


def permute(at: Place, _input: object, *dims: Any, **named_dims: Any) -> Motion:
    dims = named_dims.get("dims", dims)
    order = dims[0] if isinstance(dims[0], Sequence) else dims
    return _reorder(at, [at.dim(dim) for dim in order])


def transpose(at: Place, _input: object, dim0: int, dim1: int) -> Motion:
    order = list(range(len(at.shape)))
    first, second = at.dim(dim0), at.dim(dim1)
    order[first], order[second] = second, first
    return _reorder(at, order)


def _reorder(at: Place, order: Sequence[int]) -> Motion:
    return Move(tuple(map(list(order).index, at.axes)))


def unsqueeze(at: Place, _input: object, dim: int) -> Motion:
    new = dim % (len(at.shape) + 1)
    return Move(tuple(axis + (axis >= new) for axis in at.axes))


def reshape(at: Place, *_args: object, **_kwargs: object) -> Motion:
    """Where the axes lie in the result, which lists the same elements in the same order.

    (8, 3, 14, 14) -> (8, 3, 196)        y and x are merged: positions mix
    (8, 3, 14, 14) -> (8, 1, 3, 14, 14)  24 elements in front of y, as before: y and x survive
    (8, 3, 14, 14) -> (8, 3, 7, 2, 14)   y is split: each of 7 positions reads 2 rows
    (8, 3, 7, 2, 14) -> (8, 3, 14, 14)   and merged again: two rows share a position of 7
    """
    found = [_axis_after_reshape(at, axis) for axis in at.axes]
    reshaped = [axis for axis in found if axis is not None]
    axes = tuple(axis.dim for axis in reshaped)
    if len(reshaped) < at.rank or len(set(axes)) < at.rank:
        return Mix()
    if all(axis.repeats == axis.window == 1 for axis in reshaped):
        return Move(axes)
    if all(axis.repeats == 1 for axis in reshaped):
        windows = tuple(Window(axis.window, axis.window) for axis in reshaped)
        return Slide(windows, axes, cuts=True)
    return Resample(tuple(axis.reads(at.result) for axis in reshaped), axes, joins=True)


@dataclass(frozen=True)
class _ReshapedAxis:
    """The dimension of the result that holds an axis.

    Each of its positions reads `window` positions; `repeats` of them in a row read the same.
    """

    dim: int
    window: int = 1
    repeats: int = 1

    def reads(self, result: Shape) -> tuple[Interval, ...]:
        firsts = [index // self.repeats * self.window for index in range(result[self.dim])]
        return tuple((first, first + self.window) for first in firsts)


def _axis_after_reshape(at: Place, axis: int) -> _ReshapedAxis | None:
    """Where an axis is in the result; None if it is merged with another axis or cut apart."""
    count, length = prod(at.shape[:axis]), at.shape[axis]
    in_front = [1, *accumulate(at.result, mul)]
    starts = [dim for dim in range(len(at.result)) if in_front[dim] == count]
    if not starts:
        return None
    exact = [dim for dim in starts if at.result[dim] == length]
    if exact:
        return _ReshapedAxis(exact[-1])
    dim = starts[-1]
    size = at.result[dim]
    if 1 < size < length and length % size == 0 and count * length in in_front[dim + 1 :]:
        return _ReshapedAxis(dim, window=length // size)
    inner = [prod(at.shape[axis + 1 : stop]) for stop in range(axis + 2, _end_of_axis(at, axis))]
    repeats = [count for count in inner if length * count == size]
    return _ReshapedAxis(dim, repeats=repeats[0]) if length > 1 and repeats else None


def _end_of_axis(at: Place, axis: int) -> int:
    """One after the last dimension that may be merged into an axis: not another axis."""
    later = [other for other in at.axes if other > axis]
    return min([*later, len(at.shape)]) + 1


def select(at: Place, _input: object, dim: int, index: object) -> Motion:
    """One entry of a dimension, which goes."""
    del index
    if at.touches(dim):
        return Mix()
    return Move(_axes_without(at, dim))


def _axes_without(at: Place, dim: int) -> Axes:
    """The axes where a dimension in front of them, or behind, goes."""
    return tuple(axis - (at.dim(dim) < axis) for axis in at.axes)


def unbind(at: Place, _input: object, dim: int = 0) -> Motion:
    """All entries of a dimension. A loop over the images of a batch takes one image at a time."""
    if at.touches(dim):
        return Mix()
    return Move(_axes_without(at, dim), batch=at.dim(dim) == 0)


def stack(at: Place, _tensors: object, dim: int = 0) -> Motion:
    return Stack(dim % (len(at.shape) + 1))


def narrow(at: Place, _input: object, dim: int, start: object, length: int) -> Motion:
    if not at.touches(dim):
        return Move(at.axes)
    if not isinstance(start, int):
        return Mix("narrow starts at a position that a tensor holds")
    full = at.shape[at.dim(dim)]
    window = Window(1, 1, -(start % full), start % full + length - full)
    return _slide_along(at, dim, window)


def _slide_along(at: Place, dim: int, window: Window, *, cuts: bool = False) -> Slide:
    """A window along one axis; positions stay along the others."""
    windows = tuple(window if axis == at.dim(dim) else Window() for axis in at.axes)
    return Slide(windows, cuts=cuts)


def unfold(at: Place, _input: object, dimension: int, size: int, step: int) -> Motion:
    """Windows along a dimension, listed in a new last dimension."""
    if not at.touches(dimension):
        return Move(at.axes)
    return _slide_along(at, dimension, Window(int(size), int(step)), cuts=True)


def list_windows(_at: Place, *_args: object, **_kwargs: object) -> Motion:
    """`F.unfold` lists windows along one dimension, `F.fold` adds them up; labels follow both."""
    return Mix()


def repeat_interleave(
    at: Place, _input: object, repeats: object, dim: int | None = None, **_kwargs: object
) -> Motion:
    if dim is None or (at.touches(dim) and not isinstance(repeats, int)):
        return Mix()
    if not at.touches(dim):
        return Move(at.axes)
    assert isinstance(repeats, int)
    along = at.dim(dim)
    reads = (
        tuple((index // count, index // count + 1) for index in range(at.result[axis]))
        for axis in at.axes
        for count in (repeats if axis == along else 1,)
    )
    return Resample(tuple(reads))


def move_dims(at: Place, _input: object, source: Dims, destination: Dims) -> Motion:
    sources, targets = (
        [at.dim(dim) for dim in (dims if isinstance(dims, Sequence) else [dims])]
        for dims in (source, destination)
    )
    order = [dim for dim in range(len(at.shape)) if dim not in sources]
    for target, dim in sorted(zip(targets, sources, strict=True)):
        order.insert(target, dim)
    return _reorder(at, order)


def swap_last_dims(at: Place, *_args: object, **_kwargs: object) -> Motion:
    return transpose(at, None, -1, -2)


def index(at: Place, _input: object, key: object) -> Motion:
    """Slices: of channels they keep positions, of the map they are windows of size 1."""
    keys = list(key) if isinstance(key, tuple) else [key]
    is_picked_by_image = len(list(tensors_in(keys))) > len(at.constants)
    keys = _without_channel_lists(at, keys)
    if is_picked_by_image or not all(map(is_basic_key, keys)):
        return Mix("indexing with a tensor or a list may pick any position")
    axes: dict[int, int] = {}
    windows = {axis: Window() for axis in at.axes}
    dim = 0
    for source, entry in _indexed_dims(keys, len(at.shape)):
        if source in at.axes and isinstance(entry, Integral):
            return Mix()
        if source in at.axes and isinstance(entry, slice):
            axes[source] = dim
            windows[source] = _slice_window(entry, at.shape[source])
        dim += not isinstance(entry, Integral)
    new_axes = tuple(axes[axis] for axis in at.axes)
    if all(window == Window() for window in windows.values()):
        return Move(new_axes)
    return Slide(tuple(windows[axis] for axis in at.axes), new_axes)


def _without_channel_lists(at: Place, keys: list[object]) -> list[object]:
    """The same keys, with a list of channels as a slice: it picks no positions.

    One list keeps its dimension where it is; several move theirs.
    """
    lists = [n for n, key in enumerate(keys) if isinstance(key, list | torch.Tensor)]
    is_aligned = all(isinstance(key, slice) for key in keys[: lists[0]]) if lists else False
    if len(lists) != 1 or not is_aligned or at.touches(lists[0]):
        return keys
    chosen = keys[lists[0]]
    if isinstance(chosen, torch.Tensor):
        is_list = chosen.dim() == 1 and chosen.dtype is torch.long
    else:
        is_list = isinstance(chosen, list) and all(type(entry) is int for entry in chosen)
    return [*keys[: lists[0]], slice(None), *keys[lists[0] + 1 :]] if is_list else keys


def _indexed_dims(keys: list[object], rank: int) -> Iterator[tuple[int | None, object]]:
    """Each dimension of the source with its index; None for a new dimension."""
    unindexed = rank - sum(key is not None and key is not Ellipsis for key in keys)
    if not any(key is Ellipsis for key in keys):
        keys = [*keys, Ellipsis]
    source = 0
    for key in keys:
        if key is None:
            yield None, key
        elif key is Ellipsis:
            for _ in range(unindexed):
                yield source, slice(None)
                source += 1
        else:
            yield source, key
            source += 1


def _slice_window(piece: slice, length: int) -> Window:
    start, stop, step = piece.indices(length)
    count = len(range(start, stop, step))
    if count == 0:
        return Window(1, 1, 0, -length)
    last = start + (count - 1) * step
    return Window(1, step, -start, last + 1 - length)
