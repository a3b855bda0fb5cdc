"""Example calls of what works element by element, on one tensor or several."""

from typing import Any

import torch
from torch import Tensor

from tests.laws.drafting import Draft
from tests.laws.operands import (
    Arguments,
    Example,
    alone,
    constant_of_the_pass,
    either_way,
    mask_for,
    operand_for,
    same_shape,
    tensor_operand,
)


def _positive(draft: Draft) -> Arguments:
    return {"input": draft.call(torch.abs, draft.call(torch.add, draft.tensor(), 0.1))}


def _above_one(draft: Draft) -> Arguments:
    return {"input": draft.call(torch.add, _positive(draft)["input"], 1.0)}


def _squashed(draft: Draft) -> Arguments:
    return {"input": draft.call(torch.mul, draft.call(torch.tanh, draft.tensor()), 0.9)}


def _with_share(draft: Draft) -> Arguments:
    return {"input": draft.call(torch.sigmoid, draft.tensor())}


def _one_mask(draft: Draft) -> Arguments:
    return {"input": draft.call(torch.gt, draft.tensor(), 0)}


def _in_place_option(draft: Draft) -> Arguments:
    return alone(draft) | ({"inplace": draft.chance()} if draft.chance() else {})


def _with(**numbers: Any) -> Example:
    """A tensor and then these numbers, of which the last ones may be missing."""

    def write(draft: Draft) -> Arguments:
        count = draft.whole(0, len(numbers))
        return alone(draft) | dict(list(numbers.items())[:count])

    return write


def _all_of(**numbers: Any) -> Example:
    return lambda draft: alone(draft) | numbers


def _dropout(draft: Draft) -> Arguments:
    return {"input": draft.tensor(), "*": [0.5, False]}


def _type(draft: Draft) -> Arguments:
    return alone(draft) | {"dtype": torch.float64}


def _to(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "*": [draft.choice(torch.float64, "cpu", same_shape(draft, x))]}


def _two(first: str, second: str) -> Example:
    def write(draft: Draft) -> Arguments:
        return dict(zip((first, second), either_way(draft), strict=True))

    return write


def _division(draft: Draft) -> Arguments:
    x, divisor = either_way(draft)
    if isinstance(divisor, Tensor):
        divisor = draft.call(torch.add, draft.call(torch.abs, divisor), 0.5)
    return {"input": x, "other": divisor}


def _addition(draft: Draft) -> Arguments:
    return _two("input", "other")(draft) | ({"alpha": 2} if draft.chance(0.2) else {})


def _reverse_division(draft: Draft) -> Arguments:
    return {"input": _positive(draft)["input"], "other": 1.5}


def _power(draft: Draft) -> Arguments:
    x = draft.call(torch.add, draft.call(torch.abs, draft.tensor()), 0.1)
    if draft.chance(0.3):
        return {"self": draft.choice(2.0, draft.constant(*x.shape, positive=True)), "exponent": x}
    return {"input": x, "exponent": draft.choice(2, 0.5, draft.call(torch.tanh, draft.tensor()))}


def _clamp(draft: Draft) -> Arguments:
    x = draft.tensor()
    if draft.chance():
        return {"input": x, "min": draft.choice(0, 0.0, -0.5), "max": draft.choice(None, 1.0)}
    return {"input": x, "min": tensor_operand(draft, x), "max": draft.choice(None, x)}


def _clamp_min(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "min": draft.choice(0, 0.5, operand_for(draft, x))}


def _extreme(draft: Draft) -> Arguments:
    if draft.chance():
        return _two("input", "other")(draft)
    x = draft.tensor()
    return {"input": x, "dim": draft.dim(x), "keepdim": draft.chance()}


def _comparison(draft: Draft) -> Arguments:
    x, other = either_way(draft)
    return {"input": x, "*": [other]}


def _two_masks(draft: Draft) -> Arguments:
    x = draft.tensor()
    first, second = mask_for(draft, x), draft.call(torch.gt, x, 0)
    return (
        {"input": first, "other": second} if draft.chance() else {"input": second, "other": first}
    )


def _similarity(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"x1": x, "x2": tensor_operand(draft, x), "dim": draft.dim(x)}


def _interpolation_of_two(draft: Draft) -> Arguments:
    x = draft.tensor()
    ends = draft.shuffle([x, tensor_operand(draft, x)])
    weight = draft.choice(0.3, tensor_operand(draft, x))
    return {"input": ends[0], "end": ends[1], "weight": weight}


def _addcdiv(draft: Draft) -> Arguments:
    arguments = _addcmul(draft)
    divisor = draft.call(torch.add, draft.call(torch.abs, arguments["tensor2"]), 0.5)
    return arguments | {"tensor2": divisor}


def _reverse_power(draft: Draft) -> Arguments:
    return {"input": draft.call(torch.tanh, draft.tensor()), "*": [2.0]}


def _clamp_max(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "max": draft.choice(0, 0.5, operand_for(draft, x))}


def _masked_fill(draft: Draft) -> Arguments:
    x = draft.tensor()
    first = x if draft.chance(0.7) else constant_of_the_pass(draft, x)
    return {"input": first, "mask": mask_for(draft, x), "value": draft.choice(0.5, -1.0)}


