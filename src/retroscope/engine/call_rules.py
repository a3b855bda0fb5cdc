"""Rules that run a call of a torch function themselves, and so see its input and its weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch

from retroscope.engine.autograd_calls import call_with_gradient
from retroscope.engine.call_arguments import Args, Function, Kwargs, positional
from retroscope.engine.linear_maps import LinearMap
from retroscope.engine.program import inplace_target
from retroscope.engine.tensor_map import TensorMap
from retroscope.engine.transposed_convolution import SignalBox

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class FunctionCall:
    """A call of a torch function, with its arguments under torch's own names, the input first.

    `depth` is the number of linear operations on the longest path from the pixels to its result.
    """

    function: Function
    args: Args
    kwargs: Kwargs
    depth: int

    @classmethod
    def of(cls, function: Function, args: Args, kwargs: Kwargs, *, depth: int) -> "FunctionCall":
        return cls(function, *positional(args, kwargs), depth)

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
    depth: int


class PassRecord:
    """What the rules of one forward pass have to know of each other, and of the units.

    `unit_depths` are the depths of the units that the next signals start from: of one for each
    image, or of one for all.
    """

    def __init__(self, unit_depths: Sequence[int]) -> None:
        self._linear_calls = TensorMap[tuple[int, LinearCall]]()
        self.gates = TensorMap[bool]()
        self.start_from(unit_depths)

    def start_from(self, unit_depths: Sequence[int]) -> None:
        """Prepares for signals that start from units of these depths."""
        self.unit_depths = unit_depths
        self._spread_depth = 0

    def find_box(self, signal: Tensor, depth: int) -> SignalBox | None:
        """The part of a map where the signal in one image is not zero, unless that is most of it.

        Below a map that the signal fills, it is not looked for again. In a batch it would depend on
        the other images, and with it the last bits of the result.
        """
        if len(signal) > 1 or depth <= self._spread_depth:
            return None
        box = SignalBox.of(signal)
        if not box.is_worth_cutting(signal):
            self._spread_depth = depth
            return None
        return box

    def is_lower_half(self, depth: int) -> list[bool]:
        """For each unit, whether this depth is in the lower half of the way to it."""
        return [2 * (depth - 1) <= unit_depth - 1 for unit_depth in self.unit_depths]

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
