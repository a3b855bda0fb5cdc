"""One dry forward pass: every operation, every layer, and the field of each.

The survey is made for one size of picture. Its steps are the network's program as that size runs
it; the region runner follows them, so that what a network computes from the size of its input is
read here and never from a crop.
"""

from dataclasses import dataclass, replace

import torch

from retroscope.engine.field_flow import Operand, Seen, moved
from retroscope.engine.intercept import module_calls, run
from retroscope.engine.isolation import device_of, dtype_of, undisturbed
from retroscope.engine.layer_names import Naming
from retroscope.engine.motion import Axes, Mix, Motion, Move, Place, Shape, Slide, Stay
from retroscope.engine.operations import (
    TABLE,
    Args,
    Function,
    Kwargs,
    Operation,
    asks_only,
    channels_stand_last,
    is_itself,
    makes_anew,
    name_of,
    positional,
    tensors_in,
)
from retroscope.engine.tensor_map import Marks
from retroscope.geometry import Field, ReceptiveField
from retroscope.results.layers import Layer


@dataclass(frozen=True)
class Step:
    """One torch call of the forward pass.

    `form` is the type of its result, `given` its arguments without the tensors, `lengths` those of
    the map that its windows slide over.
    """

    function: Function
    operation: Operation | None
    motion: Motion | None
    shapes: tuple[Shape, ...]
    seen: Seen | None
    form: type = torch.Tensor
    given: object = None
    lengths: tuple[int, int] = (0, 0)

    def is_given(self, args: Args, kwargs: Kwargs) -> bool:
        """Whether these are, tensors aside, the arguments of the full picture's run."""
        return _given((args, kwargs)) == self.given


def _given(value: object) -> object:
    """Arguments without their tensors; a parameter is known by its identity."""
    if isinstance(value, torch.nn.Parameter):
        return "parameter", id(value)
    if isinstance(value, torch.Tensor):
        return "tensor"
    if isinstance(value, list | tuple):
        return tuple(_given(one) for one in value)
    if isinstance(value, dict):
        return {key: _given(one) for key, one in value.items()}
    return value


@dataclass(frozen=True)
class Survey:
    """The program of a network for pictures of one size, and the layers in it."""

    size: tuple[int, int]
    steps: tuple[Step, ...]
    layers: tuple[Layer, ...]
    channels_last: bool = True

    @property
    def alone(self) -> bool:
        """Whether a picture must run by itself: the network mixes those of a batch."""
        return any(isinstance(step.motion, Stay) and step.motion.batch for step in self.steps)


def survey(module: torch.nn.Module, shape: Shape) -> Survey:
    """Runs a grey picture of this shape (channels, height, width) through the network.

    Stored channels last, as it runs fastest; a network whose code takes no such maps, since it
    calls `view` on them, is given pictures stored channels first.
    """
    try:
        return _surveyed(module, shape, channels_last=True)
    except RuntimeError:
        return _surveyed(module, shape, channels_last=False)


def _surveyed(module: torch.nn.Module, shape: Shape, *, channels_last: bool) -> Survey:
    surveyor = _Surveyor(shape)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    picture = torch.zeros(1, *shape, device=device_of(module), dtype=dtype_of(module))
    picture = picture.to(memory_format=layout)
    surveyor.seen[picture] = Seen((Field(), Field()), (2, 3))
    watched = module_calls(module, surveyor.naming.entered, surveyor.naming.left)
    with undisturbed(module), torch.no_grad():
        module(picture)  # some networks keep what they compute in their first run
        with watched:
            run(module, picture, surveyor)
    size = shape[1], shape[2]
    return Survey(size, tuple(surveyor.steps), surveyor.layers(), channels_last)