def _where(draft: Draft) -> Arguments:
    x, other = either_way(draft)
    main = x if isinstance(x, Tensor) else other
    return {"condition": mask_for(draft, main), "input": x, "other": other}


def _where_method(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"self": x, "condition": mask_for(draft, x), "other": operand_for(draft, x)}


def _addcmul(draft: Draft) -> Arguments:
    x = draft.tensor()
    parts = [x, tensor_operand(draft, x), tensor_operand(draft, x)]
    parts = draft.shuffle(parts)
    return dict(zip(("input", "tensor1", "tensor2"), parts, strict=True)) | {"value": 0.5}


def _type_as(draft: Draft) -> Arguments:
    return {"input": draft.tensor(), "other": draft.tensor()}


_ALONE = [
    "sigmoid", "logsigmoid", "tanh", "softsign", "clone", "detach", "contiguous", "neg", "abs",
    "square", "float", "double", "half", "bfloat16", "erf", "positive", "__neg__", "relu", "selu",
    "requires_grad", "negative", "absolute", "sign", "sgn", "round", "floor", "ceil", "trunc",
    "fix", "frac", "sin", "cos", "atan", "asinh", "erfc", "nan_to_num", "sinc", "isnan", "isinf",
    "isfinite", "hardshrink", "softshrink", "tanhshrink", "deg2rad", "rad2deg", "int", "long",
    "bool", "cpu", "cuda", "adjoint", "msort", "mT", "mH", "data", "logical_not",
]  # fmt: skip
_IN_PLACE_RECTIFIERS = ["relu6", "silu", "mish", "hardswish", "hardsigmoid"]

ELEMENTWISE_CALLS: dict[str, Example] = {
    **dict.fromkeys(_IN_PLACE_RECTIFIERS, _in_place_option),
    **dict.fromkeys(_ALONE, alone),
    **dict.fromkeys(["log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal"], _positive),
    **dict.fromkeys(["acosh", "lgamma"], _above_one),
    **dict.fromkeys(["exp", "exp2", "expm1", "sinh", "cosh", "tan"], _squashed),
    **dict.fromkeys(["asin", "acos", "atanh", "erfinv"], _squashed),
    "logit": _with_share,
    **dict.fromkeys(["bitwise_not", "__invert__"], _one_mask),
    "leaky_relu": _with(negative_slope=0.1),
    "rrelu": _with(lower=0.1, upper=0.3, training=False),
    "hardtanh": _with(min_val=0.0, max_val=1.0),
    "threshold": _all_of(threshold=0.0, value=0.0),
    "elu": _with(alpha=0.7),
    "celu": _with(alpha=0.7),
    "gelu": alone,
    "softplus": _with(beta=2),
    **dict.fromkeys(["clamp", "clip"], _clamp),
    "clamp_min": _clamp_min,
    **dict.fromkeys(["add", "sub", "subtract", "rsub"], _addition),
    **dict.fromkeys(["mul", "multiply", "maximum", "minimum"], _two("input", "other")),
    **dict.fromkeys(["__radd__", "__rsub__", "__rmul__"], _two("input", "other")),
    **dict.fromkeys(["div", "divide", "true_divide"], _division),
    **dict.fromkeys(["__rdiv__", "__rtruediv__"], _reverse_division),
    **dict.fromkeys(["max", "min"], _extreme),
    "masked_fill": _masked_fill,
    **dict.fromkeys(["pow", "__pow__"], _power),
    "where": lambda draft: draft.choice(_where, _where_method)(draft),
    "addcmul": _addcmul,
    **dict.fromkeys(["dropout", "alpha_dropout", "feature_alpha_dropout"], _dropout),
    **dict.fromkeys(["dropout1d", "dropout2d", "dropout3d"], _dropout),
    "to": _to,
    "type": _type,
    "type_as": _type_as,
    "cosine_similarity": _similarity,
    **dict.fromkeys(["float_power", "__rpow__"], _reverse_power),
    "addcdiv": _addcdiv,
    "lerp": _interpolation_of_two,
    **dict.fromkeys(["fmod", "remainder", "floor_divide", "__mod__", "__floordiv__"], _division),
    **dict.fromkeys(["__rmod__", "__rfloordiv__"], _reverse_division),
    **dict.fromkeys(["atan2", "fmax", "fmin", "hypot", "copysign"], _two("input", "other")),
    **dict.fromkeys(["logaddexp", "isclose"], _two("input", "other")),
    "xlogy": _division,
    "clamp_max": _clamp_max,
    **dict.fromkeys(["gt", "ge", "lt", "le", "eq", "ne", "greater", "less"], _comparison),
    **dict.fromkeys(["greater_equal", "less_equal", "not_equal", "__eq__", "__ne__"], _comparison),
    **dict.fromkeys(["logical_and", "logical_or", "logical_xor"], _two_masks),
    **dict.fromkeys(["bitwise_and", "bitwise_or"], _two_masks),
    **dict.fromkeys(
        ["__and__", "__or__", "__xor__", "__rand__", "__ror__", "__rxor__"], _two_masks
    ),
    "rot90": lambda draft: {
        "input": draft.tensor(),
        "k": 1,
        "dims": draft.choice((-1, -2), (0, 1)),
    },
}
