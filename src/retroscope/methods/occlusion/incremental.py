"""Runs many pictures that differ from a clean one in a box each, where that changes anything.

The network's own code runs on stand-ins of the full size. Behind each stand-in stands what is
known: the clean map, computed once, and for each picture the patch that may differ from it. A
window operation computes the outputs that a patch can reach; where patches meet, their union. What
the table does not know, and what a patch covers most of, is computed whole.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from retroscope.engine import call_motions
from retroscope.engine.forward import plainly
from retroscope.engine.intercept import run
from retroscope.engine.map_regions import Cut, Span
from retroscope.engine.motion import Axes, Move, Slide, Stay
from retroscope.engine.operations import (
    Args,
    Function,
    Kwargs,
    Reading,
    asks_only,
    is_itself,
    makes_anew,
    tensors_in,
    with_others,
)
from retroscope.engine.placeholders import Lost, blank, next_step, refuse_layout
from retroscope.engine.survey import Step, Survey, canonical, written
from retroscope.engine.tensor_map import Marks
from retroscope.engine.window_ops import READERS, Windows
from retroscope.methods.class_scores import Ends, Verdict, verdict_of
from retroscope.methods.occlusion.patched_maps import Patched, Strip, union
from retroscope.network import Network

MOST = 0.75
"""A patch that is a larger share of its map is not worth cutting out."""
_FILLS = {Reading.MAXIMUM: float("-inf")}
_SIZED = (call_motions.reshape, call_motions.expand)
"""Moves whose arguments say how large the result is to be."""

Seen = Callable[[Patched | torch.Tensor], None]
"""Is shown a step's maps: as patches, or whole (batch, channels, height, width)."""


class Clean:
    """What the clean picture gives at each step, computed once for all batches."""

    def __init__(self) -> None:
        self._kept: dict[int, object] = {}

    def result(self, step: int, compute: Callable[[], object]) -> object:
        """What the step gives; computed where it is not known yet."""
        if step not in self._kept:
            self._kept[step] = compute()
        return self._kept[step]


def changed(
    net: Network, survey: Survey, pictures: Patched, *, clean: Clean, seen: Mapping[int, Seen]
) -> Verdict | None:
    """What the network says of the changed pictures; None where stand-ins do not tell."""
    handler = _Changed(survey, clean, seen)
    stand_in = handler.standing_for(pictures)
    try:
        result = run(net.module, stand_in, handler)
    except Lost:
        return None
    output = next(tensors_in(result), None)
    told = result if output is None else handler.told(output)
    return verdict_of(net, told, handler.ends, len(pictures.patch))


@dataclass(frozen=True, eq=False)
class _Way:
    """Where in each picture's result something may differ, and which dimensions run along it."""

    y: Strip
    x: Strip
    axes: Axes

    @property
    def is_short(self) -> bool:
        return self.y.count * self.x.count < MOST * self.y.full * self.x.full


@dataclass(frozen=True, eq=False)
class _Call:
    """One torch call on stand-ins: those of its tensors that depend on the picture."""

    step: Step
    inputs: Sequence[torch.Tensor]
    args: Args
    kwargs: Kwargs

    @property
    def target(self) -> torch.Tensor | None:
        """The tensor that the call changes in place."""
        return written(self.step.function, self.args, self.kwargs)

    def on(self, tensors: dict[int, torch.Tensor]) -> object:
        """The same call on other tensors, by the identity of those that they replace."""
        args, kwargs = with_others(self.args, tensors), with_others(self.kwargs, tensors)
        return self.step.function(*args, **kwargs)


