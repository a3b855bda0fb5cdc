"""The survey: one dry forward pass that lists every step, every layer, and the field of each.

A survey is made for one size of image. Its steps are the network's program at that size; the other
passes follow them, so what a network computes from the size of its input is read here and never
from a crop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from retroscope.engine.field_flow import Operand, TensorField, field_after
from retroscope.engine.intercept import module_calls, run
from retroscope.engine.interpreter import Call, Interpreter
from retroscope.engine.isolation import device_of, dtype_of, preserve_state
from retroscope.engine.layer_names import LayerNamer
from retroscope.engine.motion import Mix, Motion, Move, Place, Shape, Slide
from retroscope.engine.operations import (
    TABLE,
    creates_from_shape,
    has_channels_last,
    name_of,
    positional,
    tensors_in,
    value_arguments,
)
from retroscope.engine.program import Step, Survey, argument_signature, channel_shape
from retroscope.engine.tensor_map import TensorMap
from retroscope.geometry import Field, ReceptiveField
from retroscope.results.layers import Layer


def survey(module: torch.nn.Module, shape: Shape) -> Survey:
    """Runs a black image of this shape (channels, height, width) through the network.

    The image is stored channels last, which is fastest. Networks that call `view` on their maps
    cannot take that; theirs is stored channels first.
    """
    try:
        return _run_survey(module, shape, channels_last=True)
    except RuntimeError:
        return _run_survey(module, shape, channels_last=False)


def _run_survey(module: torch.nn.Module, shape: Shape, *, channels_last: bool) -> Survey:
    recorder = _ArgumentRecorder()
    surveyor = _Surveyor(shape, recorder.arguments)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    image = torch.zeros(1, *shape, device=device_of(module), dtype=dtype_of(module))
    image = image.to(memory_format=layout)
    surveyor.fields[image] = TensorField((Field(), Field()), (2, 3))
    namer = surveyor.namer
    with preserve_state(module), torch.no_grad():
        run(module, image, recorder)  # some networks cache what they compute in their first run
        with module_calls(module, namer.enter_module, namer.leave_module):
            run(module, image, surveyor)
    size = shape[1], shape[2]
    steps, layers = tuple(surveyor.steps), surveyor.layers()
    return Survey(size, steps, layers, channels_last, surveyor.has_hidden_calls)


class _ArgumentRecorder(Interpreter):
    """Remembers the tensors of a pass. Those that come back in the next pass are constants."""

    def __init__(self) -> None:
        super().__init__()
        self.arguments = TensorMap[bool]()

    def step(self, call: Call) -> object:
        for tensor in call.tensors():
            self.arguments[tensor] = True
        return call.run()


_HIDDEN = "it depends on scripted, compiled or vmapped code, whose operations cannot be seen"


class _Surveyor(Interpreter):
    """`fields` has an entry for each tensor of the image.

    `leak` is set once a value has left the tensors, as with `x.item()`: from then on every tensor
    may depend on the whole image.

    A tensor that no step of this pass has returned, and that the pass before it did not have, comes
    from a function that no handler sees: scripted, compiled or vmapped code. Nothing is known of
    what it reads.
    """

    def __init__(self, shape: Shape, constants: TensorMap[bool]) -> None:
        super().__init__()
        self.constants = constants
        self.has_hidden_calls = False
        self.size = (shape[1], shape[2])
        self.leak = ""
        self.fields = TensorMap[TensorField]()
        self.steps: list[Step] = []
        self.namer = LayerNamer()

    def identity(self, call: Call) -> object:
        result, source = call.run(self.execute), call.args[0]
        if source in self.fields:
            for output in tensors_in(result):
                self.fields[output] = self.fields[source]
        return result

    def step(self, call: Call) -> object:
        self._mark_hidden_results(call)
        operands = [] if creates_from_shape(call.function) else self._operands(call)
        constants = tuple(tuple(t.shape) for t in _value_tensors(call) if t not in self.fields)
        signature = argument_signature((call.args, call.kwargs))
        result = call.run(self.execute)
        outputs = list(tensors_in(result))
        shapes = tuple(tuple(output.shape) for output in outputs)
        motion, field = self._flow(call, operands, constants, outputs)
        if field is None:
            for output in outputs:
                self.constants[output] = True
        row, lengths = TABLE.get(call.function), (0, 0) if motion is None else _lengths(operands)
        step = Step(call.function, row, motion, shapes, field, type(result), signature, lengths)
        self._record(step, outputs)
        return result

    def _mark_hidden_results(self, call: Call) -> None:
        for tensor in call.tensors():
            if tensor in self.fields or tensor in self.constants or _is_from_numpy(tensor):
                continue
            self.has_hidden_calls = True
            self.fields[tensor] = self._whole_image(_HIDDEN)

    def _operands(self, call: Call) -> list[Operand]:
        """The tensors of the image among the arguments, as they are before the call."""
        tensors = _value_tensors(call)
        return [(self.fields[t], tuple(t.shape)) for t in tensors if t in self.fields]

    def _flow(
        self,
        call: Call,
        operands: Sequence[Operand],
        constants: tuple[Shape, ...],
        outputs: Sequence[torch.Tensor],
    ) -> tuple[Motion | None, TensorField | None]:
        """The motion of a call, and the field of its results, which is recorded."""
        target = call.target
        changed = outputs[0] if outputs else target
        if operands and changed is None:
            self.leak = f"{name_of(call.function)} takes values out of the tensors"
            return None, None
        if operands:
            assert changed is not None
            motion, field = self._motion_and_field(call, operands, constants, tuple(changed.shape))
            self._mark(field, outputs, target)
            return motion, field
        if self.leak and outputs:
            field = self._whole_image(self.leak)
            self._mark(field, outputs, target)
            return None, field
        return None, None

    def _motion_and_field(
        self,
        call: Call,
        operands: Sequence[Operand],
        constants: tuple[Shape, ...],
        result: Shape,
    ) -> tuple[Motion, TensorField]:
        main = next((operand for operand in operands if operand[0].axes is not None), operands[0])
        motion = self._verify(_motion(call, main, constants, result), call, main, result)
        if any(field.note == _HIDDEN for field, _ in operands):
            motion = Mix(_HIDDEN)
        if isinstance(motion, Mix) and motion.note:
            field = self._whole_image(motion.note)
        else:
            field = field_after(motion, list(operands), main, result)
        if self.leak:
            field = replace(field, global_context=True, note=field.note or self.leak)
        if field.axes is None and has_channels_last(call.function) and len(result) == 4:
            field = replace(field, axes=(1, 2))
        return motion, field

    def _verify(self, motion: Motion, call: Call, main: Operand, result: Shape) -> Motion:
        """The motion if it predicts the result's size; otherwise the call is not understood."""
        field, shape = main
        if field.axes is None or not isinstance(motion, Slide | Move):
            return motion
        first = next(iter(positional(call.args, call.kwargs)[0]), None)
        is_first = isinstance(first, torch.Tensor) and self.fields.get(first) is field
        lengths = [shape[axis] for axis in field.axes]
        axes = motion.axes if isinstance(motion, Move) else field.axes
        if isinstance(motion, Slide):
            windows = zip((motion.y, motion.x), lengths, strict=True)
            lengths = [window.outputs(length) for window, length in windows]
        actual = [result[axis] if axis < len(result) else -1 for axis in axes]
        if actual == lengths and (is_first or isinstance(motion, Move)):
            return motion
        return Mix(f"{name_of(call.function)} is called in a way that the table does not know")

    def _mark(
        self, field: TensorField, outputs: Sequence[torch.Tensor], target: torch.Tensor | None
    ) -> None:
        """Records a field. Tensors that share memory with a changed one may now see all of it."""
        if target is not None and self.fields.get(target) != field:
            base = () if target._base is None else (target._base,)
            for tensor in (*self.fields.sharing(target), *base):
                self.fields[tensor] = self._whole_image(
                    "it shares memory with a tensor changed in place"
                )
            self.fields[target] = field
        for output in outputs:
            self.fields[output] = field

    def _whole_image(self, note: str) -> TensorField:
        height, width = self.size
        return TensorField((Field.whole(height), Field.whole(width)), None, note=note)

    def _record(self, step: Step, outputs: list[torch.Tensor]) -> None:
        kind = step.operation.kind if step.operation and step.operation.is_layer else ""
        is_layer = step.field is not None and _is_layer_shape(step.shapes)
        self.namer.record_step(len(self.steps), kind if is_layer else "", outputs)
        self.steps.append(step)

    def layers(self) -> tuple[Layer, ...]:
        return tuple(
            replace(
                self._layer(self.steps[names.step]),
                name=names.name,
                aliases=names.aliases,
                index=names.step,
            )
            for names in self.namer.named_steps()
        )

    def _layer(self, step: Step) -> Layer:
        assert step.field is not None
        assert step.operation is not None
        channels, height, width = channel_shape(step.shapes[0], step.field.axes)
        return Layer(
            name="",
            kind=step.operation.kind,
            channels=channels,
            size=(height, width),
            field=self._receptive_field(step.field, (height, width)),
            note=step.field.note,
        )

    def _receptive_field(self, field: TensorField, size: tuple[int, int]) -> ReceptiveField:
        axes = zip(field.fields, size, self.size, strict=True)
        whole = all(_covers(axis, length, pixels) for axis, length, pixels in axes)
        return ReceptiveField(*field.fields, whole, field.global_context and not whole)


