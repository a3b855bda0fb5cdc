"""The table of operations: what each torch function is, and how it moves positions.

A new layer type is one row in `ROWS`. A row's `motion` takes a `Place` and then exactly the
parameters of the torch function, so Python itself binds the call's arguments.
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
    """What a rule book can have a rule for."""

    RECTIFIER = "rectifier"
    RESPONSE_NORM = "local response norm"


class WindowReduction(Enum):
    """How a window operation reduces its windows, for computing a part of a map alone."""

    CONVOLUTION = "convolution"
    MAXIMUM = "maximum"
    MEAN = "mean"
    COPY = "copy"


@dataclass(frozen=True)
class Operation:
    """One row of the table.

    `kind` is what its layers are called, if it `is_layer`. `active` decides for a single call
    whether it plays its role: `clamp` is a rectifier only where it clamps at zero.
    `channels_last`: it works along the last dimension, which therefore holds the channels.
    `has_size_arguments`: its arguments contain the size of the result. `reads_first_only`: further
    tensors lend their shape or type, never their values. `repeats`: it repeats values along
    dimensions of length 1.
    """

    kind: str
    motion: Callable[..., Motion]
    role: Role | None = None
    reduction: WindowReduction | None = None
    is_layer: bool = True
    active: Callable[..., bool] | None = None
    channels_last: bool = False
    has_size_arguments: bool = False
    reads_first_only: bool = False
    repeats: bool = False

    def role_of(self, args: Args, kwargs: Kwargs) -> Role | None:
        """The role that the operation plays in this call."""
        if self.role is None or self.active is None:
            return self.role
        args, kwargs = positional(args, kwargs)
        return self.role if self.active(*args, **kwargs) else None

    def motion_of(self, place: Place, args: Args, kwargs: Kwargs) -> Motion:
        """How this call moves positions. A call that does not fit the row mixes them."""
        args, kwargs = positional(args, kwargs)
        try:
            bound = signature(self.motion).bind(place, *args, **kwargs)
        except TypeError:
            return Mix(
                f"{self.kind or 'an operation'} is called in a way that the table does not know"
            )
        return self.motion(*bound.args, **bound.kwargs)


def positional(args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """The same arguments under torch's own names, the input in the first place."""
    kwargs = {_SYNONYMS.get(key, key): value for key, value in kwargs.items()}
    if args or not kwargs:
        return args, kwargs
    first = next((name for name in ("input", "self", "tensors") if name in kwargs), "")
    first = first or next(iter(kwargs))
    return (kwargs[first],), {key: value for key, value in kwargs.items() if key != first}


_SYNONYMS = {"axis": "dim", "keepdims": "keepdim"}


def functions_named(*names: str) -> list[Function]:
    """The functions of these names in torch, torch.nn.functional and Tensor, also in place."""
    suffixed = [name + tail for name in names for tail in ("", "_") if not name.endswith("__")]
    all_names = [*suffixed, *(name for name in names if name.endswith("__"))]
    homes = (F, torch, torch.Tensor)
    members = [getattr(home, name, None) for home in homes for name in all_names]
    return [member for member in members if callable(member)]


def _rectifier(kind: str, active: Callable[..., bool] | None = None) -> Operation:
    return Operation(kind, call_motions.stay, Role.RECTIFIER, active=active)


def _unlisted(
    motion: Callable[..., Motion],
    reduction: WindowReduction | None = None,
    *,
    has_size_arguments: bool = False,
    reads_first_only: bool = False,
    repeats: bool = False,
) -> Operation:
    """An operation whose outputs are not a layer."""
    return Operation(
        "",
        motion,
        reduction=reduction,
        is_layer=False,
        has_size_arguments=has_size_arguments,
        reads_first_only=reads_first_only,
        repeats=repeats,
    )


