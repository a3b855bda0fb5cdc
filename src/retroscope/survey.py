"""One dry forward pass: every operation, every layer, and the field of each.

The survey is made for one size of picture. Its steps are the network's program as that size runs
it; the region runner follows them, so that what a network computes from the size of its input is
read here and never from a crop.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from retroscope.engine import device_of, dtype_of, module_calls, run, undisturbed
from retroscope.geometry import Field, ReceptiveField
from retroscope.marks import Marks
from retroscope.motion import Axes, Mix, Motion, Move, Place, Shape, Slide, Stay
from retroscope.names import Naming
from retroscope.ops import TABLE, Args, Function, Kwargs, Operation, asks_only, name_of, tensors_in
from retroscope.results import Layer

Fields = tuple[Field, Field]


@dataclass(frozen=True)
class Seen:
    """What of the picture a tensor's elements see, and which dimensions run along it."""

    fields: Fields
    axes: Axes | None
    global_context: bool = False
    note: str = ""


@dataclass(frozen=True)
class Step:
    """One torch call of the forward pass; `form` is the type of its result."""

    function: Function
    operation: Operation | None
    motion: Motion | None
    shapes: tuple[Shape, ...]
    seen: Seen | None
    form: type = torch.Tensor


@dataclass(frozen=True)
class Survey:
    """The program of a network for pictures of one size, and the layers in it."""

    size: tuple[int, int]
    steps: tuple[Step, ...]
    layers: tuple[Layer, ...]

    @property
    def alone(self) -> bool:
        """Whether a picture must run by itself: the network mixes those of a batch."""
        return any(isinstance(step.motion, Stay) and step.motion.batch for step in self.steps)


def survey(module: torch.nn.Module, shape: Shape) -> Survey:
    """Runs a grey picture of this shape (channels, height, width) through the network."""
    surveyor = _Surveyor(shape)
    picture = torch.zeros(1, *shape, device=device_of(module), dtype=dtype_of(module))
    surveyor.seen[picture] = Seen((Field(), Field()), (2, 3))
    watched = module_calls(module, surveyor.naming.entered, surveyor.naming.left)
    with undisturbed(module), torch.no_grad(), watched:
        run(module, picture, surveyor)
    return Survey((shape[1], shape[2]), tuple(surveyor.steps), surveyor.layers())


class _Surveyor:
    def __init__(self, shape: Shape) -> None:
        self.lengths = (shape[1], shape[2])
        self.seen = Marks[Seen]()
        self.steps: list[Step] = []
        self.naming = Naming()

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        inputs = list(tensors_in(args, kwargs))
        operands = [(self.seen[one], tuple(one.shape)) for one in inputs if one in self.seen]
        constants = tuple(tuple(one.shape) for one in inputs if one not in self.seen)
        result = function(*args, **kwargs)
        outputs = list(tensors_in(result))
        if asks_only(function) and not outputs:
            return result
        shapes = tuple(tuple(one.shape) for one in outputs)
        motion, seen = None, None
        if operands and outputs:
            call = _Call(function, args, kwargs, constants)
            motion, seen = self._flow(call, operands, shapes[0])
            for one in [*outputs, *written(function, inputs)]:
                self.seen[one] = seen
        self._note(Step(function, TABLE.get(function), motion, shapes, seen, type(result)), outputs)
        return result

    def _note(self, step: Step, outputs: list[torch.Tensor]) -> None:
        kind = step.operation.kind if step.operation and step.operation.listed else ""
        shown = kind if step.seen is not None and _is_layer(step.shapes) else ""
        self.naming.called(len(self.steps), shown, outputs)
        self.steps.append(step)

    def _flow(
        self, call: "_Call", operands: list[tuple[Seen, Shape]], result: Shape
    ) -> tuple[Motion, Seen]:
        main = next((one for one in operands if one[0].axes is not None), operands[0])
        motion = _motion(call, main, result)
        if isinstance(motion, Mix) and motion.note:
            fields = Field.whole(self.lengths[0]), Field.whole(self.lengths[1])
            return motion, Seen(fields, None, note=motion.note)
        return motion, _moved(motion, operands, main, result)

    def layers(self) -> tuple[Layer, ...]:
        return tuple(
            replace(
                self._layer(self.steps[found.step]),
                name=found.name,
                aliases=found.aliases,
                index=found.step,
            )
            for found in self.naming.found()
        )

    def _layer(self, step: Step) -> Layer:
        assert step.seen is not None
        assert step.operation is not None
        channels, *size = _canonical(step.shapes[0], step.seen.axes)
        return Layer(
            name="",
            kind=step.operation.kind,
            channels=channels,
            size=(size[0], size[1]),
            field=self._field(step.seen, (size[0], size[1])),
            note=step.seen.note,
        )

    def _field(self, seen: Seen, size: tuple[int, int]) -> ReceptiveField:
        covered = zip(seen.fields, size, self.lengths, strict=True)
        whole = all(_covers(field, length, pixels) for field, length, pixels in covered)
        return ReceptiveField(*seen.fields, whole, seen.global_context and not whole)


