"""The table of operations: what each torch function is, and how it moves positions.

A new layer type is one row in `ROWS`. A row's `motion` takes a `Place` and then exactly the
parameters of the torch function, so Python itself binds the call's arguments.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from inspect import signature
from itertools import chain

import torch
import torch.nn.functional as F

from retroscope.engine import call_motions, resample_motions, shape_motions
from retroscope.engine.call_arguments import Args, Function, Kwargs, positional
from retroscope.engine.motion import Mix, Motion, Place, beside


class Role(Enum):
    """What a rule book can have a rule for."""

    LINEAR = "linear operation with weights"
    RECTIFIER = "rectifier"
    BATCH_NORM = "batch norm"
    LAYER_NORM = "layer norm"
    RESPONSE_NORM = "local response norm"
    PRODUCT = "product"
    SQUASHER = "function into the interval from 0 to 1"
    SOFTMAX = "softmax"
    MATRIX_PRODUCT = "matrix product"
    ATTENTION = "attention"


class WindowReduction(Enum):
    """How a window operation reduces its windows, for computing a part of a map alone."""

    CONVOLUTION = "convolution"
    MAXIMUM = "maximum"
    MEAN = "mean"
    COPY = "copy"
    SLICE = "slice"
    PADDING = "padding"
    UNSHUFFLE = "pixel unshuffle"


@dataclass(frozen=True)
class Operation:
    """One row of the table.

    `kind` is what its layers are called, if it `is_layer`. `active` decides for a single call
    whether it plays its role: `clamp` is a rectifier only where it clamps at zero.
    `rank`: the number of axes of its windows, if they have one. `channels_last`: it works along the
    last dimension, which therefore holds the channels.
    `has_size_arguments`: its arguments contain the size of the result. `reads_first_only`: further
    tensors lend their shape or type, never their values. `repeats`: it repeats values along
    dimensions of length 1. `keeps_values`: its result is its input in another layout or type.
    `batch_dim`: the dimension of its result along which the images of a batch are.
    """

    kind: str
    motion: Callable[..., Motion]
    role: Role | None = None
    reduction: WindowReduction | None = None
    is_layer: bool = True
    active: Callable[..., bool] | None = None
    rank: int | None = None
    channels_last: bool = False
    has_size_arguments: bool = False
    reads_first_only: bool = False
    repeats: bool = False
    keeps_values: bool = False
    batch_dim: int = 0

    @property
    def is_view(self) -> bool:
        """Whether its result may share the memory of its input."""
        return self.has_size_arguments or self.reduction is WindowReduction.SLICE

    @property
    def is_linear(self) -> bool:
        """Whether it is a linear operation with weights, such as a convolution."""
        return self.role is Role.LINEAR

    def role_of(self, args: Args, kwargs: Kwargs) -> Role | None:
        """The role that the operation plays in this call."""
        if self.role is None or self.active is None:
            return self.role
        args, kwargs = positional(args, kwargs)
        return self.role if self.active(*args, **kwargs) else None

    def motion_of(self, place: Place, args: Args, kwargs: Kwargs, *, function: str = "") -> Motion:
        """How this call moves positions. A call that does not fit the row mixes them.

        `function` is what the note calls it.
        """
        extra = 0 if self.rank is None else place.rank - self.rank
        if extra > 0:
            inner = place.in_slices(extra)
            motion = inner and self.motion_of(inner, args, kwargs, function=function)
            return beside(motion or Mix(), place.lengths[:extra])
        if extra < 0:
            return Mix()
        args, kwargs = positional(args, kwargs)
        try:
            bound = signature(self.motion).bind(place, *args, **kwargs)
        except TypeError:
            name = function or self.kind
            return Mix(f"{name} is called in a way that the table does not know")
        return self.motion(*bound.args, **bound.kwargs)


_HOMES, _METHODS_ONLY = (F, torch, torch.Tensor), (torch.Tensor,)


def functions_named(*names: str) -> list[Function]:
    """The functions of these names in torch, torch.nn.functional and Tensor, also in place."""
    suffixed = [name + tail for name in names for tail in ("", "_") if not name.endswith("__")]
    all_names = [*suffixed, *(name for name in names if name.endswith("__"))]
    members = [
        getattr(home, name, None)
        for name in all_names
        for home in (_METHODS_ONLY if name.startswith("__") else _HOMES)
    ]
    return [member for member in members if callable(member)]


def _getter(name: str) -> Function:
    """What torch calls when an attribute of a tensor is read."""
    getter: Function = getattr(torch.Tensor, name).__get__
    return getter


_VECTOR_NORMS = [torch.linalg.norm, torch.linalg.vector_norm]


def _rectifier(kind: str, active: Callable[..., bool] | None = None) -> Operation:
    return Operation(kind, call_motions.stay, Role.RECTIFIER, active=active)


def unlisted(
    motion: Callable[..., Motion],
    reduction: WindowReduction | None = None,
    *,
    has_size_arguments: bool = False,
    reads_first_only: bool = False,
    repeats: bool = False,
    keeps_values: bool = False,
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
        keeps_values=keeps_values,
    )


def _window_rows(rank: int) -> Iterator[tuple[Operation, list[Function]]]:
    """The operations whose windows slide along so many axes."""

    def named(name: str) -> list[Function]:
        return functions_named(f"{name}{rank}d")

    def with_indices(name: str) -> list[Function]:
        return [getattr(F, f"{name}{rank}d_with_indices")]

    def row(
        kind: str,
        motion: Callable[..., Motion],
        role: Role | None = None,
        reduction: WindowReduction | None = None,
    ) -> Operation:
        return Operation(kind, motion, role, reduction, rank=rank)

    convolution, maximum, mean = (
        WindowReduction.CONVOLUTION,
        WindowReduction.MAXIMUM,
        WindowReduction.MEAN,
    )
    adaptive = resample_motions.adaptive_pool
    yield row("conv", call_motions.conv, Role.LINEAR, convolution), [getattr(F, f"conv{rank}d")]
    yield (
        row("conv", resample_motions.conv_transpose, Role.LINEAR),
        [getattr(F, f"conv_transpose{rank}d")],
    )
    yield row("pool", call_motions.max_pool, None, maximum), named("max_pool")
    yield row("pool", call_motions.max_pool), with_indices("max_pool")
    yield row("pool", call_motions.avg_pool, None, mean), named("avg_pool")
    yield row("pool", adaptive, None, mean), named("adaptive_avg_pool")
    yield row("pool", adaptive, None, maximum), named("adaptive_max_pool")
    yield row("pool", adaptive), with_indices("adaptive_max_pool")


ROWS: list[tuple[Operation, list[Function]]] = [
    *chain.from_iterable(map(_window_rows, (1, 2, 3))),
    (
        Operation("linear", call_motions.last_dim, Role.LINEAR, channels_last=True),
        functions_named("linear"),
    ),
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
        Operation("sigmoid", call_motions.stay, Role.SQUASHER),
        functions_named("sigmoid", "hardsigmoid"),
    ),
    (Operation("sigmoid", call_motions.stay), functions_named("logsigmoid")),
    (Operation("tanh", call_motions.stay), functions_named("tanh", "softsign")),
    (Operation("softmax", call_motions.along_dim, Role.SOFTMAX), functions_named("softmax")),
    (Operation("softmax", call_motions.along_dim), functions_named("log_softmax")),
    (Operation("norm", call_motions.batch_norm, Role.BATCH_NORM), functions_named("batch_norm")),
    (
        Operation("norm", call_motions.response_norm, Role.RESPONSE_NORM),
        functions_named("local_response_norm"),
    ),
    (
        Operation("norm", call_motions.layer_norm, Role.LAYER_NORM, channels_last=True),
        functions_named("layer_norm"),
    ),
    (Operation("norm", call_motions.layer_norm, channels_last=True), functions_named("rms_norm")),
    (Operation("norm", call_motions.gate), functions_named("group_norm", "instance_norm")),
    (
        Operation("add", call_motions.combine),
        functions_named("add", "sub", "subtract", "__radd__", "__rsub__", "rsub"),
    ),
    (
        Operation("mul", call_motions.combine, Role.PRODUCT),
        functions_named("mul", "multiply", "__rmul__"),
    ),
    (
        Operation("mul", call_motions.combine),
        functions_named("div", "divide", "true_divide", "__rdiv__"),
    ),
    (Operation("max", call_motions.combine), functions_named("maximum", "minimum")),
    (unlisted(call_motions.largest), [torch.max, torch.min, torch.Tensor.max, torch.Tensor.min]),
    (Operation("concat", call_motions.join), functions_named("cat", "concat", "concatenate")),
    (
        Operation("mean", call_motions.reduce),
        functions_named("mean", "sum", "amax", "amin", "prod", "nanmean", "nansum", "logsumexp"),
    ),
    (
        unlisted(call_motions.reduce),
        functions_named(
            *("std", "var", "std_mean", "var_mean", "median", "all", "any", "argmax", "argmin"),
            *("count_nonzero", "aminmax", "mode"),
        ),
    ),
    (unlisted(call_motions.norm), [*functions_named("norm"), *_VECTOR_NORMS]),
    (unlisted(call_motions.normalize), [F.normalize]),
    (unlisted(call_motions.similarity), [F.cosine_similarity, torch.cosine_similarity]),
    (
        Operation("split", call_motions.split_channels),
        functions_named(
            "chunk", "split", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split"
        ),
    ),
    (
        Operation("matmul", call_motions.matmul, Role.MATRIX_PRODUCT),
        functions_named("matmul", "__matmul__"),
    ),
    (
        Operation("attention", call_motions.multi_head_attention, Role.ATTENTION, batch_dim=1),
        [F.multi_head_attention_forward],
    ),
    (
        Operation("attention", call_motions.attention, Role.ATTENTION),
        [F.scaled_dot_product_attention],
    ),
    (
        unlisted(call_motions.combine),
        functions_named(
            *("masked_fill", "pow", "__pow__", "__rpow__", "float_power"),
            *("addcmul", "addcdiv", "lerp", "fmod", "remainder", "floor_divide", "atan2"),
            *("__mod__", "__rmod__", "__floordiv__", "__rfloordiv__", "clamp_max"),
            *("fmax", "fmin", "hypot", "copysign", "logaddexp", "xlogy", "isclose"),
            *("gt", "ge", "lt", "le", "eq", "ne", "greater", "greater_equal", "less"),
            *("less_equal", "not_equal", "__eq__", "__ne__"),
            *("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or"),
            *("__and__", "__or__", "__xor__", "__rand__", "__ror__", "__rxor__"),
        ),
    ),
    (
        unlisted(call_motions.stay),
        functions_named(
            *("neg", "negative", "__neg__", "abs", "absolute", "exp", "int", "long", "bool"),
            *("exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "square"),
            *("reciprocal", "sign", "sgn", "round", "floor", "ceil", "trunc", "fix", "frac"),
            *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh"),
            *("atanh", "erf", "erfc", "erfinv", "logit", "nan_to_num", "sinc", "lgamma"),
            *("isnan", "isinf", "isfinite", "logical_not", "bitwise_not", "__invert__"),
            *("hardshrink", "softshrink", "tanhshrink", "deg2rad", "rad2deg"),
        ),
    ),
    (
        unlisted(call_motions.stay, keeps_values=True, reads_first_only=True),
        [
            *functions_named(
                *("dropout", "dropout1d", "dropout2d", "dropout3d"),
                *("alpha_dropout", "feature_alpha_dropout"),
                *("clone", "detach", "contiguous", "positive", "requires_grad", "cpu", "cuda"),
                *("float", "double", "half", "bfloat16", "to", "type", "type_as"),
            ),
            _getter("data"),
        ],
    ),
    (
        unlisted(call_motions.along_dim),
        functions_named("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin", "softmin"),
    ),
    (unlisted(call_motions.pick_along_dim), functions_named("index_select")),
    (unlisted(call_motions.where), functions_named("where")),
    (unlisted(call_motions.along_last_dim), functions_named("sort", "argsort", "glu")),
    (unlisted(call_motions.select_along_dim), functions_named("topk", "kthvalue")),
    (unlisted(call_motions.along_dims), functions_named("flip")),
    (unlisted(call_motions.roll), functions_named("roll")),
    (
        unlisted(call_motions.channel_shuffle),
        functions_named("channel_shuffle", "native_channel_shuffle"),
    ),
    (
        unlisted(shape_motions.expand, has_size_arguments=True, repeats=True),
        functions_named("expand", "broadcast_to", "repeat", "tile"),
    ),
    (
        unlisted(
            shape_motions.expand, has_size_arguments=True, repeats=True, reads_first_only=True
        ),
        functions_named("expand_as"),
    ),
    (unlisted(shape_motions.repeat_interleave), functions_named("repeat_interleave")),
    (unlisted(resample_motions.pad, WindowReduction.PADDING), [F.pad]),
    (unlisted(resample_motions.interpolate, WindowReduction.COPY), [F.interpolate]),
    (unlisted(resample_motions.pixel_shuffle), functions_named("pixel_shuffle")),
    (
        unlisted(resample_motions.pixel_unshuffle, WindowReduction.UNSHUFFLE),
        functions_named("pixel_unshuffle"),
    ),
    (unlisted(shape_motions.permute, keeps_values=True), functions_named("permute")),
    (
        unlisted(shape_motions.transpose, keeps_values=True),
        functions_named("transpose", "swapaxes", "swapdims"),
    ),
    (
        unlisted(shape_motions.swap_last_dims, keeps_values=True),
        [_getter("mT"), _getter("mH"), *functions_named("adjoint")],
    ),
    (unlisted(shape_motions.move_dims, keeps_values=True), functions_named("movedim", "moveaxis")),
    (unlisted(shape_motions.unsqueeze), functions_named("unsqueeze")),
    (
        unlisted(shape_motions.reshape, has_size_arguments=True),
        functions_named("view", "reshape", "flatten", "unflatten", "squeeze"),
    ),
    (
        unlisted(shape_motions.reshape, has_size_arguments=True, reads_first_only=True),
        functions_named("view_as", "reshape_as"),
    ),
    (unlisted(shape_motions.index, WindowReduction.SLICE), [torch.Tensor.__getitem__]),
    (unlisted(shape_motions.narrow, WindowReduction.SLICE), functions_named("narrow")),
    (unlisted(shape_motions.select), functions_named("select")),
    (unlisted(shape_motions.unbind), functions_named("unbind")),
    (unlisted(shape_motions.stack), functions_named("stack")),
    (unlisted(shape_motions.unfold), [torch.Tensor.unfold]),
    (unlisted(shape_motions.list_windows), [F.unfold, F.fold]),
    (unlisted(call_motions.einsum), functions_named("einsum")),
    (
        Operation("", call_motions.batched_matmul, Role.MATRIX_PRODUCT, is_layer=False),
        functions_named("bmm"),
    ),
    (unlisted(call_motions.mix), functions_named("rot90", "msort")),
]

TABLE: dict[Function, Operation] = {
    function: operation for operation, functions in ROWS for function in functions
}


def name_of(function: Function) -> str:
    """The name under which torch documents a function."""
    return str(torch.overrides.resolve_name(function) or getattr(function, "__name__", function))
