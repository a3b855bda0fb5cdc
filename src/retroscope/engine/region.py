"""Region-exact execution: runs only the part of each map that a unit depends on.

A crop of the image goes through the network's own forward pass. Each tensor carries the region of
the full map that it holds. Window operations compute the outputs whose windows are wholly known and
pad only at the true border, so every value is that of the full image. What cannot be computed from
the crop stays unknown; a target that needs it is run on the full image instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch

from retroscope.engine.intercept import Handler, run
from retroscope.engine.interpreter import Call, CannotFollow, ProgramInterpreter
from retroscope.engine.map_regions import MapRegion, Span, cut
from retroscope.engine.memory import SIZE_ERRORS, is_out_of_memory
from retroscope.engine.motion import Move, Slide, Stay
from retroscope.engine.operations import Function, tensors_in
from retroscope.engine.placeholders import placeholder
from retroscope.engine.program import Step, Survey, to_channel_maps
from retroscope.engine.tensor_map import TensorMap, substitute_for
from retroscope.engine.window_ops import REDUCTIONS, PartialWindows
from retroscope.errors import RetroscopeError


@dataclass(frozen=True)
class RegionOutput:
    """A layer's output for a batch of crops, (batch, channels, height, width), and its spans."""

    output: torch.Tensor
    y: Span
    x: Span


def run_region(
    module: torch.nn.Module,
    survey: Survey,
    crops: torch.Tensor,
    *,
    target: int,
    region: MapRegion,
    execute: Handler,
) -> RegionOutput | None:
    """The output of step `target` on these crops; None if it cannot be computed from them."""
    runner = _RegionRunner(survey, target, execute)
    runner.regions[crops] = region
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


class _RegionRunner(ProgramInterpreter):
    """`regions` has an entry for each tensor of the image: what it holds, or None if unknown."""

    def __init__(self, survey: Survey, target: int, execute: Handler) -> None:
        super().__init__(survey, last=target, execute=execute)
        self.regions = TensorMap[MapRegion | None]()
        self.stand_ins = TensorMap[torch.Tensor]()
        self.has_views = TensorMap[bool]()
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

    def compute(self, step: Step, call: Call) -> object:
        inputs = [tensor for tensor in call.tensors() if tensor in self.regions]
        if not inputs:
            if step.field is not None or not step.has_arguments(call.args, call.kwargs):
                raise CannotFollow
            return call.run(self.execute)
        result = self._compute_from_image(step, call, inputs)
        if self.count == self.last:
            self._store_output(result)
        return result

    def _compute_from_image(self, step: Step, call: Call, inputs: Sequence[torch.Tensor]) -> object:
        motion = step.motion
        if any(self.regions[tensor] is None for tensor in inputs):
            return self._leave_unknown(step, call, inputs)
        if isinstance(motion, Slide) and len(inputs) == 1:
            return self._slide(step, motion, call)
        if isinstance(motion, Stay) and not (motion.gated or motion.pinned):
            if not step.has_arguments(call.args, call.kwargs):
                raise CannotFollow
            return self._meet(step, call, inputs)
        if isinstance(motion, Move):
            region = cast("MapRegion", self.regions[inputs[0]])
            return self._record(call.run(self.execute), MapRegion(region.y, region.x, motion.axes))
        return self._leave_unknown(step, call, inputs)

    def _store_output(self, result: object) -> None:
        first = next(tensors_in(result))
        region = self.regions.get(first)
        if region is not None:
            maps = to_channel_maps(first, region.axes)
            self.output = RegionOutput(maps, region.y, region.x)

    def _record(self, result: object, region: MapRegion) -> object:
        for tensor in tensors_in(result):
            if not region.fits(tensor.shape):
                raise CannotFollow
            self.regions[tensor] = region
            if tensor._base is not None:
                self.has_views[tensor._base] = True
        return result

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
        size = (shape[0] * like.shape[0], *shape[1:]) if shape else ()
        unknown = placeholder(size, like)
        self.regions[unknown] = None
        return unknown

    def _meet(self, step: Step, call: Call, inputs: Sequence[torch.Tensor]) -> object:
        """An elementwise operation, on the region that all of its inputs hold."""
        regions = [cast("MapRegion", self.regions[tensor]) for tensor in inputs]
        common = _intersection(regions)
        if common is None:
            return self._leave_unknown(step, call, inputs)
        if all(region == common for region in regions):
            return self._record(call.run(self.execute), common)
        parts = {
            id(tensor): _narrow(tensor, region, common)
            for tensor, region in zip(inputs, regions, strict=True)
        }
        target = call.target
        if target is None:
            return self._record(call.on(parts).run(self.execute), common)
        function = self._out_of_place(call.function, target)
        partial_call = Call(function, call.args, call.kwargs).on(parts)
        result = partial_call.run(self.execute)
        self.stand_ins[target] = cast("torch.Tensor", result)
        return self._record(result, common)

    def _refuse_shared_memory(self, target: torch.Tensor) -> None:
        """A tensor that is changed in place must not be visible through another one."""
        if target._base is not None or target in self.has_views:
            raise CannotFollow

    def _out_of_place(self, function: Function, target: torch.Tensor) -> Function:
        """The twin that leaves its input alone, for inputs that no longer have one size."""
        self._refuse_shared_memory(target)
        twin = getattr(torch.Tensor, function.__name__.removesuffix("_"), None)
        if twin is None:
            raise CannotFollow
        return cast("Function", twin)

    def _slide(self, step: Step, motion: Slide, call: Call) -> object:
        source = call.args[0] if call.args else call.kwargs["input"]
        region = cast("MapRegion", self.regions[source])
        y, x = cut(region.y, motion.y), cut(region.x, motion.x)
        reduction = step.operation.reduction if step.operation else None
        if y is None or x is None or reduction is None:
            return self._leave_unknown(step, call, [source])
        windows = PartialWindows((motion.y, motion.x), (y, x), region.axes)
        result = REDUCTIONS[reduction](windows, self.execute, call.args, call.kwargs)
        return self._record(result, MapRegion(y.gives, x.gives, region.axes))


def _intersection(regions: Sequence[MapRegion]) -> MapRegion | None:
    """What all of the regions hold."""
    common: MapRegion | None = regions[0]
    for region in regions[1:]:
        common = common and common.meet(region)
    return common


def _narrow(tensor: torch.Tensor, region: MapRegion, wanted: MapRegion) -> torch.Tensor:
    """The part of a tensor that holds the wanted region."""
    spans = zip(region.axes, (region.y, region.x), (wanted.y, wanted.x), strict=True)
    for axis, span, part in spans:
        tensor = tensor.narrow(axis, part.start - span.start, part.count)
    return tensor
