"""Runs a network without changing it: watch each operation, stop early.

A pass is a handler: it is given every torch function that the forward pass calls, in running order,
and returns its result.
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
