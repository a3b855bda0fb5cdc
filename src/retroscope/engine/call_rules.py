"""Rules that run a call of a torch function themselves, and so see its input and its weights."""

from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch

from retroscope.engine.autograd_calls import call_with_gradient
from retroscope.engine.call_arguments import Args, Function, Kwargs, positional
from retroscope.engine.linear_maps import LinearMap
from retroscope.engine.program import inplace_target
from retroscope.engine.tensor_map import TensorMap

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class FunctionCall:
    """A call of a torch function, with its arguments under torch's own names, the input first."""

    function: Function
    args: Args
    kwargs: Kwargs

    @classmethod
    def of(cls, function: Function, args: Args, kwargs: Kwargs) -> "FunctionCall":
        return cls(function, *positional(args, kwargs))

    @property
    def source(self) -> Tensor:
        """The input."""
        return cast("Tensor", self.args[0])

    @property
    def is_in_place(self) -> bool:
        """Whether it changes its input."""
        return inplace_target(self.function, self.args, self.kwargs) is not None

    def run(self, source: Tensor | None = None) -> Any:
        """The result with the gradient of the function, also for another input."""
        source = self.source if source is None else source
        return call_with_gradient(self.function, (source, *self.args[1:]), self.kwargs)


@dataclass(frozen=True, eq=False)
class LinearCall:
    """A call of a linear operation: its input, its output as torch computes it, and its map."""

    source: Tensor
    output: Tensor
    linear: LinearMap


class PassRecord:
    """What the rules of one forward pass have to know of each other's results."""

    def __init__(self) -> None:
        self._linear_calls = TensorMap[tuple[int, LinearCall]]()
        self.gates = TensorMap[bool]()

    def add_linear_call(self, result: Tensor, call: LinearCall) -> None:
        """Remembers what computed a tensor, for the norm that may follow."""
        self._linear_calls[result] = result._version, call

    def linear_call(self, result: Tensor) -> LinearCall | None:
        """What computed a tensor, if nothing has changed it since."""
        version, call = self._linear_calls.get(result) or (0, None)
        return call if version == result._version else None


class CallRule(Protocol):
    """Runs a call of a torch function, and decides what it does to the signal on the way back."""

    def run(self, call: FunctionCall, record: PassRecord) -> object: ...
