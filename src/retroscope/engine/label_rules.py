"""How calls of torch functions move position labels: a rule for each motion of the table.

A call that only rearranges elements is run on their numbers. One that computes keeps the numbers of
the dimensions along which it works position by position. In a product of two tensors of the image,
as in attention, a result is at the position of its query.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from retroscope.engine import call_motions, resample_motions, shape_motions
from retroscope.engine.call_arguments import positional, tensors_in, with_tensors
from retroscope.engine.call_motions import PerAxis, per_axis
from retroscope.engine.interpreter import Call
from retroscope.engine.motion import Grid, Motion, Move, Place, Shape, Stay
from retroscope.engine.operations import Operation
from retroscope.engine.position_labels import NOWHERE, PositionLabels, merge
from retroscope.geometry import Window

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class LabelledCall:
    """A call that has run: the labels of its tensors, and which are of the image."""

    call: Call
    operation: Operation
    labels: Mapping[int, PositionLabels]
    """By the identity of the tensor."""
    of_image: frozenset[int]
    constants: tuple[Shape, ...]
    outputs: Sequence[Tensor]

    def labels_of(self, tensor: object) -> PositionLabels | None:
        return self.labels.get(id(tensor))

    @property
    def labelled(self) -> list[tuple[Tensor, PositionLabels]]:
        """The tensors with labels, in the order of the arguments."""
        tensors = {id(tensor): tensor for tensor in self.call.tensors()}
        return [(tensors[key], self.labels[key]) for key in tensors if key in self.labels]

    @property
    def shape(self) -> Shape:
        return tuple(self.outputs[0].shape)


@dataclass(frozen=True, eq=False)
class LabelledResult:
    """The numbers of each output on a grid, None where there are none.

    `mixes`: positions read each other, `attends`: by attention. `gated`: each is scaled by what
    reads all of them. `cuts`: the positions inside a window are along another dimension.
    """

    numbers: Sequence[Tensor | None]
    grid: Grid
    mixes: bool = False
    gated: bool = False
    attends: bool = False
    is_pairs: bool = False
    cuts: bool = False


LabelRule = Callable[[LabelledCall], LabelledResult | None]


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
    """Runs the call on the numbers. Tensors without a position beside others have none."""
    (values, *rest), options = positional(at.call.args, at.call.kwargs)
    grid = _common_grid(at)
    if grid is None or any(id(tensor) in at.of_image for tensor in tensors_in(rest, options)):
        return None
    numbers = with_tensors(values, lambda tensor: _numbers_of(at, tensor))
    rest, options = with_tensors(rest, Tensor.cpu), with_tensors(options, Tensor.cpu)
    results = list(tensors_in(at.call.function(numbers, *rest, **options)))
    if [tensor.shape for tensor in results] != [tensor.shape for tensor in at.outputs]:
        return None
    others = [tensor for tensor in tensors_in(values) if at.labels_of(tensor) is None]
    mixes = any(id(tensor) in at.of_image for tensor in others)
    return LabelledResult(results, grid, mixes, is_pairs=_has_pairs(at))


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
    (source, pad, *rest), options = positional(at.call.args, at.call.kwargs)
    labels, mode = at.labels_of(source), options.get("mode", rest[0] if rest else "constant")
    if labels is None or mode != "constant":
        return None
    numbers = F.pad(labels.numbers, pad, value=NOWHERE)
    return LabelledResult([numbers], labels.grid, is_pairs=labels.is_pairs)


def _keep(at: LabelledCall) -> LabelledResult | None:
    """Each dimension that holds positions is asked on its own where the operation takes it."""
    kept, grid = list[PositionLabels](), _common_grid(at)
    mixes = gated = False
    if grid is None:
        return None
    for tensor, labels in at.labelled:
        motions = dict(_motions(at, tensor, labels))
        if all(isinstance(motion, Stay | Move) for motion in motions.values()):
            numbers = _renumber(labels, motions, at.shape)
        elif tensor.shape == at.outputs[0].shape and at.operation.motion in _WORK_ALONG_A_DIMENSION:
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
    return LabelledResult(numbers_of_outputs, grid, mixes, gated, is_pairs=_has_pairs(at))


def _motions(
    at: LabelledCall, tensor: Tensor, labels: PositionLabels
) -> Iterator[tuple[int, Motion]]:
    """How the call moves each of the dimensions that hold positions."""
    for dim in labels.varying:
        place = Place((dim,), tuple(tensor.shape), at.shape, at.constants)
        yield dim, at.operation.motion_of(place, at.call.args, at.call.kwargs)


def _renumber(
    labels: PositionLabels, motions: Mapping[int, Motion], result: Shape
) -> Tensor | None:
    """The numbers along the dimensions of the result, with length 1 along all others."""
    added = len(result) - labels.numbers.dim()
    targets = [
        motion.axes[0] if isinstance(motion, Move) else dim + added
        for dim, motion in motions.items()
    ]
    order = sorted(range(len(targets)), key=targets.__getitem__)
    others = [dim for dim in range(labels.numbers.dim()) if dim not in motions]
    numbers = labels.distinct.squeeze(tuple(others)).permute(order)
    lengths = dict(zip(sorted(targets), numbers.shape, strict=True))
    if any(not 0 <= dim < len(result) or result[dim] != lengths[dim] for dim in lengths):
        return None
    return numbers.reshape([lengths.get(dim, 1) for dim in range(len(result))])


def _multiply_matrices(at: LabelledCall) -> LabelledResult | None:
    """A row of the result is where the row of the first matrix is; else columns are the second's.

    Weights that are products of queries and keys stand for pairs, and are those of the queries.
    """
    (first, *rest), options = positional(at.call.args, at.call.kwargs)
    second = next(tensors_in(rest, options), None)
    if second is None or min(first.dim(), second.dim(), len(at.shape)) < 2:
        return None
    return _multiply(at, first, second)


def _multiply(at: LabelledCall, first: Tensor, second: Tensor) -> LabelledResult | None:
    rows, columns = at.labels_of(first), at.labels_of(second)
    mixes = {id(first), id(second)} <= at.of_image
    if rows is not None and first.dim() - 1 not in rows.varying:
        is_pairs = columns is not None and second.dim() - 1 in columns.varying
        numbers = rows.numbers[..., :1].expand(at.shape)
        return LabelledResult([numbers], rows.grid, mixes, attends=mixes, is_pairs=is_pairs)
    if columns is not None and second.dim() - 2 not in columns.varying:
        numbers = columns.numbers[..., :1, :].expand(at.shape)
        is_pairs = columns.is_pairs
        return LabelledResult([numbers], columns.grid, mixes, attends=mixes, is_pairs=is_pairs)
    return None


def _attend(at: LabelledCall) -> LabelledResult | None:
    """`softmax(q k^T) v`: the product of weights, whose rows are the queries', and values."""
    query, _, value = list(tensors_in(at.call.args, at.call.kwargs))[:3]
    result = _multiply(at, query, value)
    if result is None:
        return None
    return LabelledResult(result.numbers, result.grid, mixes=True, attends=True)


