"""The way back: autograd, with the rules of a rule book in place of its own."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch.autograd.function import once_differentiable
from torch.autograd.graph import GradientEdge, get_gradient_edge, saved_tensors_hooks

from retroscope.engine.autograd_calls import call_with_gradient, without_parameters
from retroscope.engine.call_arguments import (
    Args,
    Function,
    Kwargs,
    positional,
    tensors_in,
    with_tensors,
)
from retroscope.engine.call_rules import FunctionCall, PassRecord
from retroscope.engine.intercept import Handler, is_inside_custom_function
from retroscope.engine.linear_rules import ByWeights, FoldedNorm
from retroscope.engine.memory import is_out_of_memory
from retroscope.engine.operations import TABLE, Role, name_of
from retroscope.engine.program import Step
from retroscope.engine.rules import AnyRule, Rule, RuleBook
from retroscope.errors import ModelError

Origins = torch.Tensor | Sequence[GradientEdge]
"""Where signals start."""


def gradients(
    outputs: Origins,
    inputs: torch.Tensor,
    start: torch.Tensor | Sequence[torch.Tensor] | None = None,
    *,
    retain_graph: bool = False,
) -> torch.Tensor:
    """The signal at the inputs, going back from `start` at the outputs, or from their sum.

    Raises ModelError if nothing connects them, or if torch cannot differentiate the network.
    """
    if isinstance(outputs, torch.Tensor):
        _require_graph(outputs)
        start = torch.ones_like(outputs) if start is None else start
    try:
        (signal,) = torch.autograd.grad(
            outputs, inputs, start, retain_graph=retain_graph, materialize_grads=True
        )
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"torch cannot differentiate this network: {error}") from error
    return torch.zeros_like(signal) if signal._is_zerotensor() else signal


def _require_graph(outputs: torch.Tensor) -> None:
    if not outputs.requires_grad:
        raise ModelError(
            "no gradient leads back from here: the network detaches its maps or runs with "
            "gradients switched off; remove no_grad, inference_mode or detach"
        )


def origin_of(maps: torch.Tensor) -> GradientEdge:
    """Where a signal enters at maps as they are now, also if the network changes them later."""
    _require_graph(maps)
    return get_gradient_edge(maps)


_GRADIENTS_FROM_UNITS: dict[Role, AnyRule] = {
    Role.LINEAR: ByWeights(),
    Role.BATCH_NORM: FoldedNorm(),
}
"""The plain gradient, computed only where the signal of a unit is not zero."""


class RuleHandler:
    """Runs every function as it is, and attaches the rules of a book for the way back.

    It is for one pass. `record.signals` knows the depths of the units that signals come from; they
    may be set anew before each way back. `from_units` says that signals start at single units.
    """

    def __init__(self, book: RuleBook, unit_depth: int = 0, *, from_units: bool = False) -> None:
        self._rules = {**_GRADIENTS_FROM_UNITS, **book.rules} if from_units else book.rules
        self.record = PassRecord([unit_depth])

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        return self._run(None, function, args, kwargs)

    def at_step(self, step: Step) -> Handler:
        """The handler that runs a step of the program."""
        return partial(self._run, step)

    def _run(self, step: Step | None, function: Function, args: Args, kwargs: Kwargs) -> object:
        """Runs a call in a step of the program, if it is known."""
        if kwargs.get("out") is not None:
            return _write_to(partial(self._run, step), function, args, kwargs)
        is_step = step is not None and function == step.function
        row = step.operation if step is not None and is_step else TABLE.get(function)
        depth = 1 if step is None else step.depth
        if row is None:
            _refuse_int8(function)
        if is_inside_custom_function():
            return function(*args, **kwargs)
        if row is not None and row.is_layer:
            _refuse_hidden_gradients(function, args, kwargs)
        role = None if row is None else row.role_of(args, kwargs)
        rule = None if role is None else self._rules.get(role)
        with _keep_checkpointed_tensors():
            try:
                return self._run_under(rule, function, args, kwargs, depth=depth)
            except _AUTOGRAD_ERRORS as error:
                if is_out_of_memory(error) or not _runs_without_gradients(function, args, kwargs):
                    raise
                raise ModelError(f"torch cannot differentiate this network: {error}") from error

    def _run_under(
        self, rule: AnyRule | None, function: Function, args: Args, kwargs: Kwargs, *, depth: int
    ) -> object:
        if rule is None:
            return call_with_gradient(function, args, kwargs)
        if isinstance(rule, Rule):
            return _call_with_rule(rule, function, *positional(args, kwargs))
        return rule.run(FunctionCall.of(function, args, kwargs, depth=depth), self.record)


_AUTOGRAD_ERRORS = (RuntimeError, TypeError)
"""What torch raises where autograd cannot follow a call."""


def _runs_without_gradients(function: Function, args: Args, kwargs: Kwargs) -> bool:
    """Whether a call that failed is sound, and only its gradient is the trouble."""
    with torch.no_grad():
        try:
            function(*with_tensors(args, torch.clone), **with_tensors(kwargs, torch.clone))
        except _AUTOGRAD_ERRORS:
            return False
    return True


def _write_to(handle: Handler, function: Function, args: Args, kwargs: Kwargs) -> object:
    """The result in the tensor that `out` names. Autograd refuses `out`, but follows a copy."""
    target = kwargs["out"]
    if not isinstance(target, torch.Tensor):  # a tuple, as of `torch.max`
        raise ModelError(
            f"this network calls {name_of(function)} with several tensors as out, through which "
            "gradients cannot be traced; use what it returns"
        )
    result = handle(function, args, {name: kwargs[name] for name in kwargs if name != "out"})
    assert isinstance(result, torch.Tensor)
    if target.shape != result.shape:
        target.resize_(result.shape)
    return target.copy_(result)


def _refuse_int8(function: Function) -> None:
    """torch gives int8 operations a gradient of zero, or none, without an error."""
    if name_of(function).startswith(("quantized.", "quantize_per_", "torch.quantize_per_")):
        raise ModelError(
            f"this network computes in int8 ({name_of(function)}), which has no gradients; open "
            "the floating-point network that it was made from"
        )


def _refuse_hidden_gradients(function: Function, args: Args, kwargs: Kwargs) -> None:
    """Without gradients autograd skips the operation, and its rule would silently not apply."""
    if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
        return
    tensors = tensors_in(without_parameters(args), without_parameters(kwargs))
    if any(tensor.requires_grad for tensor in tensors):
        raise ModelError(
            f"this network runs {name_of(function)} with gradients switched off, so gradients "
            "cannot be traced through it; remove no_grad or inference_mode there, or pass "
            "use_reentrant=False to torch.utils.checkpoint"
        )


def _keep_checkpointed_tensors() -> AbstractContextManager[object]:
    """Keeps what `torch.utils.checkpoint` would drop and compute again without the rules."""
    has_hooks = torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
    return saved_tensors_hooks(torch.Tensor.detach, _unpack) if has_hooks else nullcontext()


def _unpack(saved: torch.Tensor) -> torch.Tensor:
    return saved


def _call_with_rule(rule: Rule, function: Function, args: Args, kwargs: Kwargs) -> object:
    source, rest, options = args[0], without_parameters(args[1:]), without_parameters(kwargs)

    def call(tensor: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", function(tensor, *rest, **options))

    return _RuleFunction.apply(source, call, rule) if source.requires_grad else call(source)


class _RuleFunction(torch.autograd.Function):
    """An operation whose backward is a rule. In-place operations stay in place."""

    @staticmethod
    def forward(
        ctx: Any, source: torch.Tensor, call: Callable[[torch.Tensor], torch.Tensor], rule: Rule
    ) -> torch.Tensor:
        result = call(source)
        if result is source:
            ctx.mark_dirty(source)
        if rule.needs_active_mask:
            ctx.save_for_backward(result > 0)
        ctx.rule = rule
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        rule: Rule = ctx.rule
        active = ctx.saved_tensors[0] if rule.needs_active_mask else None
        return rule.back(signal, active), None, None
