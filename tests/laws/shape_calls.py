"""Example calls of what moves, joins, picks or reduces dimensions."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from tests.laws.drafting import Draft
from tests.laws.operands import Arguments, Example, alone, gate, same_shape, tensor_operand


def _along_dim(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "dim": draft.dim(x)}


def _reduction(draft: Draft) -> Arguments:
    x = draft.tensor()
    if draft.chance(0.1):
        return {"input": x}
    return {"input": x, "dim": draft.dims(x), "keepdim": draft.chance(0.6)}


def _norm(draft: Draft) -> Arguments:
    arguments = _reduction(draft)
    return {"input": arguments.pop("input"), draft.choice("p", "ord"): 2.0} | arguments


def _vector_norm(draft: Draft) -> Arguments:
    arguments = _reduction(draft)
    return {"x": arguments.pop("input"), "ord": draft.choice(2, 1)} | arguments


def _normalize(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "p": 2.0, "dim": draft.choice(draft.dim(x), draft.dims(x), 1)}


def _one_dim(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "dim": draft.dim(x), "keepdim": draft.chance(0.6)}


def _maybe_dim(draft: Draft) -> Arguments:
    return alone(draft) if draft.chance(0.15) else _one_dim(draft)


def _extremes(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "*": []} if draft.chance(0.1) else {"input": x, "dim": draft.dim(x)}


def _index_select(draft: Draft) -> Arguments:
    x = draft.tensor()
    dim = draft.dim(x)
    picked = torch.tensor([draft.below(x.shape[dim]) for _ in range(3)])
    return {"input": x, "dim": dim, "index": picked}


def _sort(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "dim": draft.dim(x), "descending": True} if draft.chance() else {"input": x}


def _glu(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "dim": draft.dim(x)} if draft.chance(0.8) else {"input": x}


def _top(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "k": draft.choice(1, 2), "dim": draft.dim(x)}


def _flip(draft: Draft) -> Arguments:
    x = draft.tensor()
    dims = draft.dims(x)
    if isinstance(dims, int):
        dims = (dims,)
    return {"input": x, "*": list(dims) if draft.chance() else [dims]}


def _roll(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "shifts": 1, "dims": draft.dim(x)}


def _channel_shuffle(draft: Draft) -> Arguments:
    return {"input": draft.tensor(4), "groups": 2}


def _repeat(draft: Draft) -> Arguments:
    x = draft.tensor()
    counts = [draft.choice(1, 1, 1, 2) for _ in range(x.dim() + draft.choice(0, 0, 1))]
    return {"input": x, "*": [tuple(counts)] if draft.chance() else counts}


def _tile(draft: Draft) -> Arguments:
    return {"input": draft.tensor(), "*": [tuple([draft.choice(1, 1, 2)] * draft.choice(1, 2, 5))]}


def _broadcast(draft: Draft) -> Arguments:
    x = draft.tensor()
    sizes = [draft.choice(1, 9, 11) if length == 1 else length for length in x.shape]
    return {"input": x, "*": [tuple(sizes)]}


def _repeat_interleave(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {
        "input": x,
        "repeats": draft.choice(1, 2),
        "dim": draft.choice(draft.dim(x), draft.dim(x)),
    }


def _move_dims(draft: Draft) -> Arguments:
    x = draft.tensor()
    if draft.chance():
        return {"input": x, "*": [draft.dim(x), draft.dim(x)]}
    sources, targets = (draft.sample(range(x.dim()), 2) for _ in range(2))
    return {"input": x, "*": [tuple(sources), tuple(targets)]}


def _narrow(draft: Draft) -> Arguments:
    x = draft.tensor()
    dim = draft.dim(x)
    start = draft.below(x.shape[dim])
    length = draft.whole(1, x.shape[dim] - start)
    start = start - x.shape[dim] if draft.chance(0.3) else start
    return {"input": x, "dim": dim, "start": start, "length": length}


def _select(draft: Draft) -> Arguments:
    x = draft.tensor()
    dim = draft.dim(x)
    return {"input": x, "dim": dim, "index": draft.whole(-x.shape[dim], x.shape[dim] - 1)}


def _unfold(draft: Draft) -> Arguments:
    x = draft.tensor()
    dim = draft.dim(x)
    size = draft.whole(1, min(3, x.shape[dim]))
    return {"input": x, "dimension": dim, "size": size, "step": draft.choice(1, 2)}


def _fold(draft: Draft) -> Arguments:
    """Windows of a map, listed by `F.unfold`, are added up in a map of the same size."""
    x = draft.tensor(4)
    windows = {
        "kernel_size": draft.choice(1, 2, 3),
        "dilation": draft.choice(1, 2),
        "padding": draft.choice(0, 1),
        "stride": draft.choice(1, 2),
    }
    listed = draft.call(torch.nn.functional.unfold, x, **windows)
    return {"input": listed, "output_size": tuple(x.shape[2:]), **windows}


def _chunk_of_two(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "*": [2, draft.dim(x)]}


def _split_sizes(draft: Draft) -> Arguments:
    x = draft.tensor()
    dim = draft.dim(x)
    first = draft.whole(1, x.shape[dim])
    pieces = [part for part in (first, x.shape[dim] - first) if part]
    return {"input": x, "*": [pieces, dim]}


def _spread(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "dim": draft.dims(x), "keepdim": True}


def _split(draft: Draft) -> Arguments:
    x = draft.tensor()
    dim = draft.dim(x)
    length = x.shape[dim]
    first = draft.whole(1, length)
    pieces = draft.choice(first, [part for part in (first, length - first) if part])
    return {"input": x, "*": [pieces, dim]}


def _chunk(draft: Draft) -> Arguments:
    return {"input": (x := draft.tensor()), "chunks": 2, "dim": draft.dim(x)}


def _expand(draft: Draft) -> Arguments:
    x = draft.tensor()
    sizes = [draft.choice(-1, 5, 9, 11) if length == 1 else -1 for length in x.shape]
    sizes[0] = -1
    added = [1] if draft.chance(0.2) else []
    return {"input": x, "*": [*added, *sizes] if draft.chance() else [(*added, *sizes)]}


def _expand_as(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": gate(draft, x), "other": x}


def _shape_of_another(draft: Draft) -> Arguments:
    x = draft.tensor()
    same = [y for y in draft.values if y.numel() == x.numel()]
    return {"input": x, "other": draft.pick(same)}


def _permute(draft: Draft) -> Arguments:
    x = draft.tensor()
    order = draft.choice([0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2], [0, 2, 1, 3])
    if x.dim() != 4 or draft.chance(0.2):
        order = draft.sample(range(x.dim()), x.dim())
    return {"input": x, "*": [tuple(order)]}


def _transpose(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x, "*": [draft.dim(x), draft.dim(x)]}


def _unsqueeze(draft: Draft) -> Arguments:
    x = draft.tensor(1, 2, 3)
    return {"input": x, "dim": draft.whole(-x.dim() - 1, x.dim())}


def _squeeze(draft: Draft) -> Arguments:
    x = draft.tensor()
    return {"input": x} | draft.choice({"dim": draft.dim(x)}, {"dim": draft.dims(x)})


def _shapes_near(x: Tensor) -> Iterator[tuple[int, ...]]:
    """Shapes of as many numbers: a dimension split, or two neighbours merged."""
    shape = tuple(x.shape)
    yield shape
    yield (*shape[:-1], 1, shape[-1])
    for dim, length in enumerate(shape):
        for part in (2, 3):
            if length % part == 0:
                yield (*shape[:dim], part, length // part, *shape[dim + 1 :])
                yield (*shape[:dim], length // part, part, *shape[dim + 1 :])
    for dim, (left, right) in enumerate(pairwise(shape)):
        yield (*shape[:dim], left * right, *shape[dim + 2 :])
        yield (*shape[:dim], right, left, *shape[dim + 2 :])


def _reshape(draft: Draft) -> Arguments:
    x = draft.tensor()
    shape = list(draft.pick(list(_shapes_near(x))))
    if draft.chance(0.3):
        shape[draft.below(len(shape))] = -1
    return {"input": x, "shape": tuple(shape)}


def _view(draft: Draft) -> Arguments:
    arguments = _reshape(draft)
    return {"input": arguments["input"], "*": [arguments["shape"]]}


def _flatten(draft: Draft) -> Arguments:
    x = draft.tensor()
    first = draft.below(x.dim())
    last = draft.choice(-1, draft.whole(first, x.dim() - 1))
    return {"input": x, "start_dim": first, "end_dim": last}


def _unflatten(draft: Draft) -> Arguments:
    x = draft.tensor()
    dim = draft.dim(x)
    return {"input": x, "dim": dim, "sizes": draft.choice((-1, 2), (2, -1), (1, -1))}


def _index(draft: Draft) -> Arguments:
    x = draft.tensor()
    keys = [_key(draft, length) for length in x.shape[: draft.whole(1, x.dim())]]
    if draft.chance(0.3):
        keys = [..., *keys]
    if draft.chance(0.2):
        keys.insert(draft.whole(0, len(keys)), None)
    return {"input": x, "*": [keys[0] if len(keys) == 1 else tuple(keys)]}


def _key(draft: Draft, length: int) -> Any:
    start, stop = sorted((draft.whole(0, length), draft.whole(-2, length)))
    every = slice(None)
    piece = slice(draft.choice(None, start), draft.choice(None, stop), draft.choice(None, 1, 2))
    at = draft.whole(-length, length - 1)
    listed = [draft.below(length), draft.below(length)]
    return draft.choice(every, every, every, piece, piece, piece, at, listed, torch.tensor(listed))


def _join(draft: Draft) -> Arguments:
    x = draft.tensor()
    parts = [x if draft.chance(0.2) else tensor_operand(draft, x) for _ in range(2)]
    parts = draft.shuffle([x, *parts][: draft.whole(2, 3)])
    return {"tensors": draft.choice(tuple, list)(parts), "dim": draft.dim(x)}


def _stack(draft: Draft) -> Arguments:
    x = draft.tensor()
    parts = [x, draft.choice(x, same_shape(draft, x), draft.constant(*x.shape))]
    parts = draft.shuffle(parts)
    return {"tensors": draft.choice(tuple, list)(parts), "dim": draft.whole(-2, x.dim())}


def _einsum(draft: Draft) -> Arguments:
    x = draft.tensor(4)
    return {"equation": "nchw,hg->ncgw", "*": [x, draft.constant(x.shape[2], 4)]}


def _matmul(draft: Draft) -> Arguments:
    x = draft.tensor()
    if draft.chance(0.3):
        return {"input": draft.constant(draft.choice(2, x.shape[-2]), x.shape[-2]), "other": x}
    if draft.chance(0.3):
        return {"input": x, "other": draft.call(torch.transpose, same_shape(draft, x), -1, -2)}
    return {"input": x, "other": draft.weight(x.shape[-1], draft.whole(1, 4))}


def _bmm(draft: Draft) -> Arguments:
    x = draft.tensor(3)
    return {"input": x, "mat2": draft.constant(x.shape[0], x.shape[2], 3)}


SHAPE_CALLS: dict[str, Example] = {
    **dict.fromkeys(["softmax", "log_softmax"], _along_dim),
    **dict.fromkeys(["cat", "concat", "concatenate"], _join),
    **dict.fromkeys(["mean", "sum", "amax", "amin"], _reduction),
    **dict.fromkeys(["std", "var"], _spread),
    "split": _split,
    "chunk": _chunk,
    **dict.fromkeys(["matmul", "__matmul__"], _matmul),
    "bmm": _bmm,
    "einsum": _einsum,
    "expand": _expand,
    "expand_as": _expand_as,
    "permute": _permute,
    **dict.fromkeys(["transpose", "swapaxes", "swapdims"], _transpose),
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "view": _view,
    "reshape": _reshape,
    "flatten": _flatten,
    "unflatten": _unflatten,
    **dict.fromkeys(["view_as", "reshape_as"], _shape_of_another),
    "roll": _roll,
    "__getitem__": _index,
    **dict.fromkeys(["nanmean", "nansum", "logsumexp"], _reduction),
    **dict.fromkeys(["std_mean", "var_mean", "count_nonzero"], _reduction),
    **dict.fromkeys(["prod", "median", "all", "any", "argmax", "argmin", "mode"], _maybe_dim),
    "aminmax": _extremes,
    "norm": _norm,
    "vector_norm": _vector_norm,
    "normalize": _normalize,
    "split_with_sizes": _split_sizes,
    "unsafe_split": _chunk_of_two,
    **dict.fromkeys(["tensor_split", "unsafe_chunk"], _chunk),
    **dict.fromkeys(
        ["softmin", "cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"], _along_dim
    ),
    "index_select": _index_select,
    **dict.fromkeys(["sort", "argsort"], _sort),
    "glu": _glu,
    **dict.fromkeys(["topk", "kthvalue"], _top),
    "flip": _flip,
    **dict.fromkeys(["channel_shuffle", "native_channel_shuffle"], _channel_shuffle),
    "broadcast_to": _broadcast,
    "repeat": _repeat,
    "tile": _tile,
    "repeat_interleave": _repeat_interleave,
    **dict.fromkeys(["movedim", "moveaxis"], _move_dims),
    "narrow": _narrow,
    "select": _select,
    "unbind": _along_dim,
    "stack": _stack,
    "unfold": _unfold,
    "fold": _fold,
}