def _attend_with_heads(at: LabelledCall) -> LabelledResult | None:
    """`multi_head_attention_forward`, tokens in the first dimension: at the query's position."""
    query = next(at.call.tensors())
    labels = at.labels_of(query)
    if labels is None or query.dim() - 1 in labels.varying or at.shape != tuple(query.shape):
        return None
    rest: list[Tensor | None] = [None] * (len(at.outputs) - 1)
    return LabelledResult([labels.numbers, *rest], labels.grid, mixes=True, attends=True)


def _contract(at: LabelledCall) -> LabelledResult | None:
    """`einsum` of one or two tensors: the first one whose positions are all in the result."""
    arguments: tuple[Any, ...] = at.call.args
    equation, *operands = arguments
    operands = list(operands[0]) if isinstance(operands[0], list | tuple) else operands
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not arrow or "." in equation or len(terms) != len(operands) or _repeats(output, terms):
        return None
    mixes = sum(id(operand) in at.of_image for operand in operands) > 1
    for term, operand in zip(terms, operands, strict=True):
        labels = at.labels_of(operand)
        if labels is None or any(term[dim] not in output for dim in labels.varying):
            continue
        motions: dict[int, Motion] = {
            dim: Move((output.index(term[dim]),)) for dim in labels.varying
        }
        numbers = _renumber(labels, motions, at.shape)
        own = {term[dim] for dim in labels.varying}
        others = _letters_of_positions(at, terms, operands) & set(output) - own
        is_pairs = bool(others) or (labels.is_pairs and not mixes)
        if numbers is None:
            return None
        numbers = numbers.expand(at.shape)
        return LabelledResult([numbers], labels.grid, mixes, attends=mixes, is_pairs=is_pairs)
    return None


def _repeats(output: str, terms: Sequence[str]) -> bool:
    return any(len(set(letters)) != len(letters) for letters in (output, *terms))


