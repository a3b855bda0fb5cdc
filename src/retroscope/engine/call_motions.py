"""How a call of a torch function moves positions, read from the call's own arguments.

Each function takes a `Place` and then the parameters of the torch function that it describes.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any, cast

import torch

from retroscope.engine.motion import Mix, Motion, Move, Place, Shape, Slide, Stay
from retroscope.geometry import Window

Pair = int | Sequence[int]


def stay(_at: Place, *_args: object, **_kwargs: object) -> Motion:
    return Stay()


def gate(_at: Place, *_args: object, **_kwargs: object) -> Motion:
    return Stay(gated=True)


def mix(_at: Place, *_args: object, **_kwargs: object) -> Motion:
    return Mix()


def combine(at: Place, *_args: object, **_kwargs: object) -> Motion:
    """Elementwise on several tensors; a constant that varies over the map pins the position."""
    return Stay(pinned=at.has_varying_constant())


def last_dim(at: Place, *_args: object, **_kwargs: object) -> Motion:
    return Mix() if at.touches(-1) else Stay()


def matmul(at: Place, first: Any, other: Any) -> Motion:
    mapped = isinstance(first, torch.Tensor) and tuple(first.shape) == at.shape
    return Stay() if mapped and other.dim() == 2 and not at.touches(-1) else Mix()


def along_dim(
    at: Place, _input: object, dim: int | None = None, *_args: object, **_kwargs: object
) -> Motion:
    return Mix() if dim is None or at.touches(dim) else Stay()


def batch_norm(
    _at: Place,
    _input: object,
    running_mean: object,
    running_var: object,
    weight: object = None,
    bias: object = None,
    training: bool = False,
    *_args: object,
    **_kwargs: object,
) -> Motion:
    """Elementwise with running statistics; in training mode it mixes the whole batch."""
    del running_mean, running_var, weight, bias
    return Stay(gated=training, batch=training)


def response_norm(at: Place, *_args: object, **_kwargs: object) -> Motion:
    """Over neighbouring channels, which for torch are always dimension 1."""
    return Mix() if at.touches(1) else Stay()


def expand(at: Place, *_args: object, **_kwargs: object) -> Motion:
    """One value for all positions, or a map repeated along new dimensions."""
    added = len(at.result) - len(at.shape)
    y, x = (axis + added for axis in at.axes)
    if (at.result[y], at.result[x]) == at.lengths:
        return Move((y, x))
    return Mix(uniform=at.lengths == (1, 1))


def layer_norm(
    at: Place, _input: object, normalized_shape: Shape, *_args: object, **_kwargs: object
) -> Motion:
    return Stay(gated=at.touches(*(-1 - n for n in range(len(normalized_shape)))))


def conv(
    at: Place,
    _input: object,
    weight: torch.Tensor,
    bias: object = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Motion:
    del bias, groups
    if not at.is_last():
        return Mix()
    sizes = weight.shape[-2], weight.shape[-1]
    spread = _pair(dilation)
    y, x = (
        Window(size, step, *pad, dilation=gap)
        for size, step, pad, gap in zip(
            sizes, _pair(stride), _conv_padding(padding, sizes, spread), spread, strict=True
        )
    )
    return Slide(y, x)


def _conv_padding(
    padding: Pair | str, sizes: tuple[int, int], dilation: tuple[int, int]
) -> list[tuple[int, int]]:
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":
        totals = [(size - 1) * gap for size, gap in zip(sizes, dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    assert not isinstance(padding, str)
    return [(pad, pad) for pad in _pair(padding)]


def max_pool(
    at: Place,
    _input: object,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Motion:
    del return_indices
    if not at.is_last():
        return Mix()
    sizes = _pair(kernel_size)
    steps = _pair(stride) if stride else sizes
    y, x = (
        Window(size, step, pad, pad, gap, ceil_mode)
        for size, step, pad, gap in zip(sizes, steps, _pair(padding), _pair(dilation), strict=True)
    )
    return Slide(y, x)


def avg_pool(
    at: Place,
    _input: object,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    *_divisors: object,
    **_named_divisors: object,
) -> Motion:
    return max_pool(at, _input, kernel_size, stride, padding, ceil_mode=ceil_mode)


def adaptive_pool(
    at: Place,
    _input: object,
    output_size: int | Sequence[int | None] | None,
    *_args: object,
    **_kwargs: object,
) -> Motion:
    if not at.is_last():
        return Mix()
    sizes = (output_size,) * 2 if isinstance(output_size, int | None) else tuple(output_size)
    targets = [
        length if size is None else size for size, length in zip(sizes, at.lengths, strict=True)
    ]
    if any(length % target for length, target in zip(at.lengths, targets, strict=True)):
        return Mix("adaptive pooling to {}x{} has uneven windows".format(*targets))
    y, x = (
        Window(length // target, length // target)
        for length, target in zip(at.lengths, targets, strict=True)
    )
    return Slide(y, x)


def pad(
    at: Place,
    _input: object,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> Motion:
    """Zeros around the map. `pad` lists both ends of each dimension, from the last to the first."""
    if value or (mode != "constant" and any(pad)):
        return Mix(f"padding of mode {mode!r} reads pixels from elsewhere")
    rank = len(at.shape)
    ends = {rank - 1 - n: (pad[2 * n], pad[2 * n + 1]) for n in range(len(pad) // 2)}
    y, x = (Window(1, 1, *ends.get(axis, (0, 0))) for axis in at.axes)
    return Slide(y, x)


def join(at: Place, tensors: object, dim: int = 0, *, axis: int | None = None) -> Motion:
    del tensors
    along = at.touches(dim if axis is None else axis)
    return Mix() if along else Stay(pinned=at.has_varying_constant())


def split_channels(
    at: Place, _input: object, _size: object, dim: int = 0, **_kwargs: object
) -> Motion:
    return Mix() if at.touches(dim) else Stay()


def reduce(
    at: Place,
    _input: object,
    dim: Pair | None = None,
    keepdim: bool = False,
    *_args: object,
    **_kwargs: object,
) -> Motion:
    """Mean, sum, maximum: positions stay if channels are reduced, and mix if the map is."""
    if dim is None or isinstance(dim, torch.Tensor):
        return Mix()
    reduced = {at.dim(d) for d in ([dim] if isinstance(dim, int) else dim)}
    if not reduced or reduced & set(at.axes):
        return Mix()
    if 0 in reduced:
        return Stay(gated=True, batch=True) if keepdim else Mix("a batch is reduced to one image")
    if keepdim:
        return Stay()
    y, x = (axis - sum(d < axis for d in reduced) for axis in at.axes)
    return Move((y, x))


def largest(at: Place, first: object, dim: object = None, *args: Any, **kwargs: Any) -> Motion:
    """`max` of two tensors is elementwise; of one it is a reduction."""
    if isinstance(kwargs.get("other", dim), torch.Tensor):
        return combine(at)
    return reduce(at, first, cast("Pair | None", dim), *args, **kwargs)


def permute(at: Place, _input: object, *dims: Any) -> Motion:
    order = dims[0] if isinstance(dims[0], Sequence) else dims
    return _reorder(at, [at.dim(dim) for dim in order])


def transpose(at: Place, _input: object, dim0: int, dim1: int) -> Motion:
    order = list(range(len(at.shape)))
    first, second = at.dim(dim0), at.dim(dim1)
    order[first], order[second] = second, first
    return _reorder(at, order)


def _reorder(at: Place, order: Sequence[int]) -> Motion:
    y, x = (order.index(axis) for axis in at.axes)
    return Move((y, x))


def unsqueeze(at: Place, _input: object, dim: int) -> Motion:
    new = dim % (len(at.shape) + 1)
    y, x = (axis + (axis >= new) for axis in at.axes)
    return Move((y, x))


def reshape(at: Place, *_args: object, **_kwargs: object) -> Motion:
    """In row-major order a dimension survives if as many elements stand in front of it as before.

    (8, 3, 14, 14) -> (8, 3, 196)      y and x are merged: positions mix
    (8, 3, 14, 14) -> (8, 1, 3, 14, 14)   24 elements in front of y: y and x survive
    """
    in_front = [1, *accumulate(at.result, mul)]
    survivors = []
    for axis in at.axes:
        count, length = prod(at.shape[:axis]), at.shape[axis]
        survivors += [
            dim for dim, size in enumerate(at.result) if in_front[dim] == count and size == length
        ][-1:]
    return Move((survivors[0], survivors[1])) if len(set(survivors)) == 2 else Mix()


def index(at: Place, _input: object, key: object) -> Motion:
    """Slices: of channels they keep positions, of the map they are windows of size 1."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if not all(map(_is_basic_index, keys)):
        return Mix("indexing with a tensor or a list may pick any position")
    axes: dict[int, int] = {}
    windows = {axis: Window() for axis in at.axes}
    dim = 0
    for source, entry in _indexed_dims(keys, len(at.shape)):
        if source in at.axes and isinstance(entry, int):
            return Mix()
        if source in at.axes and isinstance(entry, slice):
            axes[source] = dim
            windows[source] = _slice_window(entry, at.shape[source])
        dim += not isinstance(entry, int)
    y, x = (windows[axis] for axis in at.axes)
    new_axes = (axes[at.axes[0]], axes[at.axes[1]])
    if (y, x) == (Window(), Window()):
        return Move(new_axes)
    return Slide(y, x) if new_axes == at.axes else Mix()


def _is_basic_index(key: object) -> bool:
    return (isinstance(key, int | slice | None) and not isinstance(key, bool)) or key is Ellipsis


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


def clamps_at_zero(_input: object, min: object = None, max: object = None) -> bool:  # noqa: A002
    if isinstance(min, torch.Tensor):
        return False
    return min == 0 and (max is None or (isinstance(max, int | float) and max > 0))


def thresholds_at_zero(
    _input: object, threshold: float, value: float, *_args: object, **_kwargs: object
) -> bool:
    return threshold == 0 and value == 0


def clamps_from_zero(
    _input: object, min_val: float = -1.0, max_val: float = 1.0, *_args: object, **_kwargs: object
) -> bool:
    """`hardtanh` from zero up is ReLU6; otherwise it is a squashing function."""
    return min_val == 0 and max_val > 0


def _pair(value: Pair) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])
