"""The table of operations: what each torch function is, and how it moves positions.

A new layer type is one row in `ROWS`. A row's `motion` takes a `Place` and then exactly the
parameters of the torch function, so that Python itself binds the call's arguments.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F

from retroscope.engine import call_motions
from retroscope.engine.motion import Mix, Motion, Place

Function = Callable[..., object]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Role(Enum):
    """What a rule book may give a rule of its own."""

    RECTIFIER = "rectifier"
    RESPONSE_NORM = "local response norm"


class Reading(Enum):
    """What an operation makes of its windows, so that a part of a map can be computed alone."""

    CONVOLUTION = "convolution"
    MAXIMUM = "maximum"
    MEAN = "mean"
    COPY = "copy"


@dataclass(frozen=True)
class Operation:
    """One row. `listed`: its outputs are a layer that users can name."""

    kind: str
    motion: Callable[..., Motion]
    role: Role | None = None
    reading: Reading | None = None
    listed: bool = True
    when: Callable[..., bool] | None = None

    def role_of(self, args: Args, kwargs: Kwargs) -> Role | None:
        """The role in this very call: `clamp` is a rectifier only where it clamps at zero."""
        if self.role is None or self.when is None:
            return self.role
        args, kwargs = positional(args, kwargs)
        return self.role if self.when(*args, **kwargs) else None

    def motion_of(self, place: Place, args: Args, kwargs: Kwargs) -> Motion:
        """How this very call moves positions; a call that the row does not know mixes them."""
        args, kwargs = positional(args, kwargs)
        try:
            bound = signature(self.motion).bind(place, *args, **kwargs)
        except TypeError:
            return Mix(
                f"{self.kind or 'an operation'} is called in a way that the table does not know"
            )
        return self.motion(*bound.args, **bound.kwargs)


def positional(args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """The same arguments under torch's own names, the first one in the first place."""
    kwargs = {_SYNONYMS.get(key, key): value for key, value in kwargs.items()}
    if args or not kwargs:
        return args, kwargs
    name = next((name for name in ("input", "self", "tensors") if name in kwargs), "")
    name = name or next(iter(kwargs))
    return (kwargs[name],), {key: value for key, value in kwargs.items() if key != name}


_SYNONYMS = {"axis": "dim", "keepdims": "keepdim"}


def named(*names: str) -> list[Function]:
    """The functions of these names, in-place twins too, in torch, its functional and Tensor."""
    twins = [name + tail for name in names for tail in ("", "_") if not name.endswith("__")]
    homes = (F, torch, torch.Tensor)
    wanted = [*twins, *(name for name in names if name.endswith("__"))]
    found = [getattr(home, name) for home in homes for name in wanted if hasattr(home, name)]
    return [function for function in found if callable(function)]


def _rectifier(kind: str, **more: Any) -> Operation:
    return Operation(kind, call_motions.stay, Role.RECTIFIER, **more)


def _silent(motion: Callable[..., Motion], reading: Reading | None = None) -> Operation:
    return Operation("", motion, reading=reading, listed=False)


