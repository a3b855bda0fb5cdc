"""Layer-wise relevance propagation as backward rules (Bach 2015; Montavon 2019).

The signal G at a value x is its relevance divided by it, R = G x, so that an operation without a
rule passes the plain gradient, and the signal at the pixels is a picture in their own colours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from retroscope.engine.autograd_calls import call_with_gradient, without_parameters
from retroscope.engine.call_arguments import tensors_in, with_others
from retroscope.engine.call_rules import FunctionCall, LinearCall, PassRecord, SignalMap
from retroscope.engine.linear_rules import as_mask, attach_rectifier
from retroscope.engine.transposed_convolution import SignalBox

Tensor = torch.Tensor
_NEAR_ZERO = 1e-6
"""Inputs nearer to zero than this count as zero where a rule divides by them."""
_SMALLEST = 1e-9
"""The smallest sum of contributions that a rule divides by."""
_VALUE = 2
"""The place of the values among the arguments of attention, behind queries and keys."""


@dataclass(frozen=True)
class Epsilon:
    """Damps outputs that are small beside the other channels at their position.

    G_x = W^T (G_y |y| / (|y| + epsilon r)), where r is the root mean square of y over the channels
    of the same position. A small output is often the difference of large contributions; what
    passes through it is noise.
    """

    epsilon: float = 0.1

    def way_back(self, call: LinearCall) -> SignalMap:
        size = call.output.abs()
        mean_square = call.output.square().mean(call.linear.channel_axis, keepdim=True)
        factor = size / (size + self.epsilon * mean_square.sqrt() + 1e-12)
        return call.transpose(call.linear.weight, factor)


@dataclass(frozen=True)
class Gamma:
    """Favours the contributions that have the output's own sign.

    With W+ = W + gamma max(W, 0), W- = W + gamma min(W, 0), and likewise for the bias:

        P = W+ max(x, 0) + W- min(x, 0) + b+    s = G_y y / P where y > 0
        N = W- max(x, 0) + W+ min(x, 0) + b-    t = G_y y / N where y < 0

    G_x is W+^T s + W-^T t where x > 0, and W-^T s + W+^T t elsewhere.
    """

    gamma: float = 0.25

    def way_back(self, call: LinearCall) -> SignalMap:
        return _GammaWayBack(call, self.gamma)


@dataclass(frozen=True)
class Secant:
    """Multiplies the signal by (f(x) - f(0)) / x: all relevance passes on.

    A rectifier passes what it lets through, also where its derivative is zero, such as a ReLU6 at
    its upper bound.
    """

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        source = call.source
        if not source.requires_grad:
            return call.run()
        before = record.linear_call(source)
        if before is not None:
            return attach_rectifier(before, call, partial(_secant_slope, call.without_source()))
        return _SecantFunction.apply(source, call.run)


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
        are_maps = all(isinstance(factor, Tensor) for factor in (first, second))
        if not are_maps or not (first.requires_grad and second.requires_grad):
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


@dataclass(frozen=True)
class MarkedWeights:
    """Passes the gradient, and remembers the result as possible weights of attention."""

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        result = call.run()
        if isinstance(result, Tensor):
            record.weights[result] = True
        return result


@dataclass(frozen=True)
class ConstantWeights:
    """In the product of a softmax and values the softmax is a constant (Ali et al. 2022)."""

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        factors = [factor for factor in tensors_in(call.args, call.kwargs) if factor.requires_grad]
        weights = [factor for factor in factors if factor in record.weights]
        if len(weights) == len(factors):
            return call.run()
        constants = {id(factor): factor.detach() for factor in weights}
        args, kwargs = with_others(call.args, constants), with_others(call.kwargs, constants)
        return call_with_gradient(call.function, args, kwargs)


@dataclass(frozen=True)
class ConstantAttention:
    """Attention in one call passes the signal to the values; its weights are constants, unless the
    values are.
    """

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        del record
        values = call.args[_VALUE] if len(call.args) > _VALUE else call.kwargs["value"]
        if not values.requires_grad:
            return call.run()
        args = tuple(
            value.detach() if place < _VALUE else value for place, value in enumerate(call.args)
        )
        kwargs = {
            name: value.detach() if name == "key" else value for name, value in call.kwargs.items()
        }
        return call_with_gradient(call.function, args, kwargs)


def _size(tensor: Tensor) -> int:
    """How many values a tensor has, those once that `expand` repeats."""
    lengths = zip(tensor.shape, tensor.stride(), strict=True)
    size = 1
    for length, stride in lengths:
        size *= length if stride else 1
    return size


class _SecantFunction(torch.autograd.Function):
    """An elementwise function, or one with a derivative in all of its inputs, in place or not."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(_secant_slope(call, source))
        result = call(source)
        if result is source:
            ctx.mark_dirty(source)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None]:
        return signal * ctx.saved_tensors[0], None


def _secant_slope(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(f(x) - f(0)) / x; zero where x is near to zero."""
    rise = function(x.clone()) - function(torch.zeros_like(x))
    is_zero = as_mask(x.abs() < _NEAR_ZERO, x)
    return rise.div_(x + is_zero).mul_(1 - is_zero)


class _GammaWayBack:
    """The rule Gamma for the values of one pass."""

    def __init__(self, call: LinearCall, gamma: float) -> None:
        weight = call.linear.weight
        self._call, self._gamma = call, gamma
        self._raised = weight + gamma * weight.clamp(min=0)
        self._lowered = weight + gamma * weight.clamp(max=0)
        self._is_signed = not bool(call.values.amin() >= 0)
        self._ways = [self._way_back(1, self._raised, self._lowered)]
        if self._has_negative_signal():
            self._ways.append(self._way_back(-1, self._lowered, self._raised))

    def __call__(self, signal: Tensor, box: SignalBox | None) -> Tensor:
        first, *rest = (way(signal, box) for way in self._ways)
        return sum(rest, first)

    def _has_negative_signal(self) -> bool:
        """Whether a signal can come from outputs below zero: behind a ReLU none does."""
        below, slope = self._call.output.clamp(max=0), self._call.slope
        return bool((below if slope is None else below * slope).abs().amax() != 0)

    def _way_back(self, sign: int, above: Tensor, below: Tensor) -> SignalMap:
        """From the outputs of this sign; `above` are the weights of the inputs above zero."""
        factor = self._factor(sign, above, below)
        if not self._is_signed:
            return self._call.transpose(above, factor)
        linear, values = self._call.linear, self._call.values
        both = partial(linear.transpose_pair(above, below, values), self._call.with_slope(factor))
        is_below = as_mask(values <= 0, values)

        def back(signal: Tensor, box: SignalBox | None) -> Tensor:
            return torch.lerp(*both(signal, box), is_below)

        return back

    def _factor(self, sign: int, above: Tensor, below: Tensor) -> Tensor:
        """y / P where y > 0; for the sign -1, y / N where y < 0."""
        linear, bias, values = self._call.linear, self._call.linear.bias, self._call.values
        total = linear.apply(values.clamp(min=0) if self._is_signed else values, above)
        if self._is_signed:
            total = total + linear.apply(values.clamp(max=0), below)
        if bias is not None:
            total = total + linear.bias_map(bias + self._gamma * (sign * bias).clamp(min=0) * sign)
        return (sign * self._call.output).clamp(min=0) / (sign * total).clamp(min=_SMALLEST)


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
