"""Region-exact execution: runs only the part of each map that a unit depends on.

A crop of the image goes through the network's own forward pass. Each tensor carries the region of
the full map that it holds. Window operations compute the outputs whose windows are wholly known and
pad only at the true border, so every value is that of the full image. What cannot be computed from
the crop stays unknown; a target that needs it is run on the full image instead.

Sizes and other numbers in the network's code come from the crop, so they are those of the survey
wherever a result depends on them: a step runs with its surveyed arguments, or not at all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import TypeVar, cast

import torch

from retroscope.engine.call_arguments import Function, tensors_in
from retroscope.engine.held_inputs import held_tensors
from retroscope.engine.intercept import Handler, run
from retroscope.engine.interpreter import Call, CannotFollow, ProgramInterpreter
from retroscope.engine.map_regions import Cut, MapRegion, Span, cut, known_outputs
from retroscope.engine.memory import SIZE_ERRORS, is_out_of_memory
from retroscope.engine.motion import Move, Resample, Slide, Stack, Stay
from retroscope.engine.placeholders import placeholder
from retroscope.engine.program import ArgumentMismatch, Step, Survey, to_channel_maps
from retroscope.engine.tensor_map import TensorMap, substitute_for
from retroscope.engine.window_ops import REDUCTIONS, PartialWindows
from retroscope.errors import RetroscopeError

Part = TypeVar("Part", Cut, Span)

_MAX_EMBEDDED_VALUES = 1 << 25
"""Values of a map that is filled up to its full size to run one operation on it."""


@dataclass(frozen=True)
class RegionOutput:
    """A layer's output for a batch of crops, (batch, channels, height, width), and its spans."""

    output: torch.Tensor
    spans: tuple[Span, ...]


def run_region(
    module: torch.nn.Module,
    survey: Survey,
    crops: torch.Tensor,
    *,
    target: int,
    region: MapRegion,
    execute: Handler,
) -> RegionOutput | None:
    """The output of step `target` on these crops; None if it cannot be computed from them.

    What depends on other inputs cannot, if they differ from image to image.
    """
    runner = _RegionRunner(survey, target, execute)
    runner.batch = len(crops)
    runner.regions[crops] = region
    for held in held_tensors(module):
        if held.is_by_image:
            runner.regions[held.tensor] = None
        else:
            runner.held[held.tensor] = True
    try:
        run(module, crops, runner)
    except CannotFollow:
        return None
    except RetroscopeError:
        raise
    except SIZE_ERRORS as error:
        # The network's code may insist on a size that a crop does not have. The full image then
        # runs instead, and an error of the network's own is raised there again.
        if is_out_of_memory(error):
            raise
        return None
    return runner.output


_NOT_ON_VIEWS = (torch.Tensor.detach_, torch.detach_)
"""torch refuses them on views, such as crops."""


