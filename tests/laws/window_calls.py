"""Example calls of convolutions, pools, norms and all else that has weights or windows."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.laws.drafting import Draft
from tests.laws.operands import Arguments, Example, same_shape


def _per_axis(draft: Draft, rank: int, least: int, most: int) -> int | tuple[int, ...]:
    numbers = tuple(draft.whole(least, most) for _ in range(rank))
    return numbers[0] if draft.chance(0.3) else numbers


def _maps(draft: Draft, rank: int) -> Tensor:
    """Maps with so many axes, of a batch or without one."""
    return draft.tensor(rank + 1, rank + 2)


def _conv(draft: Draft, rank: int = 2) -> Arguments:
    x = _maps(draft, rank)
    if rank == 2 and draft.chance(0.1):
        filters = draft.call(torch.Tensor.__getitem__, x, (..., slice(0, 3), slice(1, 4)))
        return {"input": draft.constant(1, x.shape[-3], 7, 6), "weight": filters}
    channels = x.shape[-rank - 1]
    groups = draft.choice(*[n for n in (1, 1, 2, 4, channels) if channels % n == 0])
    size = (*(draft.whole(1, 3) for _ in range(rank - 1)), draft.whole(1, 4))
    same = draft.chance(0.2)
    outputs = groups * draft.whole(1, max(1, 6 // groups))
    return {
        "input": x,
        "weight": draft.weight(outputs, channels // groups, *size),
        "bias": draft.weight(outputs) if draft.chance() else None,
        "stride": 1 if same else _per_axis(draft, rank, 1, 2),
        "padding": draft.choice("same", "valid") if same else _per_axis(draft, rank, 0, 2),
        "dilation": _per_axis(draft, rank, 1, 2),
        "groups": groups,
    }


def _conv_transpose(draft: Draft, rank: int = 2) -> Arguments:
    x = _maps(draft, rank)
    size = tuple(draft.whole(1, 3) for _ in range(rank))
    stride = draft.whole(1, 3)
    return {
        "input": x,
        "weight": draft.weight(x.shape[-rank - 1], 3, *size),
        "bias": draft.weight(3) if draft.chance() else None,
        "stride": stride,
        "padding": _per_axis(draft, rank, 0, 1),
        "output_padding": draft.whole(0, stride - 1),
        "groups": 1,
        "dilation": _per_axis(draft, rank, 1, 2),
    }


def _interpolate(draft: Draft) -> Arguments:
    x = draft.tensor(4)
    mode = draft.choice("nearest", "nearest-exact", "bilinear", "bicubic", "area")
    smooth = mode in {"bilinear", "bicubic"}
    by_size = draft.chance()
    factors = draft.choice(2, 0.5, 1.5, 1.05, 0.7, (2.0, 1.3))
    size = [max(1, int(length * draft.choice(0.5, 1, 1.3, 2))) for length in x.shape[2:]]
    return {
        "input": x,
        "size": draft.choice(tuple(size), size[0]) if by_size else None,
        "scale_factor": None if by_size else factors,
        "mode": mode,
        "align_corners": draft.choice(None, False, True) if smooth else None,
        "recompute_scale_factor": draft.choice(None, True) if not by_size else None,
        "antialias": smooth and draft.chance(0.3),
    }


def _pixel_shuffle(draft: Draft) -> Arguments:
    return {"input": draft.tensor(3, 4), "upscale_factor": 2}


def _pixel_unshuffle(draft: Draft) -> Arguments:
    x = draft.tensor(3, 4)
    ends = [length % 2 for length in x.shape[-2:]]
    return {"input": draft.call(F.pad, x, (0, ends[1], 0, ends[0])), "downscale_factor": 2}


def _max_pool(draft: Draft, rank: int = 2) -> Arguments:
    return {
        "input": _maps(draft, rank),
        "kernel_size": _per_axis(draft, rank, 2, 3),
        "stride": draft.choice(None, _per_axis(draft, rank, 1, 3)),
        "padding": draft.whole(0, 1),
        "dilation": _per_axis(draft, rank, 1, 2),
        "ceil_mode": draft.chance(),
    }


def _avg_pool(draft: Draft, rank: int = 2) -> Arguments:
    arguments = _max_pool(draft, rank) | {"count_include_pad": draft.chance()}
    del arguments["dilation"]
    return arguments if rank == 1 else arguments | {"divisor_override": draft.choice(None, 3)}


def _adaptive_pool(draft: Draft, rank: int = 2) -> Arguments:
    x = _maps(draft, rank)
    unset = () if rank == 1 else (None,)
    sizes = [draft.choice(1, *unset, length, max(1, length // 2), 3) for length in x.shape[-rank:]]
    return {"input": x, "output_size": draft.choice(tuple(sizes), sizes[0] or 1)}


def _pad(draft: Draft) -> Arguments:
    x = draft.tensor()
    low = draft.choice(0, -1)
    ends = [draft.whole(low, 2) for _ in range(2 * draft.whole(1, 2))]
    mode = draft.choice("constant", "constant", "reflect", "replicate", "circular")
    value = draft.choice(None, 0, 0.0, 1.5) if mode == "constant" else None
    return {"input": x, "pad": draft.choice(tuple, list)(ends), "mode": mode, "value": value}


def _norm_options(draft: Draft, channels: int) -> Arguments:
    if draft.chance():
        return {}
    return {"weight": draft.weight(channels), "bias": draft.weight(channels)}


def _batch_norm(draft: Draft) -> Arguments:
    x = draft.tensor()
    channels, training = x.shape[1], draft.chance(0.2)
    return {
        "input": x,
        "running_mean": draft.constant(channels),
        "running_var": draft.call(torch.clone, draft.constant(channels, positive=True)),
        "weight": draft.weight(channels),
        "bias": draft.weight(channels),
        "training": training,
        "momentum": 0.0,
        "eps": 1e-3,
    }


def _torch_norm(draft: Draft) -> Arguments:
    return {
        "input": (arguments := _batch_norm(draft)).pop("input"),
        "*": [*arguments.values(), False],
    }


def _layer_norm(draft: Draft) -> Arguments:
    x = draft.tensor()
    shape = tuple(x.shape[draft.below(x.dim()) :])
    options = {"weight": draft.weight(*shape)} if draft.chance() else {}
    return {"input": x, "normalized_shape": draft.choice(tuple, list)(shape)} | options


def _group_norm(draft: Draft) -> Arguments:
    x = draft.tensor()
    channels = x.shape[1]
    groups = draft.choice(*[n for n in (1, 2, channels) if channels % n == 0])
    return {"input": x, "num_groups": groups} | _norm_options(draft, channels)


def _instance_norm(draft: Draft) -> Arguments:
    x = draft.tensor(3, 4)
    return {
        "input": x,
        "running_mean": None,
        "running_var": None,
        "weight": draft.weight(x.shape[1]),
        "bias": None,
        "use_input_stats": True,
        "momentum": 0.1,
        "eps": 1e-3,
    } | ({"cudnn_enabled": False} if draft.chance() else {})


def _response_norm(draft: Draft) -> Arguments:
    x = draft.tensor(3, 4)
    return {"input": x, "size": draft.whole(2, 4), "alpha": 0.5, "beta": 0.75, "k": 1.0}


def _linear(draft: Draft) -> Arguments:
    x = draft.tensor()
    outputs = draft.whole(1, 5)
    bias = draft.weight(outputs) if draft.chance() else None
    return {"input": x, "weight": draft.weight(outputs, x.shape[-1]), "bias": bias}


def _prelu(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "weight": draft.weight(draft.choice(1, x.shape[1]))}


def _attention(draft: Draft) -> Arguments:
    x = draft.tensor(3, 4)
    return {"query": x, "key": x, "value": same_shape(draft, x)}


def _head_attention(draft: Draft) -> Arguments:
    x = draft.call(torch.transpose, draft.tensor(3), 0, 1)
    width = x.shape[-1]
    return {
        "query": x,
        "key": x,
        "value": x,
        "embed_dim_to_check": width,
        "num_heads": 1,
        "in_proj_weight": draft.constant(3 * width, width),
        "in_proj_bias": None,
        "bias_k": None,
        "bias_v": None,
        "add_zero_attn": False,
        "dropout_p": 0.0,
        "out_proj_weight": draft.constant(width, width),
        "out_proj_bias": None,
        "training": False,
    }


_WINDOWS: dict[str, Callable[[Draft, int], Arguments]] = {
    "conv{}d": _conv,
    "conv_transpose{}d": _conv_transpose,
    **dict.fromkeys(["max_pool{}d", "max_pool{}d_with_indices"], _max_pool),
    "avg_pool{}d": _avg_pool,
    **dict.fromkeys(["adaptive_avg_pool{}d", "adaptive_max_pool{}d"], _adaptive_pool),
    "adaptive_max_pool{}d_with_indices": _adaptive_pool,
}
"""By their names with a gap for the number of axes."""


def _with_rank(write: Callable[[Draft, int], Arguments], rank: int) -> Example:
    return lambda draft: write(draft, rank)


WINDOW_CALLS: dict[str, Example] = {
    **{
        name.format(rank): _with_rank(write, rank)
        for name, write in _WINDOWS.items()
        for rank in (1, 2, 3)
    },
    "pad": _pad,
    "linear": _linear,
    "prelu": _prelu,
    "batch_norm": lambda draft: draft.choice(_batch_norm, _torch_norm)(draft),
    "local_response_norm": _response_norm,
    **dict.fromkeys(["layer_norm", "rms_norm"], _layer_norm),
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _head_attention,
    "interpolate": _interpolate,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
}