ROWS: list[tuple[Operation, list[Function]]] = [
    (Operation("conv", call_motions.conv, reduction=WindowReduction.CONVOLUTION), [F.conv2d]),
    (
        Operation("pool", call_motions.max_pool, reduction=WindowReduction.MAXIMUM),
        functions_named("max_pool2d"),
    ),
    (Operation("pool", call_motions.max_pool), [F.max_pool2d_with_indices]),
    (
        Operation("pool", call_motions.avg_pool, reduction=WindowReduction.MEAN),
        functions_named("avg_pool2d"),
    ),
    (
        Operation("pool", call_motions.adaptive_pool, reduction=WindowReduction.MEAN),
        functions_named("adaptive_avg_pool2d"),
    ),
    (
        Operation("pool", call_motions.adaptive_pool, reduction=WindowReduction.MAXIMUM),
        functions_named("adaptive_max_pool2d"),
    ),
    (Operation("pool", call_motions.adaptive_pool), [F.adaptive_max_pool2d_with_indices]),
    (Operation("linear", call_motions.last_dim, channels_last=True), functions_named("linear")),
    (
        _rectifier("relu"),
        functions_named("relu", "relu6", "leaky_relu", "rrelu", "prelu"),
    ),
    (_rectifier("relu", active=call_motions.clamps_from_zero), functions_named("hardtanh")),
    (
        Operation("relu", call_motions.combine, Role.RECTIFIER, active=call_motions.clamps_at_zero),
        functions_named("clamp", "clip", "clamp_min"),
    ),
    (_rectifier("relu", active=call_motions.thresholds_at_zero), functions_named("threshold")),
    (_rectifier("elu"), functions_named("elu", "celu", "selu")),
    (_rectifier("gelu"), functions_named("gelu")),
    (_rectifier("silu"), functions_named("silu")),
    (_rectifier("mish"), functions_named("mish")),
    (_rectifier("hardswish"), functions_named("hardswish")),
    (_rectifier("softplus"), functions_named("softplus")),
    (
        Operation("sigmoid", call_motions.stay),
        functions_named("sigmoid", "hardsigmoid", "logsigmoid"),
    ),
    (Operation("tanh", call_motions.stay), functions_named("tanh", "softsign")),
    (Operation("softmax", call_motions.along_dim), functions_named("softmax", "log_softmax")),
    (Operation("norm", call_motions.batch_norm), functions_named("batch_norm")),
    (
        Operation("norm", call_motions.response_norm, Role.RESPONSE_NORM),
        functions_named("local_response_norm"),
    ),
    (
        Operation("norm", call_motions.layer_norm, channels_last=True),
        functions_named("layer_norm", "rms_norm"),
    ),
    (Operation("norm", call_motions.gate), functions_named("group_norm", "instance_norm")),
    (
        Operation("add", call_motions.combine),
        functions_named("add", "sub", "subtract", "__radd__", "__rsub__", "rsub"),
    ),
    (
        Operation("mul", call_motions.combine),
        functions_named("mul", "multiply", "div", "divide", "true_divide", "__rmul__", "__rdiv__"),
    ),
    (Operation("max", call_motions.combine), functions_named("maximum", "minimum")),
    (_unlisted(call_motions.largest), [torch.max, torch.min, torch.Tensor.max, torch.Tensor.min]),
    (Operation("concat", call_motions.join), functions_named("cat", "concat", "concatenate")),
    (Operation("mean", call_motions.reduce), functions_named("mean", "sum", "amax", "amin")),
    (Operation("split", call_motions.split_channels), functions_named("chunk", "split")),
    (Operation("matmul", call_motions.matmul), functions_named("matmul", "__matmul__")),
    (Operation("attention", call_motions.mix), [F.multi_head_attention_forward]),
    (
        _unlisted(call_motions.combine),
        functions_named("masked_fill", "pow", "__pow__", "where", "addcmul"),
    ),
    (
        _unlisted(call_motions.stay),
        [
            *functions_named(
                "dropout", "dropout1d", "dropout2d", "alpha_dropout", "feature_alpha_dropout"
            ),
            *functions_named(
                "clone", "detach", "contiguous", "neg", "abs", "exp", "log", "sqrt", "square"
            ),
            *functions_named(
                "float", "double", "half", "bfloat16", "to", "type", "erf", "positive"
            ),
            *functions_named("requires_grad", "__neg__"),
        ],
    ),
    (
        _unlisted(call_motions.expand, has_size_arguments=True, repeats=True),
        functions_named("expand"),
    ),
    (
        _unlisted(
            call_motions.expand, has_size_arguments=True, repeats=True, reads_first_only=True
        ),
        functions_named("expand_as"),
    ),
    (_unlisted(call_motions.pad, WindowReduction.COPY), [F.pad]),
    (_unlisted(call_motions.permute), functions_named("permute")),
    (_unlisted(call_motions.transpose), functions_named("transpose", "swapaxes", "swapdims")),
    (_unlisted(call_motions.unsqueeze), functions_named("unsqueeze")),
    (
        _unlisted(call_motions.reshape, has_size_arguments=True),
        functions_named("view", "reshape", "flatten", "unflatten", "squeeze"),
    ),
    (
        _unlisted(call_motions.reshape, has_size_arguments=True, reads_first_only=True),
        functions_named("view_as", "reshape_as"),
    ),
    (_unlisted(call_motions.stay, reads_first_only=True), functions_named("type_as")),
    (_unlisted(call_motions.index, WindowReduction.COPY), [torch.Tensor.__getitem__]),
    (
        _unlisted(call_motions.mix),
        functions_named("std", "var", "einsum", "bmm", "roll", "scaled_dot_product_attention"),
    ),
]

