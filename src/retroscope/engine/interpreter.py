"""The bookkeeping of a forward pass, done once; each analysis is a subclass with its own step."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Never, Protocol, cast, runtime_checkable

import torch

from retroscope.engine.call_arguments import (
    Args,
    Function,
    Kwargs,
    tensors_in,
    with_others,
    with_tensors,
)
from retroscope.engine.call_kinds import creates_from_shape, is_identity, is_metadata_query
from retroscope.engine.intercept import Handler, PassEnded, TargetReached, execute_plainly
from retroscope.engine.operations import name_of
from retroscope.engine.program import Step, Survey, inplace_target
from retroscope.errors import DivergenceError


class CannotFollow(PassEnded):
    """The network's code takes a turn that this analysis cannot follow; it has to run as it is."""


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """One call of a torch function."""

    function: Function
    args: Args
    kwargs: Kwargs

    def tensors(self) -> Iterator[torch.Tensor]:
        """Every tensor among the arguments."""
        return tensors_in(self.args, self.kwargs)

    def run(self, execute: Handler = execute_plainly) -> object:
        return execute(self.function, self.args, self.kwargs)

    @property
    def target(self) -> torch.Tensor | None:
        """The tensor that the call changes in place."""
        return inplace_target(self.function, self.args, self.kwargs)

    def map_tensors(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Call":
        """The same call on other tensors."""
        args, kwargs = with_tensors(self.args, change), with_tensors(self.kwargs, change)
        return Call(self.function, args, kwargs)

    def on(self, tensors: Mapping[int, torch.Tensor]) -> "Call":
        """The same call on other tensors, by the identity of those that they replace."""
        args, kwargs = with_others(self.args, tensors), with_others(self.kwargs, tensors)
        return Call(self.function, args, cast("dict[str, Any]", kwargs))


@runtime_checkable
class StepHandler(Handler, Protocol):
    """A handler that runs each step of a program in its own way."""

    def at_step(self, step: Step, /) -> Handler: ...


class Interpreter(ABC):
    """A handler that sorts the calls of a forward pass and numbers its steps.

    A call is one of three: a metadata query (`x.shape`; answered, not a step), an identity
    (`x.view_as(x)`, which torch's backward hooks insert; not a step), or a step of the program.
    `count` is the number of steps before the present call. The pass ends after the step `last`.
    """

    def __init__(self, execute: Handler = execute_plainly, *, last: int | None = None) -> None:
        self.execute = execute
        self.last = last
        self.count = 0

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        if torch._C._functorch.peek_interpreter_stack() is not None:
            return self.execute(function, args, kwargs)  # inside vmap: what it gives is hidden
        call = self.prepare(Call(function, args, kwargs))
        if is_identity(call.function, call.args):
            return self.identity(call)
        if is_metadata_query(call.function):
            answer = self.query(call)
            if next(tensors_in(answer), None) is None:
                return answer
        result = self.step(call)
        if self.count == self.last:
            raise TargetReached
        self.count += 1
        return result

    def prepare(self, call: Call) -> Call:
        """The call that runs in place of this one."""
        return call

    def query(self, call: Call) -> object:
        return call.run(self.execute)

    def identity(self, call: Call) -> object:
        return call.run(self.execute)

    @abstractmethod
    def step(self, call: Call) -> object:
        """Runs one step of the program."""


class ProgramInterpreter(Interpreter):
    """Follows the program of a survey, to its end or up to the step `last`."""

    def __init__(
        self, survey: Survey, *, last: int | None = None, execute: Handler = execute_plainly
    ) -> None:
        super().__init__(execute, last=last)
        self.steps = survey.steps
        self._at_step = execute.at_step if isinstance(execute, StepHandler) else None

    def step(self, call: Call) -> object:
        if self.count >= len(self.steps) or not matches(self.steps[self.count], call):
            self.diverge(call)
        if self._at_step is not None:
            self.execute = self._at_step(self.steps[self.count])
        if creates_from_shape(call.function, call.args, call.kwargs):
            return self.create(call)
        return self.compute(self.steps[self.count], call)

    def diverge(self, call: Call) -> Never:
        """Refuses a call that is not the surveyed one."""
        raise CannotFollow(call.function)

    def create(self, call: Call) -> object:
        """A tensor made from the shape of another, such as `zeros_like`."""
        return call.run(self.execute)

    @abstractmethod
    def compute(self, step: Step, call: Call) -> object:
        """Runs a step that reads the values of its inputs."""


def matches(step: Step, call: Call) -> bool:
    """Whether a call is the surveyed one: the same function, on the same parameters."""
    return step.function == call.function and step.has_parameters(call.args, call.kwargs)


def refuse_divergence(step: Step, call: Call) -> Never:
    """For passes that must find each layer at its surveyed step."""
    name, surveyed = name_of(call.function), name_of(step.function)
    differs = "with other weights than" if name == surveyed else f"where it called {surveyed}"
    raise DivergenceError(
        "this network does not run every image the same way: here it calls "
        f"{name} {differs} for a black image, so its layers cannot be identified"
    )
