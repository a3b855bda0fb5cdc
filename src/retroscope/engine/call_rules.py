"""Rules that run a call of a torch function themselves, and so see its input and its weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
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

    def without_source(self) -> Callable[[Tensor], Any]:
        """The same call for another input, which does not hold its own."""
        return replace(self, args=(None, *self.args[1:])).run


SignalMap = Callable[[Tensor, SignalBox | None], Tensor]
"""From the signal at a map to that at the map below; it is zero outside of the box, if there is
one."""


@dataclass(frozen=True, eq=False)
class LinearCall:
    """A linear operation in one pass, with the batch norm and the rectifier that follow it.

    `source` is its input as autograd knows it, `values` are those that it had, and `output` is what
    the operation and its norm made of them. `slope` is by what the rectifier multiplies that.
    """

    source: Tensor
    values: Tensor
    output: Tensor
    linear: LinearMap
    rules: "HalfRules"
    find_slope: Callable[[Tensor], Tensor] | None = None

    @cached_property
    def slope(self) -> Tensor | None:
        return None if self.find_slope is None else self.find_slope(self.output)

    def transpose(self, weight: Tensor, factor: Tensor | None = None) -> SignalMap:
        """The way back by these weights, of the signal times a factor for each output."""
        return partial(self.linear.transpose(weight, self.values), self.with_slope(factor))

    def with_slope(self, factor: Tensor | None) -> Tensor | None:
        """The factor for signals behind the rectifier."""
        if factor is None or self.slope is None:
            return self.slope if factor is None else factor
        return factor * self.slope


class LinearRule(Protocol):
    """A rule for linear operations, also for those that a batch norm has been folded into."""

    def way_back(self, call: LinearCall) -> SignalMap:
        """The way back from the output of a linear operation to its input."""
        ...


@dataclass(frozen=True, eq=False)
class HalfRules:
    """The rules of a linear operation: for the upper half of the way to a unit, and for the lower.

    None passes the gradient. One forward pass serves units of all layers, so that only the signal
    decides which half it is.
    """

    upper: LinearRule | None
    lower: LinearRule | None
    depth: int
    signals: "UnitSignals"


class UnitSignals:
    """The signals of one way back: the depths of the units they start from, and where they are.

    The depth is that of one unit for each image, or of one for all.
    """

    def __init__(self, unit_depths: Sequence[int]) -> None:
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


class PassRecord:
    """What the rules of one forward pass have to know of each other, and of the units.

    It holds parts of autograd's graph, so no part of the graph may hold it.
    """

    def __init__(self, unit_depths: Sequence[int]) -> None:
        self._linear_calls = TensorMap[tuple[int, LinearCall]]()
        self.gates = TensorMap[bool]()
        self.weights = TensorMap[bool]()
        self.signals = UnitSignals(unit_depths)

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
