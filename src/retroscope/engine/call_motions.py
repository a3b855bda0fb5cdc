"""How a call of a torch function moves positions, read from the call's own arguments.

Each function takes a `Place` and then the parameters of the torch function that it describes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch

from retroscope.engine.motion import Mix, Motion, Move, Place, Shape, Slide, Stay
from retroscope.geometry import Window

PerAxis = int | Sequence[int]
Dims = int | Sequence[int]


def stay(_at: Place, *_args: object, **_kwargs: object) -> Motion:
    return Stay()


def gate(_at: Place, *_args: object, **_kwargs: object) -> Motion:
    return Stay(gated=True)


def mix(_at: Place, *_args: object, **_kwargs: object) -> Motion:
    return Mix()


def combine(at: Place, *_args: object, **_kwargs: object) -> Motion:
    """Elementwise on several tensors; a constant that varies over the map pins the position."""
    return Stay(pinned=at.has_varying_constant())


def where(at: Place, _condition: object, *values: object, **named_values: object) -> Motion:
    """One of two values by a condition; without values it lists the positions that are true."""
    return combine(at) if values or named_values else Mix()


def einsum(at: Place, equation: str, *operands: Any) -> Motion:
    """Positions stay if the letters of the axes are in the result and in no other operand.

    `nchw,oc->nohw` works on each position; `nchw,nCHW->nhwHW` compares all of them.
    """
    tensors = list(operands[0]) if isinstance(operands[0], list | tuple) else list(operands)
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    mapped = [term for term, t in zip(terms, tensors, strict=True) if tuple(t.shape) == at.shape]
    if not arrow or "." in equation or len(mapped) != 1 or len(at.constants) != len(tensors) - 1:
        return Mix()
    letters = [mapped[0][axis] for axis in at.axes]
    if any(inputs.count(letter) != 1 or letter not in output for letter in letters):
        return Mix()
    return Move(tuple(map(output.index, letters)))


def last_dim(at: Place, *_args: object, **_kwargs: object) -> Motion:
    return Mix() if at.touches(-1) else Stay()


def matmul(at: Place, first: Any, other: Any) -> Motion:
    """Positions stay where the matrices hold none of them."""
    if len(at.result) != len(at.shape) or at.touches(-1):
        return Mix()
    is_first = isinstance(first, torch.Tensor) and tuple(first.shape) == at.shape
    stays = not at.touches(-2) or (is_first and other.dim() == 2)
    return Stay(pinned=at.has_varying_constant()) if stays else Mix()


def batched_matmul(_at: Place, *_args: object, **_kwargs: object) -> Motion:
    return Mix()


def multi_head_attention(_at: Place, *_args: object, **_kwargs: object) -> Motion:
    """Tokens are the first dimension, and all of them read each other."""
    return Mix()


def attention(at: Place, *_args: object, **_kwargs: object) -> Motion:
    """Tokens and their features are the last two dimensions; positions in front of them stay."""
    return Mix() if at.touches(-1, -2) else Stay(pinned=at.has_varying_constant())


def conv_1d(at: Place, *_args: object, **_kwargs: object) -> Motion:
    """Channels and a length are the last two dimensions; positions in front of them stay."""
    return Mix() if at.touches(-1, -2) else Stay()


def along_dim(
    at: Place, _input: object, dim: int | None = None, *_args: object, **_kwargs: object
) -> Motion:
    return Mix() if dim is None or at.touches(dim) else Stay()


def pick_along_dim(at: Place, _input: object, dim: int, index: object) -> Motion:
    """Entries of a dimension, by their numbers."""
    del index
    return Mix() if at.touches(dim) else Stay()


def along_last_dim(
    at: Place, _input: object, dim: int = -1, *_args: object, **_kwargs: object
) -> Motion:
    return along_dim(at, _input, dim)


def select_along_dim(
    at: Place, _input: object, k: int, dim: int = -1, *_args: object, **_kwargs: object
) -> Motion:
    """The largest values along a dimension: `topk`, `kthvalue`."""
    del k
    return Mix() if at.touches(dim) or len(at.result) != len(at.shape) else Stay()


def normalize(
    at: Place, _input: object, p: float = 2.0, dim: Dims = 1, *_args: object, **_kwargs: object
) -> Motion:
    """Vectors along dimensions, scaled to length 1; no dimension means all of them."""
    del p
    return Stay() if _dims(dim) and not at.touches(*_dims(dim)) else Mix()


def along_dims(at: Place, _input: object, *dims: Any, **named_dims: Any) -> Motion:
    """Dimensions as a tuple or one by one, as `flip` takes them."""
    chosen = named_dims.get("dims", dims)
    chosen = chosen[0] if len(chosen) == 1 and isinstance(chosen[0], Sequence) else chosen
    return Mix() if at.touches(*chosen) else Stay()


def roll(at: Place, _input: object, shifts: object, dims: Dims = ()) -> Motion:
    del shifts
    if not _dims(dims) or at.touches(*_dims(dims)):
        return Mix()
    return Stay(batch=0 in map(at.dim, _dims(dims)))


def channel_shuffle(at: Place, *_args: object, **_kwargs: object) -> Motion:
    return Mix() if at.touches(1) else Stay()


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


def layer_norm(
    at: Place, _input: object, normalized_shape: Shape, *_args: object, **_kwargs: object
) -> Motion:
    return Stay(gated=at.touches(*(-1 - n for n in range(len(normalized_shape)))))


def conv(
    at: Place,
    _input: object,
    weight: torch.Tensor,
    bias: object = None,
    stride: PerAxis = 1,
    padding: PerAxis | str = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Motion:
    del bias, groups
    sizes = tuple(weight.shape[2:])
    if not at.is_last(len(sizes)):
        return Mix()
    steps, spread = per_axis(stride, at.rank), per_axis(dilation, at.rank)
    windows = (
        Window(size, step, *pad, dilation=gap)
        for size, step, pad, gap in zip(
            sizes, steps, _conv_padding(padding, sizes, spread), spread, strict=True
        )
    )
    return Slide(tuple(windows))


def _conv_padding(
    padding: PerAxis | str, sizes: tuple[int, ...], dilation: tuple[int, ...]
) -> list[tuple[int, int]]:
    if padding == "valid":
        return [(0, 0)] * len(sizes)
    if padding == "same":
        totals = [(size - 1) * gap for size, gap in zip(sizes, dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    assert not isinstance(padding, str)
    return [(pad, pad) for pad in per_axis(padding, len(sizes))]


def max_pool(
    at: Place,
    _input: object,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: PerAxis = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Motion:
    del return_indices
    if not at.is_last():
        return Mix()
    sizes = per_axis(kernel_size, at.rank)
    steps = per_axis(stride, at.rank) if stride else sizes
    pads, spread = per_axis(padding, at.rank), per_axis(dilation, at.rank)
    windows = (
        Window(size, step, pad, pad, gap, ceil_mode)
        for size, step, pad, gap in zip(sizes, steps, pads, spread, strict=True)
    )
    return Slide(tuple(windows))


def avg_pool(
    at: Place,
    _input: object,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: PerAxis = 0,
    ceil_mode: bool = False,
    *_divisors: object,
    **_named_divisors: object,
) -> Motion:
    return max_pool(at, _input, kernel_size, stride, padding, ceil_mode=ceil_mode)


def join(at: Place, tensors: object, dim: int = 0) -> Motion:
    del tensors
    return Mix() if at.touches(dim) else Stay(pinned=at.has_varying_constant())


def split_channels(
    at: Place, _input: object, _size: object = None, dim: int = 0, **_named_size: object
) -> Motion:
    return Mix() if at.touches(dim) else Stay()


def reduce(
    at: Place, _input: object, dim: Dims | None = None, *_args: object, **_kwargs: object
) -> Motion:
    """Mean, sum, maximum: positions stay if channels are reduced, and mix if the map is.

    Maps stacked in front of the batch of one image are reduced as channels are.
    """
    if dim is None or isinstance(dim, bool | torch.Tensor):
        return Mix()
    reduced = {at.dim(d) for d in _dims(dim)}
    if not reduced or reduced & set(at.axes):
        return Mix()
    keeps_dims = len(at.result) == len(at.shape)
    is_stack = at.shape[0] > 1 and len(at.shape) > len(at.axes) + 2
    if 0 in reduced and not is_stack:
        batch = Stay(gated=True, batch=True)
        return batch if keeps_dims else Mix("a batch is reduced to one image")
    if keeps_dims:
        return Stay()
    return Move(tuple(axis - sum(d < axis for d in reduced) for axis in at.axes))


def norm(
    at: Place,
    _input: object,
    p: object = None,
    dim: Dims | None = None,
    *_args: object,
    **_kwargs: object,
) -> Motion:
    """The length of vectors along a dimension."""
    del p
    return reduce(at, _input, dim)


def similarity(
    at: Place, x1: object, x2: object, dim: int = 1, *_args: object, **_kwargs: object
) -> Motion:
    """The cosine of two maps along a dimension, which is reduced."""
    del x2
    motion = reduce(at, x1, dim) if len(at.result) == len(at.shape) - 1 else Mix()
    is_pinned = at.has_varying_constant()
    return replace(motion, pinned=is_pinned) if isinstance(motion, Move) else motion


def largest(at: Place, first: object, dim: object = None, *args: Any, **kwargs: Any) -> Motion:
    """`max` of two tensors is elementwise; of one it is a reduction."""
    if isinstance(kwargs.get("other", dim), torch.Tensor):
        return combine(at)
    return reduce(at, first, cast("Dims | None", dim), *args, **kwargs)


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


def _dims(dims: Dims) -> tuple[int, ...]:
    return tuple(dims) if isinstance(dims, Sequence) else (dims,)


def per_axis(value: PerAxis, rank: int) -> tuple[int, ...]:
    """The same number for all axes, or one for each."""
    numbers = tuple(map(int, value)) if isinstance(value, Sequence) else (int(value),)
    return numbers * rank if len(numbers) == 1 else numbers[:rank]
