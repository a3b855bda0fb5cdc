"""Runs a network without changing it: watch each operation, stop early, look back by rules.

The only file that touches a module. A pass is a handler: it is given every torch function that
the forward pass calls, in running order, and returns its result.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, Self, cast

import numpy as np
import torch
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

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
from retroscope.errors import ModelError, RetroscopeError


class Handler(Protocol):
    """Does in the forward pass what a torch function was called for."""

    def __call__(self, function: Function, args: Args, kwargs: Kwargs, /) -> object: ...


class Ended(BaseException):
    """Ends a forward pass; no `except Exception` of a network stops it."""


class Reached(Ended):
    """The answer is known."""


class _Watch(TorchFunctionMode):
    """Gives every call to the handler, until the handler ends the pass.

    What the network still does then, as at the end of its `with torch.no_grad()`, runs as it is.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self.ended: Ended | RetroscopeError | None = None

    def __torch_function__(
        self, func: Function, _types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> object:
        if self.ended is not None:
            return func(*args, **(kwargs or {}))
        try:
            return self._handler(func, args, kwargs or {})
        except (Ended, RetroscopeError) as error:
            self.ended = error
            raise


def run(module: torch.nn.Module, picture: torch.Tensor, handler: Handler) -> object:
    """One forward pass under a handler; None where the handler ended it early."""
    watch = _Watch(handler)
    try:
        with watch:
            result = cast("object", module(picture))
    except (Exception, Ended):
        # A network may turn the end of the pass into an error of its own on the way out; what
        # ended the pass is what counts, and is raised below.
        if watch.ended is None:
            raise
    ended, watch.ended = watch.ended, None
    if ended is None:
        return result
    if isinstance(ended, Ended):
        # It holds its frames, and with them every map of the pass.
        ended.__traceback__ = None
    if isinstance(ended, Reached):
        return None
    try:
        raise ended
    finally:
        del ended


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


@contextmanager
def undisturbed(module: torch.nn.Module) -> Iterator[None]:
    """Runs the network in evaluation mode and leaves it as it was, whatever happens inside."""
    modes = [(part, part.training) for part in module.modules()]
    buffers = [_Buffers.of(part) for part in module.modules()]
    with _same_randomness(module), torch.inference_mode(mode=False):
        try:
            for part, _ in modes:
                part.training = False
            yield
        finally:
            for part, training in modes:
                part.training = training
            with torch.no_grad():
                for one in buffers:
                    one.restore()


@dataclass(frozen=True, eq=False)
class _Buffers:
    """The buffers of one part of a network, and what they hold."""

    part: torch.nn.Module
    were: dict[str, torch.Tensor | None]
    held: dict[str, torch.Tensor]
    unsaved: set[str]

    @classmethod
    def of(cls, part: torch.nn.Module) -> Self:
        were = dict(part._buffers)
        held = {name: one.detach().clone() for name, one in were.items() if one is not None}
        return cls(part, were, held, set(part._non_persistent_buffers_set))

    def restore(self) -> None:
        for home, kept in (
            (self.part._buffers, self.were),
            (self.part._non_persistent_buffers_set, self.unsaved),
        ):
            home.clear()
            home.update(kept)  # type: ignore[arg-type]  # a dict with a dict, a set with a set
        for name, held in self.held.items():
            buffer = self.were[name]
            if buffer is not None and not torch.equal(buffer, held):
                buffer.copy_(held)


@contextmanager
def _same_randomness(module: torch.nn.Module) -> Iterator[None]:
    device = device_of(module)
    kept = np.random.get_state(), random.getstate()  # noqa: NPY002
    places = [] if device.type == "cpu" else [device.index or 0]
    kind = "cuda" if device.type == "cpu" else device.type
    try:
        with torch.random.fork_rng(devices=places, device_type=kind):
            yield
    finally:
        np.random.set_state(kept[0])  # noqa: NPY002
        random.setstate(kept[1])


def device_of(module: torch.nn.Module) -> torch.device:
    """Where the network's numbers lie."""
    return next((one.device for one in _numbers(module)), torch.device("cpu"))


def dtype_of(module: torch.nn.Module) -> torch.dtype:
    """The kind of floating-point number that the network computes with."""
    kinds = (one.dtype for one in _numbers(module) if one.is_floating_point())
    return next(kinds, torch.get_default_dtype())


def _numbers(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


@contextmanager
def module_calls(
    module: torch.nn.Module, entered: Callable[[str], None], left: Callable[[str, object], None]
) -> Iterator[None]:
    """Tells when a part of the network is entered and left, by its path.

    The hooks are torch's global ones, so that no module of the network is touched.
    """
    paths = {part: path for path, part in module.named_modules()}

    def before(part: torch.nn.Module, _inputs: object) -> None:
        if part in paths:
            entered(paths[part])

    def after(part: torch.nn.Module, _inputs: object, output: object) -> None:
        if part in paths:
            left(paths[part], output)

    hooks = [register_module_forward_pre_hook(before), register_module_forward_hook(after)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def original(module: torch.nn.Module) -> torch.nn.Module:
    """The network inside a wrapper of torch's; a scripted one is refused."""
    for wrapped in ("_orig_mod", "module"):
        inner = getattr(module, wrapped, None)
        if isinstance(inner, torch.nn.Module) and type(module).__name__ in _WRAPPERS:
            return original(inner)
    if isinstance(module, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        raise ModelError(
            "a scripted or traced network hides its operations; give the nn.Module it was made of"
        )
    return module


_WRAPPERS = {"OptimizedModule", "DataParallel", "DistributedDataParallel"}