ROWS: list[tuple[Operation, list[Function]]] = [
    (Operation("conv", call_motions.conv, reading=Reading.CONVOLUTION), [F.conv2d]),
    (Operation("pool", call_motions.max_pool, reading=Reading.MAXIMUM), named("max_pool2d")),
    (Operation("pool", call_motions.max_pool), [F.max_pool2d_with_indices]),
    (Operation("pool", call_motions.avg_pool, reading=Reading.MEAN), named("avg_pool2d")),
    (
        Operation("pool", call_motions.adaptive_pool, reading=Reading.MEAN),
        named("adaptive_avg_pool2d"),
    ),
    (
        Operation("pool", call_motions.adaptive_pool, reading=Reading.MAXIMUM),
        named("adaptive_max_pool2d"),
    ),
    (Operation("pool", call_motions.adaptive_pool), [F.adaptive_max_pool2d_with_indices]),
    (Operation("linear", call_motions.last_dim), named("linear")),
    (_rectifier("relu"), named("relu", "relu6", "leaky_relu", "rrelu", "prelu", "clamp_min")),
    (_rectifier("relu", when=call_motions.rises), named("hardtanh")),
    (
        Operation("relu", call_motions.combine, Role.RECTIFIER, when=call_motions.clamps_at_zero),
        named("clamp", "clip"),
    ),
    (_rectifier("relu", when=call_motions.thresholds_at_zero), named("threshold")),
    (_rectifier("elu"), named("elu", "celu", "selu")),
    (_rectifier("gelu"), named("gelu")),
    (_rectifier("silu"), named("silu")),
    (_rectifier("mish"), named("mish")),
    (_rectifier("hardswish"), named("hardswish")),
    (_rectifier("softplus"), named("softplus")),
    (Operation("sigmoid", call_motions.stay), named("sigmoid", "hardsigmoid", "logsigmoid")),
    (Operation("tanh", call_motions.stay), named("tanh", "softsign")),
    (Operation("softmax", call_motions.along_dim), named("softmax", "log_softmax")),
    (Operation("norm", call_motions.batch_norm), named("batch_norm")),
    (
        Operation("norm", call_motions.response_norm, Role.RESPONSE_NORM),
        named("local_response_norm"),
    ),
    (Operation("norm", call_motions.layer_norm), named("layer_norm", "rms_norm")),
    (Operation("norm", call_motions.gate), named("group_norm", "instance_norm")),
    (
        Operation("add", call_motions.combine),
        named("add", "sub", "subtract", "__radd__", "__rsub__", "rsub"),
    ),
    (
        Operation("mul", call_motions.combine),
        named("mul", "multiply", "div", "divide", "true_divide", "__rmul__", "__rdiv__"),
    ),
    (Operation("max", call_motions.combine), named("maximum", "minimum")),
    (_silent(call_motions.largest), [torch.max, torch.min, torch.Tensor.max, torch.Tensor.min]),
    (Operation("concat", call_motions.join), named("cat", "concat", "concatenate")),
    (Operation("mean", call_motions.reduce), named("mean", "sum", "amax", "amin")),
    (Operation("split", call_motions.part), named("chunk", "split")),
    (Operation("matmul", call_motions.matmul), named("matmul", "__matmul__")),
    (Operation("attention", call_motions.mix), [F.multi_head_attention_forward]),
    (_silent(call_motions.combine), named("masked_fill", "pow", "__pow__", "where", "addcmul")),
    (
        _silent(call_motions.stay),
        [
            *named("dropout", "dropout1d", "dropout2d", "alpha_dropout", "feature_alpha_dropout"),
            *named("clone", "detach", "contiguous", "neg", "abs", "exp", "log", "sqrt", "square"),
            *named("float", "double", "half", "bfloat16", "to", "type", "erf", "positive"),
            *named("requires_grad", "__neg__"),
        ],
    ),
    (_silent(call_motions.expand), named("expand", "expand_as")),
    (_silent(call_motions.pad, Reading.COPY), [F.pad]),
    (_silent(call_motions.permute), named("permute")),
    (_silent(call_motions.transpose), named("transpose", "swapaxes", "swapdims")),
    (_silent(call_motions.unsqueeze), named("unsqueeze")),
    (
        _silent(call_motions.reshape),
        named("view", "reshape", "flatten", "unflatten", "squeeze", "view_as"),
    ),
    (_silent(call_motions.index, Reading.COPY), [torch.Tensor.__getitem__]),
    (
        _silent(call_motions.mix),
        named("std", "var", "einsum", "bmm", "roll", "scaled_dot_product_attention"),
    ),
]

TABLE: dict[Function, Operation] = {
    function: operation for operation, functions in ROWS for function in functions
}

_ASKING = {
    *named("size", "dim", "numel", "nelement", "stride", "storage_offset", "is_contiguous"),
    *named("is_floating_point", "is_complex", "element_size", "get_device", "data_ptr"),
    torch.Tensor.ndimension,
    torch.Tensor.__len__,
    torch.Tensor.__hash__,
}


def asks_only(function: Function) -> bool:
    """Whether a function asks about a tensor's form: size, type, place, or an attribute."""
    return function in _ASKING or getattr(function, "__name__", "") == "__get__"


_MAKING = {
    *named("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"),
    *named("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"),
}


def is_itself(function: Function, args: Args) -> bool:
    """Whether a call only takes a view of a tensor as it is, as torch's backward hooks do."""
    return function is torch.Tensor.view_as and len(args) == 2 and args[0] is args[1]


def makes_anew(function: Function) -> bool:
    """Whether a function takes from a tensor only its form, never its numbers."""
    return function in _MAKING


def channels_stand_last(function: Function) -> bool:
    """Whether a function works along the last dimension, so that channels are found there."""
    row = TABLE.get(function)
    return row is not None and row.motion in (call_motions.last_dim, call_motions.layer_norm)


def name_of(function: Function) -> str:
    """What people call a torch function."""
    return str(torch.overrides.resolve_name(function) or getattr(function, "__name__", function))


def with_tensors(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same arguments with every tensor in them changed; only plain lists are looked into."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(with_tensors(one, change) for one in value)
    if isinstance(value, dict):
        return {key: with_tensors(one, change) for key, one in value.items()}
    return value


def with_others(value: Any, others: Mapping[int, torch.Tensor]) -> Any:
    """The same arguments with other tensors, by the identity of those that they replace."""
    return with_tensors(value, lambda one: others.get(id(one), one))


def tensors_in(*values: object) -> Iterator[torch.Tensor]:
    """Every tensor in these arguments or results, also inside lists, tuples and mappings."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(*value)
        elif isinstance(value, dict):
            yield from tensors_in(*value.values())
