"""What the elements of a tensor see of the picture, and how that flows through an operation."""

from dataclasses import dataclass, replace

from retroscope.engine.motion import Axes, Motion, Move, Shape, Slide, Stay
from retroscope.geometry import Field

Fields = tuple[Field, Field]


@dataclass(frozen=True)
class TensorField:
    """What of the picture a tensor's elements see, and which dimensions run along it.

    `uniform`: all positions hold the same, as a gate does that was expanded to a map's size.
    """

    fields: Fields
    axes: Axes | None
    global_context: bool = False
    note: str = ""
    uniform: bool = False


Operand = tuple[TensorField, Shape]


def field_after(
    motion: Motion, operands: list[Operand], main: Operand, result: Shape
) -> TensorField:
    """What the result of an operation sees."""
    field, _ = main
    if isinstance(motion, Slide):
        return _field_of_windows(motion, operands, main)
    if isinstance(motion, Move):
        return replace(field, axes=motion.axes)
    if isinstance(motion, Stay):
        return _field_of_aligned_maps(operands, result, gated=motion.gated)
    return replace(_field_of_all_positions(operands), uniform=motion.uniform)


def _field_of_windows(motion: Slide, operands: list[Operand], main: Operand) -> TensorField:
    """Windows over the main operand; filters made from the picture are gates."""
    y, x = main[0].fields
    fields = y.through(motion.y), x.through(motion.x)
    parts = [seen for seen, _ in operands]
    return _combine(parts, fields, main[0].axes, gated=len(operands) > 1)


def _field_of_all_positions(operands: list[Operand]) -> TensorField:
    """All positions of all operands at once: one interval for every element."""
    parts = [_hull(seen, shape) for seen, shape in operands]
    y, x = (_union([fields[axis] for fields in parts]) for axis in (0, 1))
    return _combine([seen for seen, _ in operands], (y, x), None)


def _hull(seen: TensorField, shape: Shape) -> Fields:
    if seen.axes is None:
        return seen.fields
    y, x = (_spread(field, shape[axis]) for field, axis in zip(seen.fields, seen.axes, strict=True))
    return y, x


def _spread(field: Field, length: int) -> Field:
    """One interval that holds those of all units."""
    return Field(field.size + (length - 1) * field.stride, 0, field.start)


def _union(fields: list[Field]) -> Field:
    total = fields[0]
    for field in fields[1:]:
        joined = total.union(field)
        assert joined is not None
        total = joined
    return total


def _combine(
    parts: list[TensorField], fields: Fields, axes: Axes | None, *, gated: bool = False
) -> TensorField:
    notes = [part.note for part in parts if part.note]
    context = gated or any(part.global_context for part in parts)
    return TensorField(fields, axes, context, notes[0] if notes else "")


def _field_of_aligned_maps(operands: list[Operand], result: Shape, *, gated: bool) -> TensorField:
    """Maps that meet position by position; what has one value for all positions is a gate."""
    aligned = [(_align_axes(seen, shape, result), shape) for seen, shape in operands]
    local = [(seen, shape) for seen, shape in aligned if _spans(seen, shape, result)]
    if not local or len({seen.axes for seen, _ in local}) > 1:
        return _field_of_all_positions(operands)
    axes = local[0][0].axes
    assert axes is not None
    others = [(seen, shape) for seen, shape in aligned if not _spans(seen, shape, result)]
    gates = [
        seen for seen, shape in others if seen.uniform or _has_one_position(shape, axes, result)
    ]
    fields = _common_fields([seen.fields for seen, _ in local], (result[axes[0]], result[axes[1]]))
    if len(gates) < len(others) or fields is None:
        return replace(_field_of_all_positions(operands), axes=axes)
    parts = [seen for seen, _ in aligned]
    return _combine(parts, fields, axes, gated=gated or bool(gates))


def _align_axes(seen: TensorField, shape: Shape, result: Shape) -> TensorField:
    """Axes counted in the result, which may have more dimensions in front."""
    if seen.axes is None:
        return seen
    ahead = len(result) - len(shape)
    return replace(seen, axes=(seen.axes[0] + ahead, seen.axes[1] + ahead))


def _spans(seen: TensorField, shape: Shape, result: Shape) -> bool:
    ahead = len(result) - len(shape)
    return seen.axes is not None and all(shape[axis - ahead] == result[axis] for axis in seen.axes)


def _has_one_position(shape: Shape, axes: Axes, result: Shape) -> bool:
    ahead = len(result) - len(shape)
    return all(axis < ahead or shape[axis - ahead] == 1 for axis in axes)


def _common_fields(fields: list[Fields], lengths: tuple[int, int]) -> Fields | None:
    """The union along each axis; None where strides disagree and there is more than one unit."""
    unions = []
    for axis in (0, 1):
        axis_fields = [pair[axis] for pair in fields]
        if lengths[axis] == 1 and len({field.stride for field in axis_fields}) > 1:
            axis_fields = [_spread(field, 1) for field in axis_fields]
        if len({field.stride for field in axis_fields}) > 1:
            return None
        unions.append(_union(axis_fields))
    return unions[0], unions[1]
