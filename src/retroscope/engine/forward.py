"""A forward pass that follows the survey's program and shows the layers on its way."""

from collections.abc import Callable, Mapping

import torch

from retroscope.engine.intercept import Handler, Reached, run
from retroscope.engine.operations import (
    Args,
    Function,
    Kwargs,
    asks_only,
    is_itself,
    name_of,
    tensors_in,
)
from retroscope.engine.survey import Survey, canonical
from retroscope.errors import ModelError

Seen = Callable[[torch.Tensor], object]


def plainly(function: Function, args: Args, kwargs: Kwargs) -> object:
    """Runs a torch function as it is."""
    return function(*args, **kwargs)


def follow(
    module: torch.nn.Module,
    survey: Survey,
    pictures: torch.Tensor,
    seen: Mapping[int, Seen],
    *,
    execute: Handler = plainly,
) -> None:
    """Runs the pictures up to the last step asked for, and shows the output of each one asked.

    An output is shown as (batch, channels, height, width) and may be changed in place by later
    steps: whoever keeps it, copies it.
    """
    run(module, pictures, _Follower(survey, seen, execute))


class _Follower:
    def __init__(self, survey: Survey, seen: Mapping[int, Seen], execute: Handler) -> None:
        self.steps = survey.steps
        self.seen = seen
        self.execute = execute
        self.last = max(seen)
        self.count = 0

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        result = self.execute(function, args, kwargs)
        first = next(tensors_in(result), None)
        if (first is None and asks_only(function)) or is_itself(function, args):
            return result
        step = self.steps[self.count]
        if step.function != function:
            raise ModelError(
                f"this network does not run the same way twice: {name_of(function)} where "
                f"{name_of(step.function)} was; its layers have no fixed place"
            )
        if self.count in self.seen and first is not None and step.seen is not None:
            self.seen[self.count](canonical(first, step.seen.axes))
        self.count += 1
        if self.count > self.last:
            raise Reached
        return result