class _RegionRunner(ProgramInterpreter):
    """`regions` has an entry for each tensor of the image: what it holds, or None if unknown.

    `held` are the tensors that are held for all images, `rows` what is computed from them:
    constants with a row for each crop.
    """

    def __init__(self, survey: Survey, target: int, execute: Handler) -> None:
        super().__init__(survey, last=target, execute=execute)
        self.regions = TensorMap[MapRegion | None]()
        self.held, self.rows = TensorMap[bool](), TensorMap[bool]()
        self.stand_ins = TensorMap[torch.Tensor]()
        self.has_views = TensorMap[bool]()
        self.copies_of_views = TensorMap[bool]()
        self.batch = 1
        self.output: RegionOutput | None = None

    def prepare(self, call: Call) -> Call:
        if not len(self.stand_ins):
            return call
        return call.map_tensors(partial(substitute_for, self.stand_ins))

    def identity(self, call: Call) -> object:
        result, source = cast("torch.Tensor", call.run(self.execute)), call.args[0]
        if source in self.regions:
            self.regions[result] = self.regions[source]
        return result

    def create(self, call: Call) -> object:
        """A tensor made from a shape is known only if it does not depend on the crop's size."""
        step, result = self.steps[self.count], call.run(self.execute)
        created = next(tensors_in(result))
        shapes = step.shapes[0], self._batched(step.shapes[0])
        if tuple(created.shape) in shapes and step.has_arguments(call.args, call.kwargs):
            return result
        return step.assemble([self._unknown(step.shapes[0], created)])

    def compute(self, step: Step, call: Call) -> object:
        inputs = [tensor for tensor in call.tensors() if tensor in self.regions]
        if not inputs:
            return self._compute_constant(step, call)
        writes_several = isinstance(call.kwargs.get("out"), tuple | list)
        cannot_run = step.is_inside_function or step.function in _NOT_ON_VIEWS
        if cannot_run or writes_several:
            raise CannotFollow
        result = self._compute_from_image(step, call, inputs)
        if self.count == self.last:
            self._store_output(result)
        return result

    def _compute_constant(self, step: Step, call: Call) -> object:
        holds_inputs = len(self.held) > 0
        is_repeated = holds_inputs and any(tensor in self.held for tensor in call.tensors())
        has_rows = holds_inputs and any(tensor in self.rows for tensor in call.tensors())
        has_rows = has_rows or is_repeated
        is_surveyed = is_repeated or step.has_arguments(call.args, call.kwargs)
        if step.field is not None or not is_surveyed:
            raise CannotFollow
        result = call.run(self.execute)
        shapes = tuple(map(self._batched, step.shapes)) if has_rows else step.shapes
        if tuple(tuple(tensor.shape) for tensor in tensors_in(result)) != shapes:
            raise CannotFollow
        for tensor in tensors_in(result) if has_rows else ():
            self.rows[tensor] = True
        return result

    def _compute_from_image(self, step: Step, call: Call, inputs: Sequence[torch.Tensor]) -> object:
        motion = step.motion
        if any(self.regions[tensor] is None for tensor in inputs):
            return self._leave_unknown(step, call, inputs)
        if isinstance(motion, Slide | Resample) and len(inputs) == 1:
            return self._resize(step, motion, call)
        if isinstance(motion, Stay) and not (motion.gated or motion.pinned):
            if not step.has_arguments(call.args, call.kwargs):
                raise CannotFollow
            return self._meet(step, call, inputs)
        if isinstance(motion, Stack):
            return self._meet(step, _bind(step, call), inputs, motion)
        has_one_region = len({self.regions[tensor] for tensor in inputs}) == 1
        if isinstance(motion, Move) and not motion.pinned and has_one_region:
            region = cast("MapRegion", self.regions[inputs[0]])

            has_sizes = step.operation is not None and step.operation.has_size_arguments
            bound = call if has_sizes else _bind(step, call)
            return self._record(bound.run(self.execute), replace(region, axes=motion.axes))
        return self._leave_unknown(step, call, inputs)

    def _store_output(self, result: object) -> None:
        first = next(tensors_in(result))
        region = self.regions.get(first)
        if region is not None:
            maps = to_channel_maps(first, region.axes, len(region.axes))
            self.output = RegionOutput(maps, region.spans)

    def _record(self, result: object, region: MapRegion) -> object:
        if not self._is_surveyed(result, region):
            raise CannotFollow
        for tensor in tensors_in(result):
            self.regions[tensor] = region
            if tensor._base is not None:
                self.has_views[tensor._base] = True
        return result

    def _is_surveyed(self, result: object, region: MapRegion) -> bool:
        """Whether all but the positions has the surveyed size, for each image of the batch."""
        tensors, shapes = list(tensors_in(result)), self.steps[self.count].shapes
        return len(tensors) == len(shapes) and all(
            region.fits(tensor.shape)
            and _channels(tensor.shape, region) == _channels(self._batched(shape), region)
            for tensor, shape in zip(tensors, shapes, strict=True)
        )

    def _batched(self, shape: Sequence[int]) -> tuple[int, ...]:
        return (shape[0] * self.batch, *shape[1:]) if shape else ()

    def _leave_unknown(self, step: Step, call: Call, inputs: Sequence[torch.Tensor]) -> object:
        """A placeholder of the full size, on which the network's own code runs on."""
        target = call.target
        if target is not None:
            self._refuse_shared_memory(target)
            self.regions[target] = None
            return target if step.shapes else None
        if not step.has_plain_results:
            raise CannotFollow
        return step.assemble([self._unknown(shape, inputs[0]) for shape in step.shapes])

    def _unknown(self, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        unknown = placeholder(self._batched(shape), like)
        self.regions[unknown] = None
        return unknown

    def _meet(
        self, step: Step, call: Call, inputs: Sequence[torch.Tensor], stack: Stack | None = None
    ) -> object:
        """An elementwise operation or a stack, on the region that all of its inputs hold."""
        if call.target is not None:
            self._refuse_copy_of_view(call.target)
        regions = [cast("MapRegion", self.regions[tensor]) for tensor in inputs]
        common = _intersection(regions)
        if common is None:
            return self._leave_unknown(step, call, inputs)
        region = common if stack is None else replace(common, axes=stack.axes(common.axes))
        if all(part == common for part in regions):
            return self._record(call.run(self.execute), region)
        parts = {
            id(tensor): _narrow(tensor, region, common)
            for tensor, region in zip(inputs, regions, strict=True)
        }
        target = call.target
        if target is None:
            return self._record(call.on(parts).run(self.execute), region)
        function = self._out_of_place(call.function, target)
        partial_call = Call(function, call.args, call.kwargs).on(parts)
        result = partial_call.run(self.execute)
        self.stand_ins[target] = cast("torch.Tensor", result)
        return self._record(result, region)

    def _refuse_shared_memory(self, target: torch.Tensor) -> None:
        """A tensor that is changed in place must not be visible through another one."""
        if target._base is not None or target in self.has_views:
            raise CannotFollow

    def _refuse_copy_of_view(self, target: torch.Tensor) -> None:
        """What torch would have returned as a view must not be changed in place."""
        base = target if target._base is None else target._base
        if target in self.copies_of_views or base in self.copies_of_views:
            raise CannotFollow

    def _out_of_place(self, function: Function, target: torch.Tensor) -> Function:
        """The twin that leaves its input alone, for inputs that no longer have one size."""
        self._refuse_shared_memory(target)
        twin = getattr(torch.Tensor, function.__name__.removesuffix("_"), None)
        if twin is None:
            raise CannotFollow
        return cast("Function", twin)

    def _resize(self, step: Step, motion: Slide | Resample, call: Call) -> object:
        """An operation over windows: by its own rule for parts, or on a map of the full size."""
        source = call.args[0] if call.args else call.kwargs["input"]
        region = cast("MapRegion", self.regions[source])
        reduction = step.operation.reduction if step.operation else None
        moves_axes = motion.axes not in (None, region.axes)
        if isinstance(motion, Resample) or reduction is None or moves_axes:
            return self._run_embedded(step, motion, call)
        cuts = _all_known(map(cut, region.spans, motion.windows))
        if cuts is None:
            return self._leave_unknown(step, call, [source])
        bound = _bind(step, call)
        windows = PartialWindows(motion.windows, cuts, region.axes)
        result = REDUCTIONS[reduction](windows, self.execute, bound.args, bound.kwargs)
        part = MapRegion(tuple(cut.gives for cut in cuts), region.axes)
        if result is None or not self._is_surveyed(result, part):
            return self._run_embedded(step, motion, call)
        return self._record(result, part)

    def _run_embedded(self, step: Step, motion: Slide | Resample, call: Call) -> object:
        """Fills the part up to the full map, and keeps the outputs that read the part alone."""
        source = call.args[0] if call.args else call.kwargs["input"]
        region = cast("MapRegion", self.regions[source])
        reads = motion.windows if isinstance(motion, Slide) else motion.reads
        spans = _all_known(map(known_outputs, region.spans, reads))
        values = self.batch * max(prod(step.shapes[0]), source.numel())
        if spans is None or values > _MAX_EMBEDDED_VALUES or len(step.shapes) != 1:
            return self._leave_unknown(step, call, [source])
        full = _embed(source, region)
        if step.operation is not None and step.operation.has_size_arguments:
            result = full.reshape(self._batched(step.shapes[0]))
        else:
            bound = _bind(step, call).on({id(source): full})
            result = cast("torch.Tensor", bound.run(self.execute))
        whole = MapRegion(tuple(map(_whole, spans)), motion.axes or region.axes)
        part = MapRegion(spans, whole.axes)
        if step.operation is not None and step.operation.is_view:
            self.copies_of_views[result if result._base is None else result._base] = True
        return self._record(_narrow(result, whole, part), part)


def _all_known(parts: Iterable[Part | None]) -> tuple[Part, ...] | None:
    """What is known along each axis; None if nothing is along one of them."""
    known = tuple(parts)
    return None if None in known else cast("tuple[Part, ...]", known)


def _channels(shape: Sequence[int], region: MapRegion) -> list[int]:
    return [size for axis, size in enumerate(shape) if axis not in region.axes]


def _bind(step: Step, call: Call) -> Call:
    """The call with its surveyed arguments, tensors aside."""
    try:
        args, kwargs = step.bind(call.args, call.kwargs)
    except ArgumentMismatch as error:
        raise CannotFollow from error
    return Call(call.function, args, kwargs)


def _intersection(regions: Sequence[MapRegion]) -> MapRegion | None:
    """What all of the regions hold."""
    common: MapRegion | None = regions[0]
    for region in regions[1:]:
        common = common and common.meet(region)
    return common


@torch.enable_grad()
def _narrow(tensor: torch.Tensor, region: MapRegion, wanted: MapRegion) -> torch.Tensor:
    """The part of a tensor that holds the wanted region."""
    for axis, span, part in zip(region.axes, region.spans, wanted.spans, strict=True):
        tensor = tensor.narrow(axis, part.start - span.start, part.count)
    return tensor


@torch.enable_grad()
def _embed(tensor: torch.Tensor, region: MapRegion) -> torch.Tensor:
    """A map of the full size that holds the region, and zero elsewhere."""
    ends = [0] * (2 * tensor.dim())
    for axis, span in zip(region.axes, region.spans, strict=True):
        start = 2 * (tensor.dim() - 1 - axis)
        ends[start : start + 2] = span.start, span.full - span.stop
    return torch.nn.functional.pad(tensor, ends)


def _whole(span: Span) -> Span:
    return Span(0, span.full, span.full)
