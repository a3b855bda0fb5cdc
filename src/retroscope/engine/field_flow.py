"""What the elements of a tensor see of the picture, and how that flows through an operation."""

from dataclasses import dataclass, replace

from retroscope.engine.motion import Axes, Motion, Move, Shape, Slide, Stay
from retroscope.geometry import Field

Fields = tuple[Field, Field]


@dataclass(frozen=True)
class Seen:
    """What of the picture a tensor's elements see, and which dimensions run along it.

    `uniform`: all positions hold the same, as a gate does that was expanded to a map's size.
    """

    fields: Fields
    axes: Axes | None
    global_context: bool = False
    note: str = ""
    uniform: bool = False


Operand = tuple[Seen, Shape]


def moved(motion: Motion, operands: list[Operand], main: Operand, result: Shape) -> Seen:
    """What the result of an operation sees."""
    seen, _ = main
    if isinstance(motion, Slide):
        return _slid(motion, operands, main)
    if isinstance(motion, Move):
        return replace(seen, axes=motion.axes)
    if isinstance(motion, Stay):
        return _met(operands, result, gated=motion.gated)
    return replace(_collapsed(operands), uniform=motion.uniform)


def _slid(motion: Slide, operands: list[Operand], main: Operand) -> Seen:
    """Windows over the main operand; filters made from the picture are gates."""
    y, x = main[0].fields
    fields = y.through(motion.y), x.through(motion.x)
    parts = [seen for seen, _ in operands]
    return _merged(parts, fields, main[0].axes, gated=len(operands) > 1)


def _collapsed(operands: list[Operand]) -> Seen:
    """All positions of all operands at once: one interval for every element."""
    parts = [_hull(seen, shape) for seen, shape in operands]
    y, x = (_union([fields[axis] for fields in parts]) for axis in (0, 1))
    return _merged([seen for seen, _ in operands], (y, x), None)


def _hull(seen: Seen, shape: Shape) -> Fields:
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


def _merged(parts: list[Seen], fields: Fields, axes: Axes | None, *, gated: bool = False) -> Seen:
    notes = [part.note for part in parts if part.note]
    context = gated or any(part.global_context for part in parts)
    return Seen(fields, axes, context, notes[0] if notes else "")


def _met(operands: list[Operand], result: Shape, *, gated: bool) -> Seen:
    """Maps that meet position by position; what has one value for all positions is a gate."""
    aligned = [(_shifted(seen, shape, result), shape) for seen, shape in operands]
    local = [(seen, shape) for seen, shape in aligned if _spans(seen, shape, result)]
    if not local or len({seen.axes for seen, _ in local}) > 1:
        return _collapsed(operands)
    axes = local[0][0].axes
    assert axes is not None
    others = [(seen, shape) for seen, shape in aligned if not _spans(seen, shape, result)]
    gates = [seen for seen, shape in others if seen.uniform or _single(shape, axes, result)]
    fields = _common([seen.fields for seen, _ in local], (result[axes[0]], result[axes[1]]))
    if len(gates) < len(others) or fields is None:
        return replace(_collapsed(operands), axes=axes)
    parts = [seen for seen, _ in aligned]
    return _merged(parts, fields, axes, gated=gated or bool(gates))


def _shifted(seen: Seen, shape: Shape, result: Shape) -> Seen:
    """Axes counted in the result, which may have more dimensions in front."""
    if seen.axes is None:
        return seen
    ahead = len(result) - len(shape)
    return replace(seen, axes=(seen.axes[0] + ahead, seen.axes[1] + ahead))


def _spans(seen: Seen, shape: Shape, result: Shape) -> bool:
    ahead = len(result) - len(shape)
    return seen.axes is not None and all(shape[axis - ahead] == result[axis] for axis in seen.axes)


def _single(shape: Shape, axes: Axes, result: Shape) -> bool:
    ahead = len(result) - len(shape)
    return all(axis < ahead or shape[axis - ahead] == 1 for axis in axes)


def _common(fields: list[Fields], lengths: tuple[int, int]) -> Fields | None:
    """The union along each axis; None where strides disagree and there is more than one unit."""
    found = []
    for axis in (0, 1):
        own = [pair[axis] for pair in fields]
        if lengths[axis] == 1 and len({field.stride for field in own}) > 1:
            own = [_spread(field, 1) for field in own]
        if len({field.stride for field in own}) > 1:
            return None
        found.append(_union(own))
    return found[0], found[1]