TABLE: dict[Function, Operation] = {
    function: operation for operation, functions in ROWS for function in functions
}

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
    return function in _QUERIES or getattr(function, "__name__", "") == "__get__"


_CREATORS = {
    *functions_named("zeros_like", "ones_like", "empty_like", "full_like", "rand_like"),
    *functions_named("randn_like", "new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"),
}


def is_identity(function: Function, args: Args) -> bool:
    """Whether a call is `x.view_as(x)`, which torch's backward hooks insert."""
    return function is torch.Tensor.view_as and len(args) == 2 and args[0] is args[1]


def creates_from_shape(function: Function) -> bool:
    """Whether a function reads only the shape and type of a tensor, never its values."""
    return function in _CREATORS


def value_arguments(function: Function, args: Args, kwargs: Kwargs) -> tuple[object, ...]:
    """The arguments whose values a call reads: not those that only lend their shape."""
    row = TABLE.get(function)
    if row is not None and row.reads_first_only:
        return positional(args, kwargs)[0][:1]
    return (args, kwargs)


def has_channels_last(function: Function) -> bool:
    """Whether a function works along the last dimension, which therefore holds the channels."""
    row = TABLE.get(function)
    return row is not None and row.channels_last


def name_of(function: Function) -> str:
    """The name under which torch documents a function."""
    return str(torch.overrides.resolve_name(function) or getattr(function, "__name__", function))


def with_tensors(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same arguments with every tensor changed, also inside plain lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(with_tensors(element, change) for element in value)
    if isinstance(value, dict):
        return {key: with_tensors(element, change) for key, element in value.items()}
    return value


def with_others(value: Any, replacements: Mapping[int, torch.Tensor]) -> Any:
    """The same arguments with tensors replaced, keyed by the `id` of the tensor replaced."""
    return with_tensors(value, lambda tensor: replacements.get(id(tensor), tensor))


def tensors_in(*values: object) -> Iterator[torch.Tensor]:
    """Every tensor in these arguments or results, also inside lists, tuples and dicts."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(*value)
        elif isinstance(value, dict):
            yield from tensors_in(*value.values())
