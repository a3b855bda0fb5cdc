"""Linear operations under a rule that sees their weights, and what is folded into them.

A batch norm behind a convolution is one linear map together with it, and a rectifier behind that
multiplies the signal on its way: each of the three is a way back of its own from where it stands.

```
source ── conv ── norm ── relu ──
   ^────────┘       │       │
   ^────────────────┘       │      each goes back to the input of the convolution
   ^────────────────────────┘
```
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import torch
from torch.autograd.function import once_differentiable

from retroscope.engine.call_rules import (
    FunctionCall,
    HalfRules,
    LinearCall,
    LinearRule,
    PassRecord,
    SignalMap,
)
from retroscope.engine.linear_maps import batch_norm_scale, linear_map

Tensor = torch.Tensor


@dataclass(frozen=True)
class ByWeights:
    """Runs a linear operation under a rule that sees its weights.

    `lower` replaces the rule in the lower half of the way from the pixels to the unit. Without a
    rule the gradient passes, and is computed only where the signal is not zero.
    """

    rule: LinearRule | None = None
    lower: LinearRule | None = None

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        linear = linear_map(call.function, call.args, call.kwargs)
        is_plain = self.rule is None and (linear is None or linear.window is None)
        if linear is None or is_plain or not call.source.requires_grad:
            return call.run()
        rules = HalfRules(self.rule, self.lower or self.rule, call.depth, record.signals)
        values = call.source.detach()
        with torch.no_grad():
            output = call.run()
        if self.rule is not None:  # the network may change its input in place
            values = values.clone()
        return _attach_output(LinearCall(call.source, values, output, linear, rules), record)


@dataclass(frozen=True)
class FoldedNorm:
    """A batch norm of a linear operation's output is one linear map together with it.

    Any other batch norm, such as one before an activation and a convolution, passes the gradient.
    """

    def run(self, call: FunctionCall, record: PassRecord) -> object:
        before = record.linear_call(call.source)
        scale = batch_norm_scale(*call.args, **call.kwargs)
        folded = None if before is None or scale is None else before.linear.scale_outputs(*scale)
        if before is None or folded is None:
            return call.run()
        with torch.no_grad():
            output = call.run(before.output)
        return _attach_output(replace(before, output=output, linear=folded), record)


def attach_rectifier(
    before: LinearCall, call: FunctionCall, find_slope: Callable[[Tensor], Tensor]
) -> Tensor:
    """The result of a rectifier behind a linear operation, by which the operation's rules go on."""
    ways = _WaysBack(replace(before, find_slope=find_slope))
    target = call.source if call.is_in_place else None
    return cast("Tensor", _LinearFunction.apply(call.run, ways, before.source, target))


def as_mask(is_set: Tensor, like: Tensor) -> Tensor:
    """Zeros and ones, by which a processor multiplies many times faster than by booleans."""
    return is_set.view(torch.uint8).to(like.dtype)


def _attach_output(call: LinearCall, record: PassRecord) -> Tensor:
    """What a linear operation computed, with its rules for the way back."""
    keeps_values = call.rules.upper is not None  # the network may change its output in place
    output = call.output
    call = call if keeps_values else replace(call, output=output.detach())
    compute = output.clone if keeps_values else lambda: output
    result = cast("Tensor", _LinearFunction.apply(compute, _WaysBack(call), call.source, None))
    record.add_linear_call(result, call)
    return result


class _WaysBack:
    """The ways back of a linear operation in one pass, each made for the first signal on it."""

    def __init__(self, call: LinearCall) -> None:
        self._call = call

    def back(self, signal: Tensor) -> Tensor:
        """The signal at the input; each row by the rule that its unit asks for."""
        call, rules = self._call, self._call.rules
        is_lower = rules.signals.is_lower_half(rules.depth)
        box = rules.signals.find_box(signal, rules.depth) if call.linear.window else None
        if box is not None and box.area == 0:
            return torch.zeros_like(call.values)
        if rules.upper == rules.lower or not any(is_lower):
            return self._upper(signal, box)
        if all(is_lower):
            return self._lower(signal, box)
        lower = torch.tensor(is_lower, device=signal.device).view(-1, *[1] * (signal.dim() - 1))
        below, above = self._lower(signal * lower, box), self._upper(signal * ~lower, box)
        return torch.where(lower, below, above)

    @cached_property
    def _upper(self) -> SignalMap:
        return self._way_back(self._call.rules.upper)

    @cached_property
    def _lower(self) -> SignalMap:
        return self._way_back(self._call.rules.lower)

    def _way_back(self, rule: LinearRule | None) -> SignalMap:
        call = self._call
        return call.transpose(call.linear.weight) if rule is None else rule.way_back(call)


class _LinearFunction(torch.autograd.Function):
    """What follows from a linear map, with its ways back.

    `tensors` are the map's input, and what `compute` changes in place, if anything.
    """

    @staticmethod
    def forward(
        ctx: Any, compute: Callable[[], Tensor], ways: _WaysBack, *tensors: Tensor | None
    ) -> Tensor:
        result = compute()
        if result is tensors[1]:
            ctx.mark_dirty(result)
        ctx.set_materialize_grads(False)
        ctx.ways = ways
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: Tensor | None) -> tuple[None, None, Tensor | None, None]:
        return None, None, None if signal is None else ctx.ways.back(signal), None
