"""Region-exact execution: run only the part of each map that one unit depends on.

A crop of the picture goes through the network's own forward pass. Each tensor carries which part
of the full map it holds. Window operations compute the outputs whose windows are wholly known
and pad only at the true border, so that every number is the one that the full picture gives.
What cannot be known from the crop stays unknown; a target that needs it is run on the full
picture instead.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch

from retroscope.engine.intercept import Ended, Handler, Reached, run
from retroscope.engine.map_regions import Held, Span, cut
from retroscope.engine.memory import is_out_of_memory
from retroscope.engine.motion import Move, Slide, Stay
from retroscope.engine.operations import (
    Args,
    Function,
    Kwargs,
    asks_only,
    is_itself,
    makes_anew,
    tensors_in,
    with_others,
    with_tensors,
)
from retroscope.engine.survey import Step, Survey, canonical, written
from retroscope.engine.tensor_map import Marks, instead
from retroscope.engine.window_ops import READERS, Windows
from retroscope.errors import RetroscopeError


class Lost(Ended):
    """The crop runs another program than the full picture did, or one we cannot follow."""


@dataclass(frozen=True)
class Look:
    """A layer's output for a batch of crops, (batch, channels, height, width), and its place."""

    output: torch.Tensor
    y: Span
    x: Span


def look(
    module: torch.nn.Module,
    survey: Survey,
    crops: torch.Tensor,
    *,
    target: int,
    held: Held,
    execute: Handler,
) -> Look | None:
    """The target step's output on these crops; None where the crops do not tell it."""
    runner = _Region(survey, target, execute)
    runner.held[crops] = held
    try:
        run(module, crops, runner)
    except Lost:
        return None
    except RetroscopeError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
        # A network may insist on sizes that a crop does not have. The full picture then runs
        # instead, where an error of its own is raised again.
        if is_out_of_memory(error):
            raise
        return None
    return runner.found


