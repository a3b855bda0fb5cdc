"""The way back: autograd with the rules of a rule book in place of its own."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from retroscope.engine.intercept import Handler
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


def ruled(book: RuleBook) -> Handler:
    """Runs every function as it is, with the rules of the book for the way back."""

    def handle(function: Function, args: Args, kwargs: Kwargs) -> object:
        row = TABLE.get(function)
        if row is not None and row.listed:
            _refuse_hidden_gradients(function, args, kwargs)
        role = None if row is None else row.role_of(args, kwargs)
        rule = None if role is None else book.rules.get(role)
        with _kept_for_the_way_back():
            if rule is None:
                return function(*_frozen(args), **_frozen(kwargs))
            return _under_rule(rule, function, *positional(args, kwargs))

    return handle


def _refuse_hidden_gradients(function: Function, args: Args, kwargs: Kwargs) -> None:
    """A step that autograd is told not to see would silently get no rule, so nobody may take it."""
    if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
        return
    if any(one.requires_grad for one in tensors_in(_frozen(args), _frozen(kwargs))):
        raise ModelError(
            f"this network runs {name_of(function)} with gradients switched off, so that nothing "
            "can be looked back through; take out no_grad or inference_mode there, or give "
            "torch.utils.checkpoint use_reentrant=False"
        )


def _kept_for_the_way_back() -> AbstractContextManager[object]:
    """Keeps what `torch.utils.checkpoint` would drop and compute again without the rules."""
    hooked = torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
    return saved_tensors_hooks(torch.Tensor.detach, _same) if hooked else nullcontext()


def _same(kept: torch.Tensor) -> torch.Tensor:
    return kept


def _frozen(value: Any) -> Any:
    """The same arguments with parameters taken out of the graph: nobody asks for their gradient."""
    return with_tensors(value, _detached_parameter)


def _detached_parameter(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach() if isinstance(tensor, torch.nn.Parameter) else tensor


def _under_rule(rule: Rule, function: Function, args: Args, kwargs: Kwargs) -> object:
    signal, rest, options = args[0], _frozen(args[1:]), _frozen(kwargs)

    def call(source: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", function(source, *rest, **options))

    return _Ruled.apply(signal, call, rule) if signal.requires_grad else call(signal)


class _Ruled(torch.autograd.Function):
    """An operation whose way back is a rule's, in place where the operation is."""

    @staticmethod
    def forward(
        ctx: Any, source: torch.Tensor, call: Callable[[torch.Tensor], torch.Tensor], rule: Rule
    ) -> torch.Tensor:
        result = call(source)
        if result is source:
            ctx.mark_dirty(source)
        if rule.asks_where_it_fires:
            ctx.save_for_backward(result > 0)
        ctx.rule = rule
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, signal: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        fires = ctx.saved_tensors[0] if ctx.rule.asks_where_it_fires else None
        return ctx.rule.back(signal, fires), None, None
