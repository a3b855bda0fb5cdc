"""How calls of torch functions move position labels: a rule for each motion of the table.

A call that only rearranges elements is run on their numbers. One that computes keeps the numbers of
the dimensions along which it works position by position.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from retroscope.engine import call_motions, product_labels, resample_motions, shape_motions
from retroscope.engine.call_arguments import (
    PadArguments,
    positional,
    tensors_in,
    with_tensors,
)
from retroscope.engine.labelled_call import LabelledCall, LabelledResult, LabelRule, renumber
from retroscope.engine.motion import Grid, Motion, Move, Place, Stay
from retroscope.engine.operations import Operation
from retroscope.engine.position_labels import NOWHERE, PositionLabels, merge
from retroscope.engine.window_labels import list_windows

Tensor = torch.Tensor


def follow_labels(at: LabelledCall) -> LabelledResult | None:
    """The numbers of a call's results; None if it is not known where its elements are."""
    rule = RULES.get(at.operation.motion)
    return None if rule is None else rule(at)


def _common_grid(at: LabelledCall) -> Grid | None:
    """The grid that all labels are of."""
    grids = {labels.grid for _, labels in at.labelled}
    return grids.pop() if len(grids) == 1 else None


def rearranges_or_attends(operation: Operation) -> bool:
    """Whether positions that dimensions hold may be found again behind such an operation."""
    return RULES.get(operation.motion) not in (None, _keep)


def _rearrange(at: LabelledCall) -> LabelledResult | None:
    """Runs the call on the numbers, not into `out`. Tensors without labels have no positions."""

    (values, *rest), options = positional(at.call.args, at.call.kwargs)
    grid = _common_grid(at)
    if grid is None or any(id(tensor) in at.of_image for tensor in tensors_in(rest, options)):
        return None
    numbers = with_tensors(values, lambda tensor: _numbers_of(at, tensor))
    options = {name: option for name, option in options.items() if name != "out"}
    rest, options = with_tensors(rest, Tensor.cpu), with_tensors(options, Tensor.cpu)
    results = list(tensors_in(at.call.function(numbers, *rest, **options)))
    if [tensor.shape for tensor in results] != [tensor.shape for tensor in at.outputs]:
        return None
    others = [tensor for tensor in tensors_in(values) if at.labels_of(tensor) is None]
    mixes = any(id(tensor) in at.of_image for tensor in others)
    return LabelledResult(results, grid, mixes, is_pairs=at.has_pairs)


def _numbers_of(at: LabelledCall, tensor: Tensor) -> Tensor:
    labels = at.labels_of(tensor)
    if labels is None:
        return torch.tensor(NOWHERE, dtype=torch.int32, device="cpu").expand(tensor.shape)
    return labels.numbers.detach()  # the call may change the shape in place


def _relist(at: LabelledCall) -> LabelledResult | None:
    """The same elements in the same order, in another shape."""
    ((tensor, labels), *_), shape = at.labelled, at.shape
    if tensor is not next(at.call.tensors()) or labels.numbers.numel() != at.outputs[0].numel():
        return None
    return LabelledResult([labels.numbers.reshape(shape)], labels.grid, is_pairs=labels.is_pairs)


def _repeat(at: LabelledCall) -> LabelledResult | None:
    """Copies along new dimensions, or along those of length 1."""
    (_, labels), *_ = at.labelled
    if at.operation.reads_first_only:
        numbers = labels.numbers.expand(at.shape)
        return LabelledResult([numbers], labels.grid, is_pairs=labels.is_pairs)
    return _rearrange(at)


def _pad(at: LabelledCall) -> LabelledResult | None:
    """Constants around the map are at no position; mirrored borders are not followed."""
    call = PadArguments(*at.call.args, **at.call.kwargs)
    labels = at.labels_of(call.input)
    if labels is None or call.mode != "constant":
        return None
    numbers = F.pad(labels.numbers, call.pad, value=NOWHERE)
    return LabelledResult([numbers], labels.grid, is_pairs=labels.is_pairs)


def _keep(at: LabelledCall) -> LabelledResult | None:
    """Asks the operation where it takes each of the dimensions that hold positions."""
    kept, grid = list[PositionLabels](), _common_grid(at)
    mixes = gated = False
    if grid is None:
        return None
    for tensor, labels in at.labelled:
        motions = dict(_motions(at, tensor, labels))
        if all(isinstance(motion, Stay | Move) for motion in motions.values()):
            numbers = renumber(labels, motions, at.shape)
        elif tensor.shape == at.outputs[0].shape and at.operation.motion in _READ_ALONG_A_DIMENSION:
            numbers, mixes = labels.distinct, True
        else:
            return None
        if numbers is None:
            return None
        gated |= any(isinstance(motion, Stay) and motion.gated for motion in motions.values())
        kept.append(PositionLabels(numbers, grid))
    merged = merge(kept, at.shape)
    if merged is None:
        return None
    numbers_of_outputs = [merged if each.shape == at.shape else None for each in at.outputs]
    return LabelledResult(numbers_of_outputs, grid, mixes, gated, is_pairs=at.has_pairs)


def _motions(
    at: LabelledCall, tensor: Tensor, labels: PositionLabels
) -> Iterator[tuple[int, Motion]]:
    """How the call moves each of the dimensions that hold positions."""
    for dim in labels.varying:
        place = Place((dim,), tuple(tensor.shape), at.shape, at.constants)
        yield dim, at.operation.motion_of(place, at.call.args, at.call.kwargs)


_MotionRule = Callable[..., Motion]

_READ_ALONG_A_DIMENSION: tuple[_MotionRule, ...] = (
    call_motions.along_dim,
    call_motions.normalize,
)
"""Each result is where its input is, and reads others along a dimension."""

_REARRANGE: tuple[_MotionRule, ...] = (
    *(shape_motions.permute, shape_motions.transpose, shape_motions.swap_last_dims),
    *(shape_motions.move_dims, shape_motions.unsqueeze, shape_motions.index),
    *(shape_motions.narrow, shape_motions.select, shape_motions.unbind),
    *(shape_motions.stack, shape_motions.unfold, shape_motions.repeat_interleave),
    *(call_motions.split_channels, call_motions.join, call_motions.roll),
    *(call_motions.along_dims, call_motions.pick_along_dim),
)
_KEEP: tuple[_MotionRule, ...] = (
    *(call_motions.stay, call_motions.combine, call_motions.where, call_motions.last_dim),
    *(call_motions.along_last_dim, call_motions.layer_norm, call_motions.gate),
    *(call_motions.batch_norm, call_motions.response_norm, call_motions.reduce),
    *(call_motions.norm, call_motions.similarity, call_motions.largest, call_motions.conv_1d),
    *_READ_ALONG_A_DIMENSION,
)

RULES: dict[_MotionRule, LabelRule] = {
    **dict.fromkeys(_REARRANGE, _rearrange),
    **dict.fromkeys(_KEEP, _keep),
    shape_motions.reshape: _relist,
    shape_motions.expand: _repeat,
    shape_motions.list_windows: list_windows,
    resample_motions.pad: _pad,
    call_motions.matmul: product_labels.multiply_matrices,
    call_motions.batched_matmul: product_labels.multiply_matrices,
    call_motions.attention: product_labels.attend,
    call_motions.multi_head_attention: product_labels.attend_with_heads,
    call_motions.einsum: product_labels.contract,
}
"""The rule for each motion. Behind operations of other motions, positions are not known."""
