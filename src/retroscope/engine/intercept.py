"""Runs a forward pass under a handler, which sees every torch function that the pass calls.

A handler is called in place of each function, in running order, and returns its result. It ends the
pass early by raising a PassEnded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from retroscope.engine.operations import Args, Function, Kwargs
from retroscope.errors import RetroscopeError


class Handler(Protocol):
    """Runs one call of a torch function and returns its result."""

    def __call__(self, function: Function, args: Args, kwargs: Kwargs, /) -> object: ...


class PassEnded(BaseException):
    """Ends a forward pass; no `except Exception` in a network's code stops it."""


class TargetReached(PassEnded):
    """The last step that is needed has run."""


def execute_plainly(function: Function, args: Args, kwargs: Kwargs) -> object:
    """Runs a torch function as it is."""
    return function(*args, **kwargs)


class _Interceptor(TorchFunctionMode):
    """Passes every call to the handler, until the handler ends the pass.

    Calls after that, such as those at the end of a `with torch.no_grad()` in the network's code,
    run as they are.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self.end: PassEnded | RetroscopeError | None = None

    def __torch_function__(
        self, func: Function, _types: object, args: Args = (), kwargs: Kwargs | None = None
    ) -> object:
        if self.end is not None:
            return func(*args, **(kwargs or {}))
        try:
            return self._handler(func, args, kwargs or {})
        except (PassEnded, RetroscopeError) as error:
            self.end = error
            raise


def run(module: torch.nn.Module, image: torch.Tensor, handler: Handler) -> object:
    """One forward pass under a handler; None if the handler ended it early."""
    interceptor = _Interceptor(handler)
    try:
        with interceptor:
            result = cast("object", module(image))
    except (Exception, PassEnded):
        # A network's code may turn the end of the pass into an error of its own; what ended the
        # pass is raised below.
        if interceptor.end is None:
            raise
    end, interceptor.end = interceptor.end, None
    if end is None:
        return result
    if isinstance(end, PassEnded):
        # Its traceback holds the frames of the pass, and with them every map.
        end.__traceback__ = None
    if isinstance(end, TargetReached):
        return None
    try:
        raise end
    finally:
        del end


@contextmanager
def module_calls(
    module: torch.nn.Module,
    on_enter: Callable[[str], None],
    on_leave: Callable[[str, object], None],
) -> Iterator[None]:
    """Reports when a submodule is entered and left, by its path.

    The hooks are torch's global ones, so no module of the network is changed.
    """
    paths = {part: path for path, part in module.named_modules()}

    def before(part: torch.nn.Module, _inputs: object) -> None:
        if part in paths:
            on_enter(paths[part])

    def after(part: torch.nn.Module, _inputs: object, output: object) -> None:
        if part in paths:
            on_leave(paths[part], output)

    hooks = [register_module_forward_pre_hook(before), register_module_forward_hook(after)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