class _Changed:
    def __init__(self, survey: Survey, clean: Clean, seen: Mapping[int, Seen]) -> None:
        self.steps = survey.steps
        self.clean = clean
        self.seen = seen
        self.ends = Ends()
        self.patched = Marks[Patched]()
        self.whole = Marks[torch.Tensor]()
        self.aliased = Marks[bool]()
        self.count = 0

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        if is_itself(function, args):
            return args[0]
        inputs = [one for one in tensors_in(args, kwargs) if self._depends(one)]
        if asks_only(function):
            if inputs:
                refuse_layout(function)
            answer = function(*args, **kwargs)
            if next(tensors_in(answer), None) is None:
                return answer
        step = next_step(self.steps, self.count, function)
        self.count += 1
        if not inputs or makes_anew(function):
            return function(*args, **kwargs)
        result = self._answer(_Call(step, inputs, args, kwargs))
        self._show(step, result)
        return result

    def standing_for(self, patched: Patched) -> torch.Tensor:
        """A tensor that stands for all of the maps."""
        shape = list(patched.patch.shape)
        for axis, strip in zip(patched.axes, (patched.y, patched.x), strict=True):
            shape[axis] = strip.full
        stand_in = blank(shape, patched.patch)
        self.patched[stand_in] = patched
        return stand_in

    def told(self, tensor: torch.Tensor) -> torch.Tensor:
        """All the numbers that a tensor stands for."""
        known = self.patched.get(tensor)
        if known is not None:
            self.patched.drop(tensor)
            self.whole[tensor] = known.whole()
        found = self.whole.get(tensor)
        return tensor if found is None else found

    def _depends(self, tensor: torch.Tensor) -> bool:
        return tensor in self.patched or tensor in self.whole

    def _show(self, step: Step, result: object) -> None:
        if self.count - 1 not in self.seen:
            return
        first, axes = next(tensors_in(result)), step.seen.axes if step.seen else None
        known = self.patched.get(first)
        self.seen[self.count - 1](known or canonical(self.told(first), axes))

    def _answer(self, call: _Call) -> object:
        if call.target is not None and call.target in self.aliased:
            raise Lost
        parts = [self.patched[one] for one in call.inputs if one in self.patched]
        alike = {(one.axes, one.y.full, one.x.full) for one in parts}
        if len(parts) == len(call.inputs) and len(alike) == 1:
            way = _way(call.step, parts)
            if way is not None and way.is_short:
                return self._locally(call, way)
        return self._wholly(call)

    def _wholly(self, call: _Call) -> object:
        told = {id(one): self.told(one) for one in call.inputs}
        result = call.on(told)
        self.ends.called(call.step.function, (told[id(call.inputs[0])],), {}, result)
        for one in tensors_in(result):
            self.whole[one] = one
        return result

    def _locally(self, call: _Call, way: _Way) -> object:
        """The call on what the patches can reach, and once on the clean maps."""
        clean = self.clean.result(self.count, lambda: self._on_clean(call))
        if isinstance(call.step.motion, Slide):
            made = self._slid(call, call.step.motion, way)
        elif call.step.is_given(call.args, call.kwargs):
            crops = {id(one): self._crop(call, one, way) for one in call.inputs}
            made = call.on(crops)
            same = [one for one in call.inputs if made is crops[id(one)]]
            if same:
                return self._stood_for(call, clean, made, way, target=same[0])
            self._note_aliases(call, crops, made)
        else:
            raise Lost
        return self._stood_for(call, clean, made, way, target=call.target)

    def _on_clean(self, call: _Call) -> object:
        cleans = {id(one): self.patched[one].clean for one in call.inputs}
        if call.target is not None:
            cleans[id(call.target)] = cleans[id(call.target)].clone()
        return call.on(cleans)

    def _crop(self, call: _Call, one: torch.Tensor, way: _Way) -> torch.Tensor:
        """What a call reads of an input; its own copy, where it is to be changed."""
        held = self.patched[one]
        crop = held.patch if isinstance(call.step.motion, Move) else held.part(way.y, way.x)
        return crop.clone() if one is call.target and crop is held.patch else crop

    def _slid(self, call: _Call, motion: Slide, way: _Way) -> object:
        (source,) = call.inputs
        held, operation = self.patched[source], call.step.operation
        assert operation is not None
        assert operation.reading is not None
        y, x = way.y.read_by(motion.y, held.y.full), way.x.read_by(motion.x, held.x.full)
        cuts = (
            Cut((0, y.count), (0, 0), Span(0, way.y.count, way.y.full), y.full),
            Cut((0, x.count), (0, 0), Span(0, way.x.count, way.x.full), x.full),
        )
        work = Windows((motion.y, motion.x), cuts, held.axes)
        swap = {id(source): held.part(y, x, fill=_FILLS.get(operation.reading, 0.0))}
        args, kwargs = with_others(call.args, swap), with_others(call.kwargs, swap)
        return READERS[operation.reading](work, plainly, args, kwargs)

    def _note_aliases(self, call: _Call, crops: dict[int, torch.Tensor], made: object) -> None:
        """Marks what shares memory: changed in place, the other would not hear of it."""
        places = {one.untyped_storage().data_ptr() for one in tensors_in(made)}
        for one in call.inputs:
            if crops[id(one)].untyped_storage().data_ptr() in places:
                self.aliased[one] = True

    def _stood_for(
        self, call: _Call, clean: object, made: object, way: _Way, *, target: torch.Tensor | None
    ) -> object:
        """Stand-ins for a result; a changed tensor stands for what it has become."""
        pairs = zip(tensors_in(clean), tensors_in(made), strict=True)
        found = [Patched(one, patch, way.y, way.x, way.axes) for one, patch in pairs]
        if not found or not all(one.fits() for one in found):
            raise Lost
        if target is not None:
            self.patched[target] = found[0]
            return target
        stand_ins = [self.standing_for(one) for one in found]
        if any(one in self.aliased for one in call.inputs):
            for one in stand_ins:
                self.aliased[one] = True
        form = call.step.form
        return stand_ins[0] if form is torch.Tensor else form(stand_ins)


def _way(step: Step, parts: Sequence[Patched]) -> _Way | None:
    """Where a step's result may differ; None where the table does not tell."""
    motion, first = step.motion, parts[0]
    match motion:
        case Slide() if len(parts) == 1 and _reads_alone(step, motion, first):
            return _Way(first.y.meets(motion.y), first.x.meets(motion.x), first.axes)
        case Stay(gated=False, pinned=False, batch=False):
            return _Way(*union(parts), first.axes)
        case Move() if step.operation and step.operation.motion not in _SIZED:
            return _Way(first.y, first.x, motion.axes)
    return None


def _reads_alone(step: Step, motion: Slide, held: Patched) -> bool:
    """Whether a window operation can be run on crops; a mean must not count the padding."""
    reading = step.operation.reading if step.operation else None
    if reading is not Reading.MEAN:
        return reading is not None
    axes = zip((motion.y, motion.x), (held.y.full, held.x.full), strict=True)
    return all(
        window.before == 0 and window.reads(window.outputs(full) - 1)[1] <= full
        for window, full in axes
    )
