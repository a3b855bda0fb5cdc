"""The field of a tensor whose elements have position labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from retroscope.engine.field_flow import (
    Fields,
    TensorField,
    combine,
    common_fields,
    field_of_all_positions,
    fields_of_windows,
    is_single,
    meet_places,
    places_of_windows,
)
from retroscope.engine.motion import Grid, Mix, Motion, Resample, Shape, Slide
from retroscope.engine.position_labels import PositionLabels
from retroscope.geometry import Window


@dataclass(frozen=True, eq=False)
class LabelledOperand:
    """A tensor that a result is computed from. `reads` says which of its positions a position of
    the result reads: the same one, a window or all. `has_place`: the result is where the tensor is.
    """

    field: TensorField
    shape: Shape
    reads: Motion
    has_place: bool = True

    @property
    def grid(self) -> Grid | None:
        return self.field.grid(self.shape)


def field_of_labels(
    labels: PositionLabels,
    operands: Sequence[LabelledOperand],
    *,
    gated: bool = False,
    cuts: bool = False,
) -> TensorField:
    """The field of a result whose elements are at these positions.

    `cuts`: the positions inside a window are along another dimension, and not channels.
    """
    rank, grid = labels.numbers.dim(), labels.grid
    fields, is_gated = _fields_of_positions(labels, operands)
    if fields is None:
        result = field_of_all_positions([(operand.field, operand.shape) for operand in operands])
    else:
        parts = [operand.field for operand in operands]
        result = combine(parts, fields, None, gated=gated or is_gated)
    places = _places_of_labels(grid, operands)
    result = replace(result, has_places=True, places=None if places == result.fields else places)
    axes = labels.axes()
    if axes is not None:
        return replace(result, axes=axes)
    is_cut = cuts or result.is_cut
    tokens = None if is_cut and rank > len(grid) + 1 else labels.token_axis()
    return replace(result, tokens=tokens, labels=labels, is_cut=is_cut)


def _fields_of_positions(
    labels: PositionLabels, operands: Sequence[LabelledOperand]
) -> tuple[Fields | None, bool]:
    """What each position of the grid sees, and whether it is scaled by what reads all of them.

    Operands that have positions meet one by one. One with a single position is a gate; any other
    that has none is seen by all: then the fields are None.
    """
    rank, grid = labels.numbers.dim(), labels.grid
    fields, has_gates = list[Fields](), False
    for operand in operands:
        part, reads = operand.field, operand.reads
        if isinstance(reads, Slide | Resample) and operand.grid is not None:
            inside = _inside(reads, operand.grid)
            fields.append(fields_of_windows(part.fields, inside, operand.grid))
        elif isinstance(reads, Mix):
            return None, False
        elif operand.grid == grid:
            fields.append(part.fields)
        elif part.uniform or is_single(operand.shape, labels.varying, rank):
            has_gates = True
        else:
            return None, False
    return (common_fields(fields, grid) if fields else None), has_gates


def _places_of_labels(grid: Grid, operands: Sequence[LabelledOperand]) -> Fields | None:
    """Where those of the same grid are; else positions are in the middle of their windows."""
    placed = [operand for operand in operands if operand.has_place]
    places = [operand.field.fields_of_places for operand in placed if operand.grid == grid]
    if not places:
        places = [
            places_of_windows(operand.field.fields_of_places, _middles(operand.reads), operand.grid)
            for operand in placed
            if isinstance(operand.reads, Slide | Resample) and operand.grid is not None
        ]
    return meet_places(places, grid) if places else None


def _middles(reads: Slide | Resample) -> Slide | Resample:
    return Slide(tuple(map(_middle, reads.windows))) if isinstance(reads, Slide) else reads


def _middle(window: Window) -> Window:
    """The same windows, of which each reads its middle position alone, or the two in the middle."""
    beside = (window.reach - 1) // 2
    size = 2 - window.reach % 2
    return Window(size, window.stride, window.before - beside, window.after - beside)


def _inside(motion: Slide | Resample, lengths: Grid) -> Slide | Resample:
    """The same reads without what lies beyond the map."""
    if isinstance(motion, Slide):
        return motion
    reads = (
        tuple((max(first, 0), min(stop, length)) for first, stop in along)
        for along, length in zip(motion.reads, lengths, strict=True)
    )
    return Resample(tuple(reads))