class _Surveyor:
    def __init__(self, shape: Shape) -> None:
        self.lengths = (shape[1], shape[2])
        self.leaked = ""
        self.seen = Marks[Seen]()
        self.steps: list[Step] = []
        self.naming = Naming()

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        inputs = list(tensors_in(args, kwargs))
        operands = [(self.seen[one], tuple(one.shape)) for one in inputs if one in self.seen]
        constants = tuple(tuple(one.shape) for one in inputs if one not in self.seen)
        changed = written(function, args, kwargs)
        if makes_anew(function):
            operands = []
        called = _given((args, kwargs))
        result = function(*args, **kwargs)
        outputs = list(tensors_in(result))
        if asks_only(function) and not outputs:
            return result
        if is_itself(function, args):
            self._mark_like(outputs, args[0])
            return result
        shapes = tuple(tuple(one.shape) for one in outputs)
        motion, seen, lengths = None, None, (0, 0)
        if operands and not outputs and changed is None:
            self.leaked = f"{name_of(function)} takes numbers out of the network's sight"
        elif operands:
            call = _Call(function, args, kwargs, constants)
            target = outputs[0] if outputs else changed
            assert target is not None
            motion, seen = self._flow(call, operands, tuple(target.shape))
            self._mark(seen, outputs, changed)
            lengths = _lengths(operands)
        elif self.leaked and outputs:
            seen = self._whole(self.leaked)
            self._mark(seen, outputs, changed)
        row = TABLE.get(function)
        step = Step(function, row, motion, shapes, seen, type(result), called, lengths)
        self._note(step, outputs)
        return result

    def _mark_like(self, outputs: list[torch.Tensor], source: torch.Tensor) -> None:
        if source in self.seen:
            for one in outputs:
                self.seen[one] = self.seen[source]

    def _mark(self, seen: Seen, outputs: list[torch.Tensor], changed: torch.Tensor | None) -> None:
        """Marks results; what shares memory with a changed tensor may now see all of it."""
        if changed is not None and self.seen.get(changed) != seen:
            base = () if changed._base is None else (changed._base,)
            for one in (*self.seen.sharing(changed), *base):
                self.seen[one] = self._whole("it shares memory with a tensor changed in place")
            self.seen[changed] = seen
        for one in outputs:
            self.seen[one] = seen

    def _whole(self, note: str) -> Seen:
        fields = Field.whole(self.lengths[0]), Field.whole(self.lengths[1])
        return Seen(fields, None, note=note)

    def _note(self, step: Step, outputs: list[torch.Tensor]) -> None:
        kind = step.operation.kind if step.operation and step.operation.listed else ""
        shown = kind if step.seen is not None and _is_layer(step.shapes) else ""
        self.naming.called(len(self.steps), shown, outputs)
        self.steps.append(step)

    def _flow(self, call: "_Call", operands: list[Operand], result: Shape) -> tuple[Motion, Seen]:
        main = next((one for one in operands if one[0].axes is not None), operands[0])
        motion = self._checked(_motion(call, main, result), call, main, result)
        if isinstance(motion, Mix) and motion.note:
            seen = self._whole(motion.note)
        else:
            seen = moved(motion, operands, main, result)
        if self.leaked:
            seen = replace(seen, global_context=True, note=seen.note or self.leaked)
        if seen.axes is None and channels_stand_last(call.function) and len(result) == 4:
            seen = replace(seen, axes=(1, 2))
        return motion, seen

    def _checked(self, motion: Motion, call: "_Call", main: Operand, result: Shape) -> Motion:
        """The motion, if it predicts the result's size; what does not is not understood."""
        seen, shape = main
        first = next(iter(positional(call.args, call.kwargs)[0]), None)
        is_first = isinstance(first, torch.Tensor) and self.seen.get(first) is seen
        if seen.axes is None or not isinstance(motion, Slide | Move):
            return motion
        lengths = [shape[axis] for axis in seen.axes]
        axes = motion.axes if isinstance(motion, Move) else seen.axes
        if isinstance(motion, Slide):
            lengths = [
                window.outputs(length)
                for window, length in zip((motion.y, motion.x), lengths, strict=True)
            ]
        found = [result[axis] if axis < len(result) else -1 for axis in axes]
        if found == lengths and (is_first or isinstance(motion, Move)):
            return motion
        return Mix(f"{name_of(call.function)} is called in a way that the table does not know")

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


def _lengths(operands: list[Operand]) -> tuple[int, int]:
    """How long the first map among the operands is along y and x."""
    for seen, shape in operands:
        if seen.axes is not None:
            return shape[seen.axes[0]], shape[seen.axes[1]]
    return 0, 0


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


def written(function: Function, args: Args, kwargs: Kwargs) -> torch.Tensor | None:
    """The tensor that a function changes in place, as its name or its arguments say."""
    name = getattr(function, "__name__", "")
    in_place = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
    changed = kwargs.get("out")
    if in_place or kwargs.get("inplace"):
        changed = next(iter(positional(args, kwargs)[0]), None)
    return changed if isinstance(changed, torch.Tensor) else None


def _is_layer(shapes: tuple[Shape, ...]) -> bool:
    return len(shapes) > 0 and len(shapes[0]) in (2, 3, 4) and shapes[0][0] == 1


def _canonical(shape: Shape, axes: Axes | None) -> Shape:
    """Channels, height, width of a batch: maps, tokens with their channels last, or a vector."""
    if len(shape) == 4:
        y, x = axes or (2, 3)
        channel = next(dim for dim in (1, 2, 3) if dim not in (y, x))
        return shape[channel], shape[y], shape[x]
    if axes == (1, 2):
        return 1, shape[1], shape[2]
    return (shape[-1], shape[1], 1) if len(shape) == 3 else (shape[1], 1, 1)


def canonical(output: torch.Tensor, axes: Axes | None) -> torch.Tensor:
    """A layer's output as (batch, channels, height, width)."""
    if output.dim() == 4:
        y, x = axes or (2, 3)
        channel = next(dim for dim in (1, 2, 3) if dim not in (y, x))
        return output.permute(0, channel, y, x)
    if axes == (1, 2):
        return output[:, None]
    return output.transpose(1, 2)[..., None] if output.dim() == 3 else output[:, :, None, None]


def _motion(call: _Call, main: Operand, result: Shape) -> Motion:
    seen, shape = main
    row = TABLE.get(call.function)
    if row is None:
        return Mix(f"{name_of(call.function)} is not in the table of operations")
    if seen.axes is None:
        return Mix()
    place = Place(seen.axes, shape, result, call.constants)
    return row.motion_of(place, call.args, call.kwargs)
