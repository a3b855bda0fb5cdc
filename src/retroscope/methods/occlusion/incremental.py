"""Incremental inference for many images that each differ from one clean image inside a box.

The network's own code runs on full-size placeholders. Each placeholder represents the clean maps,
computed once, and one patch per image that may differ from them. A window operation computes only
the outputs that a patch can affect; operations with several inputs compute the union of their
patches. Operations missing from the table, and patches that cover most of a map, are computed on
full maps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch

from retroscope.engine.call_arguments import tensors_in, with_tensors
from retroscope.engine.intercept import execute_plainly, run
from retroscope.engine.interpreter import Call, CannotFollow, ProgramInterpreter
from retroscope.engine.map_regions import Cut, Span
from retroscope.engine.motion import Axes, Move, Slide, Stay
from retroscope.engine.operations import WindowReduction
from retroscope.engine.placeholders import placeholder, refuse_layout_query
from retroscope.engine.program import Step, Survey, to_channel_maps
from retroscope.engine.tensor_map import TensorMap
from retroscope.engine.window_ops import REDUCTIONS, PartialWindows
from retroscope.methods.class_scores import NetworkOutput, ScoreTracker
from retroscope.methods.occlusion.patched_maps import (
    BatchSpan,
    PatchedMaps,
    Spans,
    covering_spans,
)
from retroscope.network import Network

MAX_PATCH_SHARE = 0.75
"""Above this share of its map a patch is not worth cropping."""
_PADDING_VALUES = {WindowReduction.MAXIMUM: float("-inf")}

PatchedMapListener = Callable[[PatchedMaps | torch.Tensor], None]
"""Receives a step's maps, as patches or in full (batch, channels, height, width)."""


class CleanResults:
    """The results of every step for the clean image, computed once for all batches."""

    def __init__(self) -> None:
        self._results: dict[int, object] = {}

    def result(self, step: int, compute: Callable[[], object]) -> object:
        """The result of a step, computed on first use."""
        if step not in self._results:
            self._results[step] = compute()
        return self._results[step]


def run_patched(
    net: Network,
    survey: Survey,
    batch: PatchedMaps,
    *,
    clean: CleanResults,
    listeners: Mapping[int, PatchedMapListener],
) -> NetworkOutput | None:
    """What the network returns for the patched images; None if placeholders cannot follow it."""
    handler = _PatchedPass(survey, clean, listeners)
    try:
        result = run(net.module, handler.placeholder_for(batch), handler)
    except CannotFollow:
        return None
    value = with_tensors(result, handler.full_maps_of)
    return NetworkOutput(net, value, handler.tracker, len(batch.patch), survey.size)


@dataclass(frozen=True, eq=False)
class _AffectedRegion:
    """The part of each image's result that may differ from the clean one, and its axes."""

    spans: Spans
    axes: Axes

    @property
    def is_small(self) -> bool:
        count, full = (
            prod(span.count for span in self.spans),
            prod(span.full for span in self.spans),
        )
        return count < MAX_PATCH_SHARE * full


@dataclass(frozen=True, eq=False)
class _PatchedCall:
    """One step of the program; `inputs` are the tensors that depend on the image."""

    step: Step
    call: Call
    inputs: Sequence[torch.Tensor]
    mutated_input: torch.Tensor | None


