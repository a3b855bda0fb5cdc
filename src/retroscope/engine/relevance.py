"""Layer-wise relevance propagation as backward rules (Bach 2015; Montavon 2019).

The signal G at a value x is its relevance divided by it, R = G x, so that an operation without a
rule passes the plain gradient, and the signal at the pixels is a picture in their own colours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import torch
from torch.autograd.function import once_differentiable

from retroscope.engine.autograd_calls import without_parameters
from retroscope.engine.call_rules import FunctionCall, LinearCall, PassRecord
from retroscope.engine.linear_maps import LinearMap, batch_norm_scale, linear_map

Tensor = torch.Tensor
_NEAR_ZERO = 1e-6
"""Inputs nearer to zero than this count as zero where a rule divides by them."""
_SMALLEST = 1e-9
"""The smallest sum of contributions that a rule divides by."""


class LinearRule(Protocol):
    """A rule for linear maps, also for those that a batch norm has been folded into."""

    def attach(self, linear: LinearMap, source: Tensor, output: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class ByWeights:
    """Runs a linear operation under a rule that sees its weights."""

    rule: LinearRule

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        output: Tensor = call.run()
        linear = linear_map(call.function, call.args, call.kwargs)
        if linear is None or not output.requires_grad:
            return output
        result = self.rule.attach(linear, call.source, output)
        record.add_linear_call(result, LinearCall(call.source, output, linear))
        return result


@dataclass(frozen=True)
class FoldedNorm:
    """A batch norm of a linear operation's output is one linear map together with it.

    Any other batch norm, such as one before an activation and a convolution, passes the gradient.
    """

    rule: LinearRule

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        before = record.linear_call(call.source)
        scale = batch_norm_scale(*call.args, **call.kwargs)
        folded = None if before is None or scale is None else before.linear.scale_outputs(*scale)
        if before is None or folded is None:
            return call.run()
        return self.rule.attach(folded, before.source, call.run(before.output))


@dataclass(frozen=True)
class Epsilon:
    """Damps outputs that are small beside the other channels at their position.

    G_x = W^T (G_y |y| / (|y| + epsilon r)), where r is the root mean square of y over the channels
    of the same position. A small output is often the difference of large contributions; what
    passes through it is noise.
    """

    epsilon: float = 0.1

    def attach(self, linear: LinearMap, source: Tensor, output: Tensor) -> Tensor:
        del source
        with torch.no_grad():
            size = output.abs()
            mean_square = output.square().mean(linear.channel_axis, keepdim=True)
            factor = size / (size + self.epsilon * mean_square.sqrt() + 1e-12)
        return cast("Tensor", _ScaledSignal.apply(output, factor))


@dataclass(frozen=True)
class Gamma:
    """Favours the contributions that have the output's own sign.

    With W+ = W + gamma max(W, 0), W- = W + gamma min(W, 0), and likewise for the bias:

        P = W+ max(x, 0) + W- min(x, 0) + b+    s = G_y y / P where y > 0
        N = W- max(x, 0) + W+ min(x, 0) + b-    t = G_y y / N where y < 0

    G_x is W+^T s + W-^T t where x > 0, and W-^T s + W+^T t elsewhere.
    """

    gamma: float = 0.25

    def attach(self, linear: LinearMap, source: Tensor, output: Tensor) -> Tensor:
        make_maps = partial(_GammaMaps.of, linear, self.gamma)
        return cast("Tensor", _GammaFunction.apply(source, output.detach(), make_maps))


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


class _ScaledSignal(torch.autograd.Function):
    """Multiplies the signal by a constant map."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return output.clone()  # not a view: the network may change it in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None]:
        return signal * ctx.saved_tensors[0], None


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


class _GammaFunction(torch.autograd.Function):
    """The rule Gamma. Its maps are computed when a signal needs them, once for all units."""

    @staticmethod
    def forward(
        ctx: Any, source: Tensor, output: Tensor, make_maps: Callable[..., "_GammaMaps"]
    ) -> Tensor:
        above = source.clamp(min=0)  # a copy: the network may change its input in place
        below = source.clamp(max=0) if bool((source < 0).any()) else None
        ctx.save_for_backward(above, below, output)
        ctx.make_maps, ctx.maps = make_maps, {}
        return output.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, None]:
        above, below, output = ctx.saved_tensors
        if not ctx.maps:
            ctx.maps[1] = ctx.make_maps(1, above, below, output)
            ctx.is_negative = (output < 0).to(output.dtype)
        result: Tensor = ctx.maps[1].back(signal)
        if bool((signal * ctx.is_negative).any()):  # behind a ReLU there is no such signal
            if -1 not in ctx.maps:
                ctx.maps[-1] = ctx.make_maps(-1, above, below, output)
            result = result + ctx.maps[-1].back(signal)
        return result, None, None


@dataclass(frozen=True, eq=False)
class _GammaMaps:
    """P of the rule Gamma with its graph, and what the signal is multiplied by; or N."""

    inputs: list[Tensor]
    total: Tensor
    factor: Tensor

    @classmethod
    @torch.enable_grad()
    def of(
        cls,
        linear: LinearMap,
        gamma: float,
        sign: int,
        above: Tensor,
        below: Tensor | None,
        output: Tensor,
    ) -> "_GammaMaps":
        w, b = linear.weight, linear.bias
        raised, lowered = w + gamma * w.clamp(min=0), w + gamma * w.clamp(max=0)
        weights = (raised, lowered) if sign > 0 else (lowered, raised)
        parts = [part.detach().requires_grad_() for part in (above, below) if part is not None]
        total = linear.apply(parts[0], weights[0])
        if len(parts) > 1:
            total = total + linear.apply(parts[1], weights[1])
        if b is not None:
            total = total + linear.bias_map(b + gamma * (sign * b).clamp(min=0) * sign)
        with torch.no_grad():
            factor = (sign * output).clamp(min=0) / (sign * total).clamp(min=_SMALLEST)
        return cls(parts, total, factor)

    def back(self, signal: Tensor) -> Tensor:
        parts = torch.autograd.grad(
            self.total, self.inputs, signal * self.factor, retain_graph=True
        )
        return parts[0] if len(parts) == 1 else torch.where(self.inputs[0] > 0, parts[0], parts[1])


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
