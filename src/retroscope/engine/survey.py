"""The survey: one dry forward pass that lists every step, every layer, and the field of each.

A survey is made for one size of image. Its steps are the network's program at that size; the other
passes follow them, so what a network computes from the size of its input is read here and never
from a crop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from retroscope.engine.batch_test import mixes_images
from retroscope.engine.call_arguments import positional, tensors_in
from retroscope.engine.call_kinds import (
    batch_dim_of,
    creates_from_shape,
    has_channels_last,
    has_size_of_values,
    operation_of,
    value_arguments,
    warns_of_layout,
    writes_to_part,
    written_part,
)
from retroscope.engine.data_flow import DataFlow
from retroscope.engine.field_flow import (
    Operand,
    TensorField,
    field_after,
    field_of_layer,
    lengths_of,
)
from retroscope.engine.intercept import is_inside_custom_function, module_calls, run
from retroscope.engine.interpreter import Call, Interpreter
from retroscope.engine.isolation import device_of, dtype_of, preserve_state
from retroscope.engine.layer_fields import layer_of_step
from retroscope.engine.layer_names import LayerNamer
from retroscope.engine.motion import (
    Mix,
    Motion,
    Move,
    Resample,
    Shape,
    Slide,
    Stay,
    output_lengths,
)
from retroscope.engine.operations import name_of
from retroscope.engine.other_inputs import OtherInputFlow
from retroscope.engine.position_flow import (
    PlacedResults,
    mixing_of,
    motion_of_call,
    place_results,
)
from retroscope.engine.program import Step, Survey, argument_signature, has_attention
from retroscope.engine.shared_memory import field_of_base, is_from_numpy, twin_of
from retroscope.engine.tensor_map import TensorMap, address_of
from retroscope.engine.unlisted_layers import (
    is_layer_shape,
    reads_regions,
    skipped_modules,
    unlisted_modules,
    unlisted_step,
)
from retroscope.geometry import IMAGE_RANK, Field
from retroscope.results.layers import Layer, UnlistedLayer


def survey(module: torch.nn.Module, shape: Shape) -> Survey:
    """Runs a black input of this shape through the network: of an image (channels, height, width).

    An image is stored channels last, which is fastest. Networks that call `view` on their maps
    cannot take that; theirs is stored channels first, as signals and volumes are.
    """
    if len(shape) != IMAGE_RANK + 1:
        return _run_survey(module, shape, channels_last=False)
    try:
        return _run_survey(module, shape, channels_last=True)
    except RuntimeError:
        return _run_survey(module, shape, channels_last=False)


def _run_survey(module: torch.nn.Module, shape: Shape, *, channels_last: bool) -> Survey:
    recorder = _ArgumentRecorder(channels_last=channels_last)
    surveyor = _Surveyor(shape, recorder.addresses, OtherInputFlow(module))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    image = torch.zeros(1, *shape, device=device_of(module), dtype=dtype_of(module))
    image = image.to(memory_format=layout)
    rank = len(surveyor.size)
    surveyor.fields[image] = TensorField((Field(),) * rank, tuple(range(2, rank + 2)))
    namer = surveyor.namer
    with preserve_state(module), torch.no_grad():
        run(module, image.clone(), recorder)  # some networks cache what their first run computes
        with module_calls(module, namer.enter_module, namer.leave_module):
            run(module, image, surveyor)
    return Survey(
        size=shape[1:],
        steps=tuple(surveyor.steps),
        layers=surveyor.layers(),
        channels_last=channels_last,
        has_hidden_calls=surveyor.has_hidden_calls,
        unlisted=surveyor.unlisted_layers(module),
        batch_test=partial(mixes_images, module, shape),
    )


class _ArgumentRecorder(Interpreter):
    """Remembers the tensors of a pass. Those that come back in the next pass are constants."""

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.addresses = TensorMap[int]()

    def step(self, call: Call) -> object:
        if self.channels_last and warns_of_layout(call.function):
            raise RuntimeError(f"{name_of(call.function)} wants its channels first")
        for tensor in call.tensors():
            self.addresses[tensor] = address_of(tensor)
        return call.run()


_HIDDEN = "it depends on operations that cannot be seen: scripted, compiled, vmapped, or `set_`"


class _Surveyor(Interpreter):
    """`fields` has an entry for each tensor of the image, `addresses` for constants as well.

    `leak` is set once a value has left the tensors, as with `x.item()`: from then on every tensor
    may depend on the whole image.

    A tensor that no step of this pass has returned, and that the pass before it did not have, comes
    from a function that no handler sees: scripted, compiled or vmapped code. So does what lies in
    a tensor whose memory such a call exchanges, as `set_` does. Nothing is known of what it reads.
    """

    def __init__(
        self, shape: Shape, addresses: TensorMap[int], other_inputs: OtherInputFlow
    ) -> None:
        super().__init__()
        self.other_inputs = other_inputs
        self.addresses = addresses
        self.has_hidden_calls = False
        self.size = shape[1:]
        self.leak = ""
        self.fields = TensorMap[TensorField]()
        self.data_flow = DataFlow()
        self.steps: list[Step] = []
        self.of_regions: set[int] = set()
        self.unlisted: list[UnlistedLayer] = []
        self.namer = LayerNamer()

    def identity(self, call: Call) -> object:
        result, source = call.run(self.execute), call.args[0]
        if source in self.fields:
            for output in tensors_in(result):
                self.fields[output] = self.fields[source]
            self.data_flow.record_copy(source, tensors_in(result))
        return result

    def step(self, call: Call) -> object:
        self._mark_hidden_results(call)
        is_created = creates_from_shape(call.function, call.args, call.kwargs)
        operands = [] if is_created else self._operands(call)
        constants = tuple(tuple(t.shape) for t in _value_tensors(call) if t not in self.fields)
        signature = argument_signature((call.args, call.kwargs))
        row = operation_of(call.function, len(self.size))
        inputs = self.data_flow.inputs(call.tensors())
        depth = self.data_flow.depth(call.tensors()) + (row is not None and row.is_linear)
        result = call.run(self.execute)
        outputs = list(tensors_in(result))
        shapes = tuple(tuple(output.shape) for output in outputs)
        motion, field, placed = self._flow(call, operands, constants, outputs)
        unplaced = motion.note if isinstance(motion, Mix) else ""
        lengths = () if motion is None else lengths_of(operands)
        step = Step(
            call.function,
            row,
            motion,
            shapes,
            field and self._field_of_layer(call, field, unplaced, shapes),
            type(result),
            signature,
            lengths,
            is_inside_custom_function(),
            inputs,
            depth,
            mixing_of(motion, operands, placed, shapes[0] if shapes else ()),
        )
        for tensor in (*call.tensors(), *outputs):
            self.addresses[tensor] = address_of(tensor)
        if field is not None:
            written = [] if call.target is None else [call.target]
            self.data_flow.record(len(self.steps), depth, [*outputs, *written])
        self.other_inputs.record(step, call.tensors(), outputs, self.namer.module)
        self._record(step, outputs)
        if row is not None and row.keeps_values:
            for source, copy in zip(tensors_in(call.args[:1]), outputs, strict=False):
                self.namer.record_copy(source, copy)
        return result

    def _mark_hidden_results(self, call: Call) -> None:
        for tensor in call.tensors():
            recorded = self.addresses.get(tensor)
            if recorded == address_of(tensor) or (recorded is None and tensor in self.fields):
                continue
            twin = twin_of(tensor) if recorded is None else None
            if twin is not None and twin in self.fields:
                self.fields[tensor] = self.fields[twin]
                continue
            if is_from_numpy(tensor):
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
    ) -> tuple[Motion | None, TensorField | None, PlacedResults | None]:
        """The motion of a call, and the field of its results, which is recorded."""
        target = call.target
        changed = outputs[0] if outputs else target
        if operands and changed is None:
            self.leak = f"{name_of(call.function)} takes values out of the tensors"
            return None, None, None
        if operands:
            assert changed is not None
            if writes_to_part(call.function):
                return *self._write_to_part(call, outputs), None
            motion, field = self._motion_and_field(call, operands, constants, tuple(changed.shape))
            placed = self._place(call, field, constants, outputs)
            field = placed.fields[0] if placed else field
            self._mark(field, outputs, target)
            for output, own in zip(outputs, placed.fields if placed else (), strict=False):
                self.fields[output] = own
            if target is None:
                for written in tensors_in(call.kwargs.get("out")):
                    self._write_through(
                        written, self._whole_image("it is one of several tensors in out")
                    )
            if has_size_of_values(call.function, call.args):
                self.leak = f"the size of what {name_of(call.function)} returns depends on values"
            return motion, field, placed
        if self.leak and outputs:
            field = self._whole_image(self.leak)
            self._mark(field, outputs, target)
            return None, field, None
        return None, None, None

    def _motion_and_field(
        self,
        call: Call,
        operands: Sequence[Operand],
        constants: tuple[Shape, ...],
        result: Shape,
    ) -> tuple[Motion, TensorField]:
        main = next((operand for operand in operands if operand[0].axes is not None), operands[0])
        motion = self._verify(motion_of_call(call, main, constants, result), call, main, result)
        if any(field.note == _HIDDEN for field, _ in operands):
            motion = Mix(_HIDDEN)
        if isinstance(motion, Mix) and motion.note:
            field = self._whole_image(motion.note)
        else:
            field = field_after(motion, list(operands), main, result)
        if self.leak:
            field = replace(field, global_context=True, note=field.note or self.leak)
        return motion, field

    def _field_of_layer(
        self, call: Call, field: TensorField, note: str, shapes: tuple[Shape, ...]
    ) -> TensorField:
        """What the layer of this step sees, if it is one."""
        is_last = has_channels_last(call.function) and [*map(len, shapes)][:1] == [field.rank + 2]
        axes = tuple(range(1, field.rank + 1)) if is_last else None
        return field_of_layer(field, axes=axes, note=note, batch_dim=batch_dim_of(call.function))

    def _place(
        self,
        call: Call,
        field: TensorField,
        constants: tuple[Shape, ...],
        outputs: Sequence[torch.Tensor],
    ) -> PlacedResults | None:
        """Where the results are, if it takes more than the dimensions of the axes to say it."""
        if field.axes is not None or self.leak or field.note == _HIDDEN:
            return None
        placed = place_results(call, self.fields, constants=constants, outputs=outputs)
        is_last = has_channels_last(call.function) and outputs[0].dim() == field.rank + 2
        if placed is None and is_last:
            axes = tuple(range(1, field.rank + 1))
            placed = PlacedResults([replace(field, axes=axes, has_places=False)])
        return placed

    def _verify(self, motion: Motion, call: Call, main: Operand, result: Shape) -> Motion:
        """The motion if it predicts the result's size; otherwise the call is not understood."""
        field, shape = main
        if field.axes is None or not isinstance(motion, Slide | Resample | Move):
            return motion
        first = next(iter(positional(call.args, call.kwargs)[0]), None)
        is_first = isinstance(first, torch.Tensor) and self.fields.get(first) is field
        lengths = output_lengths(motion, [shape[axis] for axis in field.axes])
        axes = motion.axes or field.axes
        actual = tuple(result[axis] if axis < len(result) else -1 for axis in axes)
        if actual == lengths and (is_first or isinstance(motion, Move)):
            return motion
        return Mix(f"{name_of(call.function)} is called in a way that the table does not know")

    def _mark(
        self, field: TensorField, outputs: Sequence[torch.Tensor], target: torch.Tensor | None
    ) -> None:
        """Records a field. Tensors that share memory with a changed one may now see all of it."""
        if target is not None and self.fields.get(target) != field:
            self._write_through(target, field)
        for output in outputs:
            self.fields[output] = field

    def _write_through(self, target: torch.Tensor, field: TensorField) -> None:
        """Records what a tensor that was changed in place, and all that share its memory, see."""
        base = target if target._base is None else target._base
        base_field: TensorField | None = field
        if base is not target:
            base_field = field_of_base(field, target, base, self.fields.get(base))
        shared = self._whole_image("it shares memory with a tensor changed in place")
        for tensor in (*self.fields.sharing(target), *self.addresses.sharing(target)):
            self.fields[tensor] = shared
        self.fields[base] = base_field or shared
        self.fields[target] = field

    def _write_to_part(
        self, call: Call, outputs: Sequence[torch.Tensor]
    ) -> tuple[Motion, TensorField]:
        """`copy_`, or `x[...] = value`. Its motion is unknown: no part of it can run on a crop."""
        part, value = written_part(call.function, call.args, call.kwargs)
        if part is None:
            field = self._whole_image("it is written to at positions that a tensor holds")
            part = call.args[0]
        elif isinstance(value, torch.Tensor) and value in self.fields:
            operand = self.fields[value], tuple(value.shape)
            field = field_after(Stay(), [operand], operand, tuple(part.shape))
        else:
            part, field = call.args[0], self.fields[call.args[0]]
        if self.leak:
            field = replace(field, global_context=True, note=field.note or self.leak)
        self._mark(field, outputs, part)
        return Mix(), field

    def _whole_image(self, note: str) -> TensorField:
        return TensorField(tuple(map(Field.whole, self.size)), None, note=note)

    def _record(self, step: Step, outputs: list[torch.Tensor]) -> None:
        kind = step.operation.kind if step.operation and step.operation.is_layer else ""
        has_numbers = bool(outputs) and (outputs[0].is_floating_point() or outputs[0].is_quantized)
        of_image, has_shape = step.field is not None, is_layer_shape(step)
        is_layer = of_image and has_numbers and has_shape and not step.is_inside_function
        of_regions = reads_regions(step, self.of_regions)
        self.of_regions |= {len(self.steps)} if of_regions else set()
        if kind and of_image and has_numbers and not has_shape:
            self.unlisted += unlisted_step(step, self.namer.module, of_regions=of_regions)
        self.namer.record_step(
            len(self.steps), kind if is_layer else "", outputs, of_image=of_image
        )
        self.steps.append(step)

    def layers(self) -> tuple[Layer, ...]:
        layer_of = partial(layer_of_step, has_attention=has_attention(self.steps))
        return tuple(
            replace(
                layer_of(self.steps[names.step], self.size),
                name=names.name,
                aliases=names.aliases,
                index=names.step,
            )
            for names in self.namer.named_steps()
        )

    def unlisted_layers(self, module: torch.nn.Module) -> tuple[UnlistedLayer, ...]:
        named = {layer.name for layer in self.unlisted}
        modules = unlisted_modules(module, self.namer)
        skipped = skipped_modules(module, self.namer, self.steps)
        unnamed = (layer for layer in modules if layer.name not in named)
        others = self.other_inputs.unlisted(self.steps)
        return (*self.unlisted, *others, *unnamed, *skipped)


def _value_tensors(call: Call) -> Iterator[torch.Tensor]:
    return tensors_in(*value_arguments(call.function, call.args, call.kwargs))
