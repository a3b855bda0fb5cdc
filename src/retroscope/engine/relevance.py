"""Layer-wise relevance propagation as backward rules (Bach 2015; Montavon 2019).

The signal G at a value x is its relevance divided by it, R = G x, so that an operation without a
rule passes the plain gradient, and the signal at the pixels is a picture in their own colours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol, cast

import torch
from torch.autograd.function import once_differentiable

from retroscope.engine.autograd_calls import without_parameters
from retroscope.engine.call_rules import FunctionCall, LinearCall, PassRecord
from retroscope.engine.linear_maps import LinearMap, batch_norm_scale, linear_map
from retroscope.engine.transposed_convolution import SignalBox, Transposed, cut

Tensor = torch.Tensor
_NEAR_ZERO = 1e-6
"""Inputs nearer to zero than this count as zero where a rule divides by them."""
_SMALLEST = 1e-9
"""The smallest sum of contributions that a rule divides by."""


SignalMap = Callable[[Tensor, SignalBox | None], Tensor]
"""From the signal at a map to that at the map below; it is zero outside of the box, if there is
one."""


class LinearRule(Protocol):
    """A rule for linear maps, also for those that a batch norm has been folded into."""

    def way_back(self, linear: LinearMap, source: Tensor, output: Tensor) -> SignalMap:
        """The way back from the output of a linear map to its input, whose values these are."""
        ...


@dataclass(frozen=True)
class ByWeights:
    """Runs a linear operation under a rule that sees its weights.

    `lower` replaces the rule in the lower half of the way from the pixels to the unit.
    """

    rule: LinearRule
    lower: LinearRule | None = None

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        output: Tensor = call.run()
        linear = linear_map(call.function, call.args, call.kwargs)
        if linear is None or not output.requires_grad:
            return output
        rules = _HalfRules(self.rule, self.lower or self.rule, call.depth, record)
        result = _attach(rules, linear, call.source, output)
        record.add_linear_call(result, LinearCall(call.source, output, linear, call.depth))
        return result


@dataclass(frozen=True)
class FoldedNorm:
    """A batch norm of a linear operation's output is one linear map together with it.

    Any other batch norm, such as one before an activation and a convolution, passes the gradient.
    """

    rule: LinearRule
    lower: LinearRule | None = None

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        before = record.linear_call(call.source)
        scale = batch_norm_scale(*call.args, **call.kwargs)
        folded = None if before is None or scale is None else before.linear.scale_outputs(*scale)
        if before is None or folded is None:
            return call.run()
        rules = _HalfRules(self.rule, self.lower or self.rule, before.depth, record)
        return _attach(rules, folded, before.source, call.run(before.output))


@dataclass(frozen=True)
class Epsilon:
    """Damps outputs that are small beside the other channels at their position.

    G_x = W^T (G_y |y| / (|y| + epsilon r)), where r is the root mean square of y over the channels
    of the same position. A small output is often the difference of large contributions; what
    passes through it is noise.
    """

    epsilon: float = 0.1

    def way_back(self, linear: LinearMap, source: Tensor, output: Tensor) -> SignalMap:
        size = output.abs()
        mean_square = output.square().mean(linear.channel_axis, keepdim=True)
        factor = size / (size + self.epsilon * mean_square.sqrt() + 1e-12)
        return partial(linear.transpose(linear.weight, source), factor)


@dataclass(frozen=True)
class Gamma:
    """Favours the contributions that have the output's own sign.

    With W+ = W + gamma max(W, 0), W- = W + gamma min(W, 0), and likewise for the bias:

        P = W+ max(x, 0) + W- min(x, 0) + b+    s = G_y y / P where y > 0
        N = W- max(x, 0) + W+ min(x, 0) + b-    t = G_y y / N where y < 0

    G_x is W+^T s + W-^T t where x > 0, and W-^T s + W+^T t elsewhere.
    """

    gamma: float = 0.25

    def way_back(self, linear: LinearMap, source: Tensor, output: Tensor) -> SignalMap:
        return _GammaWayBack(linear, self.gamma, source, output)


@dataclass(frozen=True)
class Secant:
    """Multiplies the signal by (f(x) - f(0)) / x: all relevance passes on.

    A rectifier passes what it lets through, also where its derivative is zero, such as a ReLU6 at
    its upper bound.
    """

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        del record
        source = call.source
        return _SecantFunction.apply(source, call.run) if source.requires_grad else call.run()


@dataclass(frozen=True)
class ConstantDeviation:
    """A layer norm passes the gradient that it has if the standard deviation is a constant."""

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        del record
        return _layer_norm(*without_parameters(call.args), **without_parameters(call.kwargs))


@dataclass(frozen=True)
class ConstantGate:
    """In a product of two maps the gate is a constant: the map of fewer values, or a sigmoid."""

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        first, second = call.source, (*call.args[1:], call.kwargs.get("other"))[0]
        if not isinstance(second, Tensor) or not (first.requires_grad and second.requires_grad):
            return call.run()
        first_rank, second_rank = (
            (_size(factor), factor not in record.gates) for factor in (first, second)
        )
        if second_rank <= first_rank:
            return call.function(first, second.detach())
        return call.run() if call.is_in_place else call.function(first.detach(), second)


@dataclass(frozen=True)
class MarkedGate:
    """Passes the gradient, and remembers the result as a possible gate."""

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        result = call.run()
        if isinstance(result, Tensor):
            record.gates[result] = True
        return result


def _size(tensor: Tensor) -> int:
    """How many values a tensor has, those once that `expand` repeats."""
    lengths = zip(tensor.shape, tensor.stride(), strict=True)
    size = 1
    for length, stride in lengths:
        size *= length if stride else 1
    return size


@dataclass(frozen=True, eq=False)
class _HalfRules:
    """The rules of a linear map: one for the upper half of the way to a unit, one for the lower.

    One forward pass serves units of all layers, so that only the signal decides which it is.
    """

    upper: LinearRule
    lower: LinearRule
    depth: int
    record: PassRecord


class _HalfWays:
    """The ways back of a linear map in one pass."""

    def __init__(
        self, rules: _HalfRules, linear: LinearMap, source: Tensor, output: Tensor
    ) -> None:
        self._rules, self._linear, self._source, self._output = rules, linear, source, output

    def back(self, signal: Tensor) -> Tensor:
        """The signal at the input; each row by the rule that its unit asks for."""
        rules = self._rules
        is_lower = rules.record.is_lower_half(rules.depth)
        box = rules.record.find_box(signal, rules.depth) if self._linear.window else None
        if box is not None and box.area == 0:
            return torch.zeros_like(self._source)
        if rules.upper == rules.lower or not any(is_lower):
            return self._upper(signal, box)
        if all(is_lower):
            return self._lower(signal, box)
        lower = torch.tensor(is_lower, device=signal.device).view(-1, *[1] * (signal.dim() - 1))
        below, above = self._lower(signal * lower, box), self._upper(signal * ~lower, box)
        return torch.where(lower, below, above)

    @cached_property
    def _upper(self) -> SignalMap:
        return self._rules.upper.way_back(self._linear, self._source, self._output)

    @cached_property
    def _lower(self) -> SignalMap:
        return self._rules.lower.way_back(self._linear, self._source, self._output)


def _attach(rules: _HalfRules, linear: LinearMap, source: Tensor, output: Tensor) -> Tensor:
    make_ways = partial(_HalfWays, rules, linear)
    return cast("Tensor", _LinearFunction.apply(source, output.detach(), make_ways))


class _LinearFunction(torch.autograd.Function):
    """A linear map that has been computed, with its ways back."""

    @staticmethod
    def forward(
        ctx: Any, source: Tensor, output: Tensor, make_ways: Callable[[Tensor, Tensor], _HalfWays]
    ) -> Tensor:
        ctx.save_for_backward(source.clone(), output)  # the network may change its input in place
        ctx.make_ways, ctx.ways = make_ways, None
        return output.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, None]:
        if ctx.ways is None:  # what the rules need is computed once for all signals
            ctx.ways = ctx.make_ways(*ctx.saved_tensors)
        return ctx.ways.back(signal), None, None


class _SecantFunction(torch.autograd.Function):
    """An elementwise function, or one with a derivative in all of its inputs, in place or not."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
        before = source.clone()
        result = call(source)
        if result is source:
            ctx.mark_dirty(source)
        is_zero = before.abs() < _NEAR_ZERO
        slope = (result - call(torch.zeros_like(before))) / before.masked_fill(is_zero, 1)
        ctx.save_for_backward(slope.masked_fill(is_zero, 0))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None]:
        return signal * ctx.saved_tensors[0], None


