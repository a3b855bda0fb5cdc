"""Whether a call asks for something, creates, writes or computes it; and what it reads."""

import torch
import torch.nn.functional as F

from retroscope.engine import call_motions
from retroscope.engine.call_arguments import (
    Args,
    Function,
    Kwargs,
    is_basic_key,
    positional,
    tensors_in,
)
from retroscope.engine.operations import TABLE, Operation, functions_named, unlisted
from retroscope.geometry import IMAGE_RANK

_QUERIES = {
    *functions_named("size", "dim", "numel", "nelement", "stride", "storage_offset"),
    *functions_named("is_contiguous", "is_floating_point", "is_complex", "element_size"),
    *functions_named("get_device", "data_ptr"),
    torch.Tensor.ndimension,
    torch.Tensor.__len__,
    torch.Tensor.__hash__,
}


def is_metadata_query(function: Function) -> bool:
    """Whether a function asks for a tensor's size, type, device or layout, or for an attribute."""
    is_attribute = getattr(function, "__name__", "") == "__get__" and function not in TABLE
    return function in _QUERIES or is_attribute


_CREATORS = {
    *functions_named("zeros_like", "ones_like", "empty_like", "full_like", "rand_like"),
    *functions_named(
        "randint_like", "randn_like", "new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"
    ),
}


def is_identity(function: Function, args: Args) -> bool:
    """Whether a call is `x.view_as(x)`, which torch's backward hooks insert."""
    return function is torch.Tensor.view_as and len(args) == 2 and args[0] is args[1]


def creates_from_shape(function: Function, args: Args, kwargs: Kwargs) -> bool:
    """Whether a call reads only the shape and type of a tensor, never its values."""
    return function in _CREATORS and next(tensors_in(args[1:], kwargs), None) is None


def writes_to_part(function: Function) -> bool:
    """Whether a function overwrites a tensor, or a part of it, with the values of another."""
    return function in (torch.Tensor.copy_, torch.Tensor.__setitem__)


def written_part(
    function: Function, args: Args, kwargs: Kwargs
) -> tuple[torch.Tensor | None, object]:
    """The part of a tensor that a call overwrites, and with what; None if tensors select it."""
    if function is torch.Tensor.copy_:
        return args[0], args[1] if len(args) > 1 else kwargs["src"]
    target, key, value = args
    keys = key if isinstance(key, tuple) else (key,)
    is_basic = all(map(is_basic_key, keys)) and next(tensors_in(*keys), None) is None
    return (target[key] if is_basic else None), value


_SIZED_BY_VALUES = set(
    functions_named(
        "nonzero", "argwhere", "masked_select", "unique", "unique_consecutive", "bincount"
    )
)


def has_size_of_values(function: Function, args: Args) -> bool:
    """Whether the size of a call's result says something about values."""
    if function in (torch.where, torch.Tensor.where):
        return len(args) == 1
    if function is torch.Tensor.__getitem__:
        keys = tensors_in(args[1])
        return any(key.dtype in (torch.bool, torch.uint8) for key in keys)
    return function in _SIZED_BY_VALUES


def value_arguments(function: Function, args: Args, kwargs: Kwargs) -> tuple[object, ...]:
    """The arguments whose values a call reads: not those that only lend their shape."""
    row = TABLE.get(function)
    if row is not None and row.reads_first_only:
        return positional(args, kwargs)[0][:1]
    return (args, kwargs)


_WARN_OF_LAYOUT = set(functions_named("bucketize", "searchsorted"))


def warns_of_layout(function: Function) -> bool:
    """Whether torch warns the user where such a function reads maps stored channels last."""
    return function in _WARN_OF_LAYOUT


def batch_dim_of(function: Function) -> int:
    """The dimension of a call's result along which the images of a batch are."""
    row = TABLE.get(function)
    return 0 if row is None else row.batch_dim


def has_channels_last(function: Function) -> bool:
    """Whether a function works along the last dimension, which therefore holds the channels."""
    row = TABLE.get(function)
    return row is not None and row.channels_last


_IN_IMAGES: dict[Function, Operation | None] = {
    function: None for function, row in TABLE.items() if row.rank not in (None, IMAGE_RANK)
} | {F.conv1d: unlisted(call_motions.conv_1d)}
"""Windows along one axis or three in a network of images: they slide over channels or tokens."""


def operation_of(function: Function, rank: int) -> Operation | None:
    """The row of a function in a network whose input has so many axes."""
    if rank == IMAGE_RANK and function in _IN_IMAGES:
        return _IN_IMAGES[function]
    return TABLE.get(function)
