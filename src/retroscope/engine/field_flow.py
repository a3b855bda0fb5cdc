"""The receptive field of a tensor's elements, and how it flows through an operation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from retroscope.engine.axis_fields import (
    NOTHING,
    AxisField,
    ListedField,
    resample,
    spread,
    through,
    union,
)
from retroscope.engine.motion import (
    Axes,
    Grid,
    Motion,
    Move,
    Positions,
    Resample,
    Shape,
    Slide,
    Stack,
    Stay,
    TokenAxis,
)
from retroscope.engine.position_labels import PositionLabels
from retroscope.geometry import Field, Interval, Window

Fields = tuple[AxisField, ...]
"""A field along each axis."""


@dataclass(frozen=True)
class TensorField:
    """What a tensor's elements see of the image, and which of its dimensions are the axes.

    `uniform`: all positions hold the same value, like a gate expanded to the size of a map.
    `labels` say where each element is if no dimensions do; `fields` are those of their grid.
    `tokens` is the dimension that lists the grid, if one does. `has_places` is False if the axes
    only say how it is shown, as of attention weights. `is_cut`: it was cut into windows, and the
    positions inside a window are along other dimensions. `places` is the part of the image that
    each position is at: what it would see if it read no other one, as a token that attends to
    itself alone. None if that is its field; NOTHING where it is not known.
    """

    fields: Fields
    axes: Axes | None
    global_context: bool = False
    note: str = ""
    uniform: bool = False
    tokens: TokenAxis | None = None
    labels: PositionLabels | None = field(default=None, compare=False, repr=False)
    has_places: bool = True
    is_cut: bool = False
    places: Fields | None = None

    @property
    def fields_of_places(self) -> Fields:
        """What each position sees without what it reads of others."""
        return self.fields if self.places is None else self.places

    @property
    def positions(self) -> Positions | None:
        """Where its positions are; None if they are not known, or in no simple order."""
        return self.axes or self.tokens

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.fields)

    def grid(self, shape: Shape) -> Grid | None:
        """The number of positions along each axis of a tensor of this shape."""
        if self.axes is not None:
            return tuple(shape[axis] for axis in self.axes)
        return None if self.labels is None else self.labels.grid


Operand = tuple[TensorField, Shape]


def lengths_of(operands: Sequence[Operand]) -> Grid:
    """The number of positions along each axis of the first map among the operands."""
    grids = (field.grid(shape) for field, shape in operands if field.axes is not None)
    return next(grids, None) or ()


def field_after(
    motion: Motion, operands: Sequence[Operand], main: Operand, result: Shape
) -> TensorField:
    """The field of an operation's result, which has the shape `result`."""
    if isinstance(motion, Slide | Resample):
        return _field_of_windows(motion, operands, main)
    if isinstance(motion, Move):
        return _field_of_moved_maps(motion, operands, main)
    if isinstance(motion, Stack):
        return _field_of_aligned_maps(
            [_unsqueeze(operand, motion) for operand in operands], result, gated=False
        )
    if isinstance(motion, Stay):
        return _field_of_aligned_maps(operands, result, gated=motion.gated)
    return replace(field_of_all_positions(operands), uniform=motion.uniform)


def _field_of_windows(
    motion: Slide | Resample, operands: Sequence[Operand], main: Operand
) -> TensorField:
    """Windows over the main operand. Filters computed from the image are gates."""
    field, shape = main
    lengths = field.grid(shape)
    assert lengths is not None
    fields = fields_of_windows(field.fields, motion, lengths)
    parts = [part for part, _ in operands]
    result = combine(parts, fields, motion.axes or field.axes, gated=len(operands) > 1)
    if isinstance(motion, Slide):
        places = field.places and places_of_windows(field.places, motion, lengths)
        return replace(result, is_cut=result.is_cut or motion.cuts, places=places)
    are_unknown = motion.joins or field.places is not None
    places = unknown_places(map(len, motion.reads)) if are_unknown else None
    return replace(result, is_cut=result.is_cut and not motion.joins, places=places)


def unknown_places(lengths: Iterable[int]) -> Fields:
    """The places of so many positions along each axis, none of which is known."""
    return tuple(ListedField((NOTHING,) * length) for length in lengths)


def fields_of_windows(fields: Fields, motion: Slide | Resample, lengths: Grid) -> Fields:
    """What windows over a map with these fields see, on axes of these lengths."""
    if isinstance(motion, Slide):
        return tuple(map(through, fields, motion.windows, lengths))
    return tuple(map(resample, fields, motion.reads))


def places_of_windows(places: Fields, motion: Slide | Resample, lengths: Grid) -> Fields:
    """Where windows over a map of these places lie. One that the border of the map cuts is nowhere,
    unless a stride says where the positions beyond the border would be.
    """
    windows = motion.windows if isinstance(motion, Slide) else motion.reads
    return tuple(map(_places_along_axis, places, windows, lengths))


def _places_along_axis(
    place: AxisField, along: Window | Sequence[Interval], length: int
) -> AxisField:
    if isinstance(place, Field) and isinstance(along, Window):
        return place.through(along)
    reads = map(along.reads, range(along.outputs(length))) if isinstance(along, Window) else along
    is_open = isinstance(place, Field)
    return resample(
        place,
        [read if is_open or 0 <= read[0] < read[1] <= length else NOTHING for read in reads],
    )


def _field_of_moved_maps(motion: Move, operands: Sequence[Operand], main: Operand) -> TensorField:
    """One map, or several of one shape that meet position by position."""
    field, shape = main
    if len(operands) == 1:
        return replace(field, axes=motion.axes)
    if any((other.axes, size) != (field.axes, shape) for other, size in operands):
        return field_of_all_positions(operands)
    met = _field_of_aligned_maps(operands, shape, gated=False)
    return replace(met, axes=motion.axes)