class _GammaWayBack:
    """The rule Gamma for the values of one pass."""

    def __init__(self, linear: LinearMap, gamma: float, source: Tensor, output: Tensor) -> None:
        weight = linear.weight
        self._linear, self._gamma, self._output = linear, gamma, output
        self._raised = weight + gamma * weight.clamp(min=0)
        self._lowered = weight + gamma * weight.clamp(max=0)
        self._is_negative_input = source <= 0 if bool((source < 0).any()) else None
        self._above = source if self._is_negative_input is None else source.clamp(min=0)
        self._below = None if self._is_negative_input is None else source.clamp(max=0)
        self._transpose_raised = linear.transpose(self._raised, source)
        self._transpose_lowered = linear.transpose(self._lowered, source)

    def __call__(self, signal: Tensor, box: SignalBox | None) -> Tensor:
        back = partial(self._back, signal=signal, box=box)
        positive, negative = self._transpose_raised, self._transpose_lowered
        result = back(positive, negative, factor=self._positive_factor)
        negative_signal = cut(signal, box) * cut(self._negative_factor, box)
        if bool(negative_signal.abs().amax() != 0):  # behind a ReLU there is no such signal
            result = result + back(negative, positive, factor=self._negative_factor)
        return result

    def _back(
        self,
        above: Transposed,
        below: Transposed,
        *,
        factor: Tensor,
        signal: Tensor,
        box: SignalBox | None,
    ) -> Tensor:
        result = above(factor, signal, box)
        if self._is_negative_input is None:
            return result
        return torch.where(self._is_negative_input, below(factor, signal, box), result)

    @cached_property
    def _positive_factor(self) -> Tensor:
        """y / P where y > 0."""
        return self._factor(1, self._raised, self._lowered)

    @cached_property
    def _negative_factor(self) -> Tensor:
        """y / N where y < 0."""
        return self._factor(-1, self._lowered, self._raised)

    def _factor(self, sign: int, above: Tensor, below: Tensor) -> Tensor:
        linear, bias = self._linear, self._linear.bias
        total = linear.apply(self._above, above)
        if self._below is not None:
            total = total + linear.apply(self._below, below)
        if bias is not None:
            total = total + linear.bias_map(bias + self._gamma * (sign * bias).clamp(min=0) * sign)
        return (sign * self._output).clamp(min=0) / (sign * total).clamp(min=_SMALLEST)


def _layer_norm(
    input: Tensor,  # noqa: A002
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    deviation = (input.var(axes, unbiased=False, keepdim=True) + eps).sqrt().detach()
    result = (input - input.mean(axes, keepdim=True)) / deviation
    result = result if weight is None else result * weight
    return result if bias is None else result + bias
