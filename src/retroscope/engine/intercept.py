"""Runs a forward pass under a handler, which sees every torch function that the pass calls.

A handler is called in place of each function, in running order, and returns its result. It ends the
pass early by raising a PassEnded.
"""

import inspect
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from threading import get_ident
from types import CodeType
from typing import Any, Protocol, cast

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import CheckpointFunction

from retroscope.engine.call_arguments import Args, Function, Kwargs
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


def is_inside_custom_function() -> bool:
    """Whether the present call is made by the forward of a `torch.autograd.Function`.

    Its results have a backward of their own, whatever the calls inside it do. Reentrant
    checkpoints are such functions too, but stand for the code that they run.
    """
    if torch.is_grad_enabled():
        return False
    frame = inspect.currentframe()
    while frame is not None:
        if _is_custom_forward(frame.f_code):
            return True
        frame = frame.f_back
    return False


@lru_cache(maxsize=1 << 14)
def _is_custom_forward(code: CodeType) -> bool:
    """Whether this is the code of some custom function's forward."""
    if code is CheckpointFunction.forward.__code__:
        return False
    forwards = (kind.forward for kind in _subclasses(torch.autograd.Function))
    return any(getattr(forward, "__code__", None) is code for forward in forwards)


def _subclasses(kind: Any) -> Iterator[Any]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _run_compiled_code_eagerly() -> AbstractContextManager[object]:
    """Compiled functions hide their operations; uncompiled, they run the code that they stand for.

    Only a process that has loaded the compiler has compiled functions.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance


def run(module: torch.nn.Module, image: torch.Tensor, handler: Handler) -> object:
    """One forward pass under a handler; None if the handler ended it early."""
    interceptor = _Interceptor(handler)
    try:
        with _run_compiled_code_eagerly(), interceptor:
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

    The hooks are torch's global ones, which run before a module's own: a module with forward hooks
    of its own gets one more for the time, so that what is reported is what the module returns.
    Calls of other threads are not reported. A module that several others share, as one activation
    may be, has the path inside the one that runs.
    """
    paths = _paths_by_module(module)
    hooked = [part for part in paths if _has_forward_hooks(part)]
    thread, running = get_ident(), [(module, "")]

    def before(part: torch.nn.Module, _inputs: object) -> None:
        if part in paths and get_ident() == thread:
            running.append((part, _path_inside(running[-1][1], paths[part])))
            on_enter(running[-1][1])

    def after(part: torch.nn.Module, _inputs: object, output: object) -> None:
        if part in paths and get_ident() == thread:
            while running[-1][0] is not part:  # it raised, and the network went on
                running.pop()
            on_leave(running.pop()[1], output)

    def after_unhooked(part: torch.nn.Module, inputs: object, output: object) -> None:
        if not _has_forward_hooks(part):
            after(part, inputs, output)

    hooks = [register_module_forward_pre_hook(before), register_module_forward_hook(after_unhooked)]
    hooks += [part.register_forward_hook(after) for part in hooked]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _paths_by_module(module: torch.nn.Module) -> dict[torch.nn.Module, list[str]]:
    """Every path of each part of a module."""
    paths: dict[torch.nn.Module, list[str]] = defaultdict(list)
    for path, part in module.named_modules(remove_duplicate=False):
        paths[part].append(path)
    return paths


def _path_inside(running: str, paths: Sequence[str]) -> str:
    """The nearest path inside the module that runs; the first one, if it is registered elsewhere.

    >>> _path_inside("stem.conv2", ["stem.conv1.act", "stem.conv2.act"])
    'stem.conv2.act'
    """
    inside = [path for path in paths if path.startswith(f"{running}." if running else "")]
    return min(inside, key=lambda path: path.count("."), default=paths[0])


def _has_forward_hooks(module: torch.nn.Module) -> bool:
    return bool(vars(module).get("_forward_hooks"))