def _letters_of_positions(
    at: LabelledCall, terms: Sequence[str], operands: Sequence[Tensor]
) -> set[str]:
    """The letters along which any of the tensors has positions."""
    letters = set[str]()
    for term, operand in zip(terms, operands, strict=True):
        labels = at.labels_of(operand)
        letters |= set() if labels is None else {term[dim] for dim in labels.varying}
    return letters


def _list_windows(at: LabelledCall) -> LabelledResult | None:
    """`F.unfold` lists windows row by row; `F.fold` adds them up where they lie in a map."""
    source = next(at.call.tensors())
    labels = at.labels_of(source)
    (_, *rest), options = positional(at.call.args, at.call.kwargs)
    if labels is None:
        return None
    if at.call.function is F.unfold:
        return _windows_of_map(at, labels, _window_grid(tuple(source.shape[-2:]), *rest, **options))
    named = {name: value for name, value in options.items() if name != "output_size"}
    return _map_of_windows(at, labels, _window_grid(at.shape[-2:], *rest[1:], **named))


def _windows_of_map(at: LabelledCall, labels: PositionLabels, grid: Grid) -> LabelledResult | None:
    """What is inside a window goes to the channels, in front of the list."""
    rank = labels.numbers.dim()
    if labels.axes() != (rank - 2, rank - 1) or prod(grid) != at.shape[-1]:
        return None
    numbers = torch.arange(prod(grid), dtype=torch.int32, device="cpu").expand(at.shape)
    return LabelledResult([numbers], grid, mixes=True, cuts=True)


def _map_of_windows(at: LabelledCall, labels: PositionLabels, grid: Grid) -> LabelledResult | None:
    tokens, rank = labels.token_axis(), len(at.shape)
    if tokens is None or tokens.extra or (tokens.dim, tokens.grid) != (rank - 2, grid):
        return None
    of_map = PositionLabels.of_map((rank - 2, rank - 1), at.shape)
    return LabelledResult([of_map.numbers], of_map.grid, mixes=True)


def _window_grid(  # noqa: PLR0917 - as F.unfold takes them
    size: Shape,
    kernel_size: PerAxis,
    dilation: PerAxis = 1,
    padding: PerAxis = 0,
    stride: PerAxis = 1,
) -> Grid:
    """How many windows fit along y and x."""
    numbers = (per_axis(value, 2) for value in (kernel_size, stride, padding, dilation))
    return tuple(
        Window(kernel, step, pad, pad, gap).outputs(length)
        for length, kernel, step, pad, gap in zip(size, *numbers, strict=True)
    )


def _has_pairs(at: LabelledCall) -> bool:
    return any(labels.is_pairs for _, labels in at.labelled)


_MotionRule = Callable[..., Motion]

_WORK_ALONG_A_DIMENSION: tuple[_MotionRule, ...] = (
    call_motions.along_dim,
    call_motions.along_last_dim,
    call_motions.normalize,
    call_motions.layer_norm,
    call_motions.gate,
    call_motions.batch_norm,
)
"""Each result is where its input is, and reads others along a dimension."""

_REARRANGE: tuple[_MotionRule, ...] = (
    *(shape_motions.permute, shape_motions.transpose, shape_motions.swap_last_dims),
    *(shape_motions.move_dims, shape_motions.unsqueeze, shape_motions.index),
    *(shape_motions.narrow, shape_motions.select, shape_motions.unbind),
    *(shape_motions.stack, shape_motions.unfold, shape_motions.repeat_interleave),
    *(call_motions.split_channels, call_motions.join, call_motions.roll),
    call_motions.along_dims,
)
_KEEP: tuple[_MotionRule, ...] = (
    *(call_motions.stay, call_motions.combine, call_motions.where, call_motions.last_dim),
    *(call_motions.response_norm, call_motions.reduce, call_motions.norm),
    *(call_motions.similarity, call_motions.largest, call_motions.conv_1d),
    *_WORK_ALONG_A_DIMENSION,
)

RULES: dict[_MotionRule, LabelRule] = {
    **dict.fromkeys(_REARRANGE, _rearrange),
    **dict.fromkeys(_KEEP, _keep),
    shape_motions.reshape: _relist,
    shape_motions.expand: _repeat,
    shape_motions.list_windows: _list_windows,
    resample_motions.pad: _pad,
    call_motions.matmul: _multiply_matrices,
    call_motions.batched_matmul: _multiply_matrices,
    call_motions.attention: _attend,
    call_motions.multi_head_attention: _attend_with_heads,
    call_motions.einsum: _contract,
}
"""The rule for the operations of each motion. Behind all others it is not known."""