class _Region:
    def __init__(self, survey: Survey, target: int, execute: Handler) -> None:
        self.survey = survey
        self.target = target
        self.execute = execute
        self.held = Marks[Held | None]()
        self.stand_ins = Marks[torch.Tensor]()
        self.viewed = Marks[bool]()
        self.count = 0
        self.found: Look | None = None

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        args, kwargs = self._current(args), cast("Kwargs", self._current(kwargs))
        if asks_only(function):
            answer = self.execute(function, args, kwargs)
            if next(tensors_in(answer), None) is None:
                return answer
        if is_itself(function, args):
            return self._same(args)
        step = self._next(function)
        inputs = [one for one in tensors_in(args, kwargs) if one in self.held]
        if makes_anew(function):
            return self.execute(function, args, kwargs)
        result = self._answer(step, inputs, args, kwargs)
        self._reached(step, result)
        return result

    def _same(self, args: Args) -> object:
        seen = self.execute(torch.Tensor.view_as, args, {})
        if args[0] in self.held:
            self.held[cast("torch.Tensor", seen)] = self.held[args[0]]
        return seen

    def _current(self, value: Any) -> Any:
        if not len(self.stand_ins):
            return value
        return with_tensors(value, partial(instead, self.stand_ins))

    def _next(self, function: Function) -> Step:
        if self.count > self.target or self.survey.steps[self.count].function != function:
            raise Lost
        self.count += 1
        return self.survey.steps[self.count - 1]

    def _answer(self, step: Step, inputs: list[torch.Tensor], args: Args, kwargs: Kwargs) -> object:
        if not inputs:
            if step.seen is not None or not step.is_given(args, kwargs):
                raise Lost
            return self.execute(step.function, args, kwargs)
        if isinstance(step.motion, Slide) and len(inputs) > 1:
            return self._unknown(step, inputs, written(step.function, args, kwargs))
        if all(self.held[one] is not None for one in inputs):
            if isinstance(step.motion, Slide):
                return self._slide(step, step.motion, args, kwargs)
            if isinstance(step.motion, Stay) and not (step.motion.gated or step.motion.pinned):
                if not step.is_given(args, kwargs):
                    raise Lost
                return self._stay(step, inputs, args, kwargs)
            if isinstance(step.motion, Move):
                held = cast("Held", self.held[inputs[0]])
                result = self.execute(step.function, args, kwargs)
                return self._hold(result, Held(held.y, held.x, step.motion.axes))
        return self._unknown(step, inputs, written(step.function, args, kwargs))

    def _reached(self, step: Step, result: object) -> None:
        if self.count <= self.target:
            return
        first = next(tensors_in(result))
        held = self.held.get(first)
        if held is not None:
            assert step.seen is not None
            self.found = Look(canonical(first, held.axes), held.y, held.x)
        raise Reached

    def _hold(self, result: object, held: Held) -> object:
        for one in tensors_in(result):
            if not held.fits(one.shape):
                raise Lost
            self.held[one] = held
            if one._base is not None:
                self.viewed[one._base] = True
        return result

    def _unknown(
        self, step: Step, inputs: list[torch.Tensor], changed: torch.Tensor | None = None
    ) -> object:
        """A stand-in of the full size, so that the network's own code runs on; nobody reads it."""
        if changed is not None:
            self._refuse_shared(changed)
            self.held[changed] = None
            return changed if step.shapes else None
        if not step.shapes or step.form not in (torch.Tensor, tuple, list):
            raise Lost
        blanks = [self._blank(shape, inputs[0]) for shape in step.shapes]
        return blanks[0] if step.form is torch.Tensor else step.form(blanks)

    def _blank(self, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        blank = torch.zeros((), dtype=like.dtype, device=like.device)
        blank = blank.expand(shape[0] * like.shape[0], *shape[1:]) if shape else blank
        self.held[blank] = None
        return blank

    def _stay(self, step: Step, inputs: list[torch.Tensor], args: Args, kwargs: Kwargs) -> object:
        parts = [cast("Held", self.held[one]) for one in inputs]
        met = _meeting(parts)
        if met is None:
            return self._unknown(step, inputs, written(step.function, args, kwargs))
        if all(part == met for part in parts):
            return self._hold(self.execute(step.function, args, kwargs), met)
        crops: dict[int, torch.Tensor] = {
            id(one): _part(one, part, met) for one, part in zip(inputs, parts, strict=True)
        }
        changed = written(step.function, args, kwargs)
        function = step.function if changed is None else self._out_of_place(step.function, changed)
        result = self.execute(function, with_others(args, crops), with_others(kwargs, crops))
        if changed is not None:
            self.stand_ins[changed] = cast("torch.Tensor", result)
        return self._hold(result, met)

    def _refuse_shared(self, changed: torch.Tensor) -> None:
        """What is changed in place must not be seen through another tensor's memory too."""
        if changed._base is not None or changed in self.viewed:
            raise Lost

    def _out_of_place(self, function: Function, changed: torch.Tensor) -> Function:
        """The twin that leaves its input alone, for parts that no longer have one size."""
        self._refuse_shared(changed)
        twin = getattr(torch.Tensor, function.__name__.removesuffix("_"), None)
        if twin is None:
            raise Lost
        return cast("Function", twin)

    def _slide(self, step: Step, motion: Slide, args: Args, kwargs: Kwargs) -> object:
        source = args[0] if args else kwargs["input"]
        held = cast("Held", self.held[source])
        y, x = cut(held.y, motion.y), cut(held.x, motion.x)
        reading = step.operation.reading if step.operation else None
        if y is None or x is None or reading is None:
            return self._unknown(step, [source])
        work = Windows((motion.y, motion.x), (y, x), held.axes)
        result = READERS[reading](work, self.execute, args, kwargs)
        return self._hold(result, Held(y.gives, x.gives, held.axes))


def _meeting(parts: list[Held]) -> Held | None:
    """What all operands hold."""
    met: Held | None = parts[0]
    for part in parts[1:]:
        met = met and met.meet(part)
    return met


def _part(tensor: torch.Tensor, own: Held, wanted: Held) -> torch.Tensor:
    for axis, has, wants in zip(own.axes, (own.y, own.x), (wanted.y, wanted.x), strict=True):
        tensor = tensor.narrow(axis, wants.start - has.start, wants.count)
    return tensor