@dataclass(frozen=True)
class _Call:
    function: Function
    args: Args
    kwargs: Kwargs
    constants: tuple[Shape, ...]


def _covers(field: Field, length: int, pixels: int) -> bool:
    """Whether all units share one interval and it is the whole axis."""
    start, stop = field.at(0)
    return (field.stride == 0 or length == 1) and start <= 0 and stop >= pixels


def written(function: Function, inputs: list[torch.Tensor]) -> Iterable[torch.Tensor]:
    """The tensor that a function changes in place, as its name says."""
    name = getattr(function, "__name__", "")
    in_place = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
    return inputs[:1] if in_place else []


def _is_layer(shapes: tuple[Shape, ...]) -> bool:
    return len(shapes) > 0 and len(shapes[0]) in (2, 3, 4) and shapes[0][0] == 1


def _canonical(shape: Shape, axes: Axes | None) -> Shape:
    """Channels, height, width of a batch: maps, tokens with their channels last, or a vector."""
    if len(shape) == 4:
        y, x = axes or (2, 3)
        channel = next(dim for dim in (1, 2, 3) if dim not in (y, x))
        return shape[channel], shape[y], shape[x]
    return (shape[-1], shape[1], 1) if len(shape) == 3 else (shape[1], 1, 1)


def canonical(output: torch.Tensor, axes: Axes | None) -> torch.Tensor:
    """A layer's output as (batch, channels, height, width)."""
    if output.dim() == 4:
        y, x = axes or (2, 3)
        channel = next(dim for dim in (1, 2, 3) if dim not in (y, x))
        return output.permute(0, channel, y, x)
    return output.transpose(1, 2)[..., None] if output.dim() == 3 else output[:, :, None, None]


def _motion(call: _Call, main: tuple[Seen, Shape], result: Shape) -> Motion:
    seen, shape = main
    row = TABLE.get(call.function)
    if row is None:
        return Mix(f"{name_of(call.function)} is not in the table of operations")
    if seen.axes is None:
        return Mix()
    place = Place(seen.axes, shape, result, call.constants)
    return row.motion_of(place, call.args, call.kwargs)


def _moved(
    motion: Motion, operands: list[tuple[Seen, Shape]], main: tuple[Seen, Shape], result: Shape
) -> Seen:
    seen, _ = main
    if isinstance(motion, Slide):
        y, x = seen.fields
        return replace(seen, fields=(y.through(motion.y), x.through(motion.x)))
    if isinstance(motion, Move):
        return replace(seen, axes=motion.axes)
    if isinstance(motion, Stay):
        return _met(operands, result, gated=motion.gated)
    return _collapsed(operands)


def _collapsed(operands: list[tuple[Seen, Shape]]) -> Seen:
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


def _met(operands: list[tuple[Seen, Shape]], result: Shape, *, gated: bool) -> Seen:
    """Maps that meet position by position; what has one value for all positions is a gate."""
    aligned = [(_shifted(seen, shape, result), shape) for seen, shape in operands]
    local = [(seen, shape) for seen, shape in aligned if _spans(seen, shape, result)]
    if not local or len({seen.axes for seen, _ in local}) > 1:
        return _collapsed(operands)
    axes = local[0][0].axes
    assert axes is not None
    others = [(seen, shape) for seen, shape in aligned if not _spans(seen, shape, result)]
    gates = [seen for seen, shape in others if _single(shape, axes, result)]
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


def kinds(layers: Iterable[Layer]) -> Counter[str]:
    """How many layers there are of each kind."""
    return Counter(layer.kind for layer in layers)