class _PatchedPass(ProgramInterpreter):
    """A forward pass on placeholders, each with its patched or full maps.

    `aliased` marks the tensors that share memory with another one. An in-place operation on them
    is refused: the other tensor's maps would not change with it.
    """

    def __init__(
        self, survey: Survey, clean: CleanResults, listeners: Mapping[int, PatchedMapListener]
    ) -> None:
        super().__init__(survey)
        self.clean = clean
        self.listeners = listeners
        self.tracker = ScoreTracker()
        self.patched = TensorMap[PatchedMaps]()
        self.full = TensorMap[torch.Tensor]()
        self.aliased = TensorMap[bool]()

    def query(self, call: Call) -> object:
        if any(map(self._depends_on_image, call.tensors())):
            refuse_layout_query(call.function)
        return call.run()

    def identity(self, call: Call) -> object:
        return call.args[0]

    def compute(self, step: Step, call: Call) -> object:
        inputs = [tensor for tensor in call.tensors() if self._depends_on_image(tensor)]
        if not inputs:
            return call.run()
        result = self._run_step(_PatchedCall(step, call, inputs, call.target))
        self._notify_listener(step, result)
        return result

    def placeholder_for(self, maps: PatchedMaps) -> torch.Tensor:
        """A full-size tensor without values that represents these maps."""
        shape = list(maps.patch.shape)
        for axis, span in zip(maps.axes, maps.spans, strict=True):
            shape[axis] = span.full
        tensor = placeholder(shape, maps.patch)
        self.patched[tensor] = maps
        return tensor

    def full_maps_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The full maps that a tensor represents; the tensor itself if it is not a placeholder."""
        patched_maps = self.patched.get(tensor)
        if patched_maps is not None:
            self.patched.drop(tensor)
            self.full[tensor] = patched_maps.full_maps()
        full_maps = self.full.get(tensor)
        return tensor if full_maps is None else full_maps

    def _depends_on_image(self, tensor: torch.Tensor) -> bool:
        return tensor in self.patched or tensor in self.full

    def _notify_listener(self, step: Step, result: object) -> None:
        if self.count not in self.listeners:
            return
        first, field = next(tensors_in(result)), step.field
        assert field is not None
        patched_maps = self.patched.get(first)
        maps = patched_maps or to_channel_maps(
            self.full_maps_of(first), field.positions, field.rank
        )
        self.listeners[self.count](maps)

    def _run_step(self, call: _PatchedCall) -> object:
        if call.mutated_input is not None and call.mutated_input in self.aliased:
            raise CannotFollow
        maps = [self.patched[tensor] for tensor in call.inputs if tensor in self.patched]
        layouts = {(operand.axes, *(span.full for span in operand.spans)) for operand in maps}
        if len(maps) == len(call.inputs) and len(layouts) == 1:
            region = _affected_region(call.step, maps)
            if region is not None and region.is_small:
                return self._run_region(call, region)
        return self._run_full(call)

    def _run_full(self, call: _PatchedCall) -> object:
        full_maps = {id(tensor): self.full_maps_of(tensor) for tensor in call.inputs}
        full_call = call.call.on(full_maps)
        result = full_call.run()
        self.tracker.record(full_call, result)
        for output in tensors_in(result):
            self.full[output] = output
        return result

    def _run_region(self, call: _PatchedCall, region: _AffectedRegion) -> object:
        """Runs the call on the region that the patches affect, and once on the clean maps."""
        mutated = call.mutated_input
        clean = self.clean.result(self.count, lambda: self._run_on_clean(call))
        if isinstance(call.step.motion, Slide):
            result = self._run_window_operation(call, call.step.motion, region)
        elif call.step.has_arguments(call.call.args, call.call.kwargs):
            crops = {id(tensor): self._crop_input(call, tensor, region) for tensor in call.inputs}
            result = call.call.on(crops).run()
            returned_inputs = [tensor for tensor in call.inputs if result is crops[id(tensor)]]
            if returned_inputs:
                mutated = returned_inputs[0]
            else:
                self._mark_aliases(call, crops, result)
        else:
            raise CannotFollow
        pairs = zip(tensors_in(clean), tensors_in(result), strict=True)
        outputs = [PatchedMaps(maps, patch, region.spans, region.axes) for maps, patch in pairs]
        return self._wrap_outputs(call, outputs, mutated)

    def _run_on_clean(self, call: _PatchedCall) -> object:
        clean_inputs = {id(tensor): self.patched[tensor].clean for tensor in call.inputs}
        if call.mutated_input is not None:
            clean_inputs[id(call.mutated_input)] = clean_inputs[id(call.mutated_input)].clone()
        return call.call.on(clean_inputs).run()

    def _crop_input(
        self, call: _PatchedCall, source: torch.Tensor, region: _AffectedRegion
    ) -> torch.Tensor:
        """The part of an input that a call reads, copied if the call changes it in place."""
        maps = self.patched[source]
        crop = maps.patch if isinstance(call.step.motion, Move) else maps.crop(region.spans)
        return crop.clone() if source is call.mutated_input and crop is maps.patch else crop

    def _run_window_operation(
        self, call: _PatchedCall, motion: Slide, region: _AffectedRegion
    ) -> object:
        """Runs a window operation on crops that contain its padding, one crop per image."""
        (source,) = call.inputs
        maps, operation = self.patched[source], call.step.operation
        assert operation is not None
        assert operation.reduction is not None
        spans = [
            given.required_inputs(window, span.full)
            for given, window, span in zip(region.spans, motion.windows, maps.spans, strict=True)
        ]
        cuts = tuple(
            Cut((0, span.count), (0, 0), Span(0, given.count, given.full), span.full)
            for given, span in zip(region.spans, spans, strict=True)
        )
        windows = PartialWindows(motion.windows, cuts, maps.axes)
        crops = {id(source): maps.crop(spans, fill=_PADDING_VALUES.get(operation.reduction, 0.0))}
        cropped = call.call.on(crops)
        run_windows = REDUCTIONS[operation.reduction]
        return run_windows(windows, execute_plainly, cropped.args, cropped.kwargs)

    def _mark_aliases(
        self, call: _PatchedCall, crops: dict[int, torch.Tensor], result: object
    ) -> None:
        """Marks the inputs that share memory with the result."""
        storages = {tensor.untyped_storage().data_ptr() for tensor in tensors_in(result)}
        for tensor in call.inputs:
            if crops[id(tensor)].untyped_storage().data_ptr() in storages:
                self.aliased[tensor] = True

    def _wrap_outputs(
        self, call: _PatchedCall, outputs: Sequence[PatchedMaps], mutated: torch.Tensor | None
    ) -> object:
        """Placeholders for the outputs; a tensor changed in place represents its new maps."""
        if not outputs or not all(maps.is_consistent() for maps in outputs):
            raise CannotFollow
        if mutated is not None:
            self.patched[mutated] = outputs[0]
            return mutated
        tensors = [self.placeholder_for(maps) for maps in outputs]
        if any(tensor in self.aliased for tensor in call.inputs):
            for tensor in tensors:
                self.aliased[tensor] = True
        return call.step.assemble(tensors)


def _affected_region(step: Step, operands: Sequence[PatchedMaps]) -> _AffectedRegion | None:
    """The part of a step's result that may differ; None if the table does not say."""
    motion, first = step.motion, operands[0]
    if step.operation and step.operation.has_size_arguments:
        return None
    match motion:
        case Slide() if len(operands) == 1 and _can_run_on_crops(step, motion, first):
            spans = tuple(map(BatchSpan.affected_outputs, first.spans, motion.windows))
            return _AffectedRegion(spans, first.axes)
        case Stay(gated=False, pinned=False, batch=False):
            return _AffectedRegion(covering_spans(operands), first.axes)
        case Move(pinned=False):
            return _AffectedRegion(first.spans, motion.axes)
    return None


def _can_run_on_crops(step: Step, motion: Slide, maps: PatchedMaps) -> bool:
    """Whether a window operation can run on crops; a mean must not include padding."""
    reduction = step.operation.reduction if step.operation else None
    rank = step.operation.rank if step.operation else None
    if motion.axes not in (None, maps.axes) or rank not in (None, len(maps.axes)):
        return False
    if reduction is not WindowReduction.MEAN:
        return reduction is not None
    return all(
        window.before == 0 and window.reads(window.outputs(span.full) - 1)[1] <= span.full
        for window, span in zip(motion.windows, maps.spans, strict=True)
    )
