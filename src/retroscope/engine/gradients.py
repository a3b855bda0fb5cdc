"""The way back: autograd, with the rules of a rule book in place of its own."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from retroscope.engine.intercept import Handler
from retroscope.engine.memory import is_out_of_memory
from retroscope.engine.operations import (
    TABLE,
    Args,
    Function,
    Kwargs,
    name_of,
    positional,
    tensors_in,
    with_tensors,
)
from retroscope.engine.rules import Rule, RuleBook
from retroscope.errors import ModelError


def gradients(
    outputs: torch.Tensor,
    inputs: torch.Tensor,
    start: torch.Tensor | None = None,
    *,
    retain_graph: bool = False,
) -> torch.Tensor:
    """The signal at the inputs, going back from `start` at the outputs, or from their sum.

    Raises ModelError if nothing connects them, or if torch cannot differentiate the network.
    """
    if not outputs.requires_grad:
        raise ModelError(
            "no gradient leads back from here: the network detaches its maps or runs with "
            "gradients switched off; remove no_grad, inference_mode or detach"
        )
    if start is None:
        start = torch.ones_like(outputs)
    try:
        (signal,) = torch.autograd.grad(
            outputs, inputs, start, retain_graph=retain_graph, materialize_grads=True
        )
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"torch cannot differentiate this network: {error}") from error
    return signal


def apply_rules(book: RuleBook) -> Handler:
    """Runs every function as it is, and attaches the rules of the book for the way back."""

    def handle(function: Function, args: Args, kwargs: Kwargs) -> object:
        row = TABLE.get(function)
        if row is not None and row.is_layer:
            _refuse_hidden_gradients(function, args, kwargs)
        role = None if row is None else row.role_of(args, kwargs)
        rule = None if role is None else book.rules.get(role)
        with _keep_checkpointed_tensors():
            if rule is None:
                return function(*_without_parameters(args), **_without_parameters(kwargs))
            return _call_with_rule(rule, function, *positional(args, kwargs))

    return handle


def _refuse_hidden_gradients(function: Function, args: Args, kwargs: Kwargs) -> None:
    """Without gradients autograd skips the operation, and its rule would silently not apply."""
    if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
        return
    tensors = tensors_in(_without_parameters(args), _without_parameters(kwargs))
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


def _without_parameters(value: Any) -> Any:
    """The same arguments with parameters detached: their gradients are never needed."""
    return with_tensors(value, _detach_parameter)


def _detach_parameter(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach() if isinstance(tensor, torch.nn.Parameter) else tensor


def _call_with_rule(rule: Rule, function: Function, args: Args, kwargs: Kwargs) -> object:
    source, rest, options = args[0], _without_parameters(args[1:]), _without_parameters(kwargs)

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