def field_of_all_positions(operands: Sequence[Operand]) -> TensorField:
    """All positions of all operands at once: one interval for every element."""
    hulls = [_hull(field, shape) for field, shape in operands]
    fields = tuple(union(along, 1) for along in zip(*hulls, strict=True))
    return combine([field for field, _ in operands], fields, None)


def _hull(field: TensorField, shape: Shape) -> Fields:
    grid = field.grid(shape)
    if grid is None:
        return field.fields
    return tuple(map(spread, field.fields, grid))


def combine(
    parts: Sequence[TensorField], fields: Fields, axes: Axes | None, *, gated: bool = False
) -> TensorField:
    """These fields, with the notes and gates of all parts."""
    note = next((part.note for part in parts if part.note), "")
    context = gated or any(part.global_context for part in parts)
    has_places = all(part.has_places for part in parts)
    is_cut = any(part.is_cut for part in parts)
    return TensorField(fields, axes, context, note, has_places=has_places, is_cut=is_cut)


def _field_of_aligned_maps(
    operands: Sequence[Operand], result: Shape, *, gated: bool
) -> TensorField:
    """Maps that meet position by position. An operand with one value for all positions is a gate.

        maps   (1, 8, 14, 14)  field a   --+
        maps   (1, 8, 14, 14)  field b   --+--> (1, 8, 14, 14), the union of a and b
        gate   (1, 8,  1,  1)  any field --+    plus the whole image through a gate

    Maps that lie along other dimensions see everything at once.
    """
    aligned = [(_align_axes(field, shape, result), shape) for field, shape in operands]
    maps = [field for field, shape in aligned if _spans(field, shape, result)]
    if not maps or len({field.axes for field in maps}) > 1:
        return field_of_all_positions(operands)
    axes = maps[0].axes
    assert axes is not None
    rest = [(field, shape) for field, shape in aligned if not _spans(field, shape, result)]
    gates = [
        field for field, shape in rest if field.uniform or _has_one_position(shape, axes, result)
    ]
    lengths = [result[axis] for axis in axes]
    fields = common_fields([field.fields for field in maps], lengths)
    places = _common_places(maps, lengths)
    if len(gates) < len(rest):
        return replace(field_of_all_positions(operands), axes=axes, places=places or fields)
    met = combine([field for field, _ in aligned], fields, axes, gated=gated or bool(gates))
    return replace(met, places=places)


def field_of_layer(
    field: TensorField, *, axes: Axes | None, note: str, batch_dim: int = 0
) -> TensorField:
    """A field as a layer shows it. Where elements are in no simple order, each sees what all see.

    `axes` and `note` are for such a layer.
    """
    if batch_dim and field.labels is not None:
        field = replace(field, tokens=field.labels.token_axis(batch_dim))
    if field.labels is None or field.tokens is not None:
        return replace(field, labels=None)
    fields, note = _hull(field, ()), field.note or note
    return replace(field, fields=fields, axes=axes, note=note, labels=None, has_places=False)


def is_single(shape: Shape, dims: Sequence[int], rank: int) -> bool:
    """Whether a tensor that broadcasts to this rank has one value along the dimensions."""
    added = rank - len(shape)
    return all(dim < added or shape[dim - added] == 1 for dim in dims)


def _unsqueeze(operand: Operand, motion: Stack) -> Operand:
    field, shape = operand
    if field.axes is not None:
        field = replace(field, axes=motion.axes(field.axes))
    return field, (*shape[: motion.dim], 1, *shape[motion.dim :])


def _align_axes(field: TensorField, shape: Shape, result: Shape) -> TensorField:
    """Axes counted in the result, which may have more dimensions in front."""
    if field.axes is None:
        return field
    added = len(result) - len(shape)
    return replace(field, axes=tuple(axis + added for axis in field.axes))


def _spans(field: TensorField, shape: Shape, result: Shape) -> bool:
    """Whether an operand has a value for each position of the result."""
    added = len(result) - len(shape)
    return field.axes is not None and all(
        shape[axis - added] == result[axis] for axis in field.axes
    )


def _has_one_position(shape: Shape, axes: Axes, result: Shape) -> bool:
    return is_single(shape, axes, len(result))


def common_fields(fields: Sequence[Fields], lengths: Sequence[int]) -> Fields:
    """The union along each axis."""
    return tuple(map(union, zip(*fields, strict=True), lengths))


def _common_places(parts: Sequence[TensorField], lengths: Sequence[int]) -> Fields | None:
    """Where positions are that meet one by one; None if that is all that they see."""
    if all(part.places is None for part in parts):
        return None
    return meet_places([part.fields_of_places for part in parts], lengths)


def meet_places(places: Sequence[Fields], lengths: Sequence[int]) -> Fields:
    """Where positions are that meet one by one: around the places that are known. A place is not
    known where it is missing in one of those that are known elsewhere.
    """
    return tuple(map(_meet_along_axis, zip(*places, strict=True), lengths))


def _meet_along_axis(places: Sequence[AxisField], length: int) -> AxisField:
    known = [
        place for place in places if isinstance(place, Field) or any(map(any, place.intervals))
    ]
    if not known:
        return places[0]
    met = union(known, length)
    if isinstance(met, Field):
        return met
    are_missing = (any(place.at(index) == NOTHING for place in known) for index in range(length))
    intervals = zip(met.intervals, are_missing, strict=True)
    return ListedField(tuple(NOTHING if missing else seen for seen, missing in intervals))