def _lengths(operands: Sequence[Operand]) -> tuple[int, int]:
    """The height and width of the first map among the operands."""
    for field, shape in operands:
        if field.axes is not None:
            return shape[field.axes[0]], shape[field.axes[1]]
    return 0, 0


def _covers(field: Field, length: int, pixels: int) -> bool:
    """Whether all units share one interval and it is the whole axis."""
    start, stop = field.at(0)
    return (field.stride == 0 or length == 1) and start <= 0 and stop >= pixels


def _is_layer_shape(shapes: tuple[Shape, ...]) -> bool:
    return len(shapes) > 0 and len(shapes[0]) in (2, 3, 4) and shapes[0][0] == 1


def _is_from_numpy(tensor: torch.Tensor) -> bool:
    """Whether its memory is an array's, whose values can only come from a tensor by a leak."""
    return not tensor.untyped_storage().resizable()


def _value_tensors(call: Call) -> Iterator[torch.Tensor]:
    return tensors_in(*value_arguments(call.function, call.args, call.kwargs))


def _is_unit_map(shape: Shape) -> bool:
    """Whether a tensor of four dimensions has a single position."""
    return len(shape) == 4 and shape[2:] == (1, 1)


def _motion(call: Call, main: Operand, constants: tuple[Shape, ...], result: Shape) -> Motion:
    field, shape = main
    row = TABLE.get(call.function)
    if row is None:
        return Mix(f"{name_of(call.function)} is not in the table of operations")
    if field.axes is None:
        return Mix(uniform=row.repeats and _is_unit_map(shape))
    place = Place(field.axes, shape, result, constants)
    return row.motion_of(place, call.args, call.kwargs)
