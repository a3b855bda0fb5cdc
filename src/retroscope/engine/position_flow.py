"""Where the positions of a call's results are, beyond what the motions of maps say."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from retroscope.engine.call_arguments import tensors_in
from retroscope.engine.call_kinds import operation_of, value_arguments
from retroscope.engine.field_flow import (
    Operand,
    TensorField,
    field_of_all_positions,
)
from retroscope.engine.interpreter import Call
from retroscope.engine.label_fields import LabelledOperand, field_of_labels
from retroscope.engine.label_rules import follow_labels, rearranges_or_attends
from retroscope.engine.labelled_call import LabelledCall, LabelledResult
from retroscope.engine.motion import Mix, Motion, Place, Resample, Shape, Slide
from retroscope.engine.operations import name_of
from retroscope.engine.position_labels import PositionLabels
from retroscope.engine.program import Mixing
from retroscope.engine.tensor_map import TensorMap


@dataclass(frozen=True, eq=False)
class PlacedResults:
    """The field of each output of a call, and whether its positions attended to each other."""

    fields: Sequence[TensorField]
    attends: bool = False


def place_results(
    call: Call,
    fields: TensorMap[TensorField],
    *,
    constants: tuple[Shape, ...],
    outputs: Sequence[torch.Tensor],
) -> PlacedResults | None:
    """Where the results are by the labels of what is read; None if these do not say it.

    For results of which no dimensions are known to run along the axes.
    """
    arguments = value_arguments(call.function, call.args, call.kwargs)
    tensors = [tensor for tensor in tensors_in(*arguments) if tensor in fields]
    labelled = _labelled_call(call, fields, tensors, constants=constants, outputs=outputs)
    result = None if labelled is None else follow_labels(labelled)
    if result is None:
        return None
    operands = [
        LabelledOperand(
            fields[tensor],
            tuple(tensor.shape),
            result.motion_of(tensor),
            has_place=result.is_at(tensor),
        )
        for tensor in tensors
    ]
    placed = [_field_of_numbers(numbers, result, operands) for numbers in result.numbers]
    return PlacedResults(placed, result.attends)


def _labelled_call(
    call: Call,
    fields: TensorMap[TensorField],
    tensors: Sequence[torch.Tensor],
    *,
    constants: tuple[Shape, ...],
    outputs: Sequence[torch.Tensor],
) -> LabelledCall | None:
    """The call with the labels of these tensors; None if there is nothing to follow."""
    operation = operation_of(call.function, fields[tensors[0]].rank) if tensors else None
    has_labels = any(fields[tensor].labels for tensor in tensors)
    if operation is None or not (has_labels or rearranges_or_attends(operation)):
        return None
    labels = {id(tensor): own for tensor in tensors if (own := _labels(fields, tensor))}
    if not labels or not outputs:
        return None
    of_image = frozenset(map(id, tensors))
    return LabelledCall(call, operation, labels, of_image, constants, outputs)


def _field_of_numbers(
    numbers: torch.Tensor | None, result: LabelledResult, operands: Sequence[LabelledOperand]
) -> TensorField:
    """The field of an output. One without positions sees what all positions of all operands see."""
    labels = None
    if numbers is not None:
        labels = PositionLabels.of(numbers, result.grid, is_pairs=result.is_pairs)
    if labels is None:
        return field_of_all_positions([(operand.field, operand.shape) for operand in operands])
    return field_of_labels(labels, operands, gated=result.gated, cuts=result.cuts)


def _labels(fields: TensorMap[TensorField], tensor: torch.Tensor) -> PositionLabels | None:
    field, shape = fields[tensor], tuple(tensor.shape)
    if field.labels is not None:
        return field.labels
    if field.axes is None or field.uniform or prod(field.grid(shape) or ()) <= 1:
        return None
    return PositionLabels.of_map(field.axes, shape)


def mixing_of(
    motion: Motion | None, operands: Sequence[Operand], placed: PlacedResults | None, result: Shape
) -> Mixing | None:
    """How a call mixes positions, of which its operands have more than one."""
    grids = [grid for field, shape in operands if (grid := field.grid(shape)) and prod(grid) > 1]
    if not grids:
        return None
    if placed is not None:
        return Mixing.ATTENTION if placed.attends else None
    rank = len(grids[0])
    is_one = isinstance(motion, Slide | Resample) and result[-rank:] == (1,) * rank
    return Mixing.POOLING if isinstance(motion, Mix) or is_one else None


def motion_of_call(
    call: Call, main: Operand, constants: tuple[Shape, ...], result: Shape
) -> Motion:
    """How a call moves the positions of its first map, from its row in the table."""
    field, shape = main
    row = operation_of(call.function, field.rank)
    if row is None:
        return Mix(f"{name_of(call.function)} is not in the table of operations")
    if field.axes is None:
        return Mix(uniform=row.repeats and _is_unit_map(shape, field.rank))
    place = Place(field.axes, shape, result, constants)
    return row.motion_of(place, call.args, call.kwargs, function=name_of(call.function))


def _is_unit_map(shape: Shape, rank: int) -> bool:
    """Whether a tensor with a dimension for each axis has a single position."""
    return len(shape) == rank + 2 and set(shape[2:]) == {1}
