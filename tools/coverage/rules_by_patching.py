"""Guided backpropagation and the deconvnet, written by replacing torch's rectifiers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

RECTIFIERS: tuple[tuple[object, tuple[str, ...]], ...] = (
    (F, ("relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "rrelu", "prelu")),
    (F, ("elu", "elu_", "celu", "selu", "gelu", "silu", "mish", "hardswish", "softplus")),
    (torch, ("relu", "relu_", "prelu", "selu", "celu")),
    (torch.Tensor, ("relu", "relu_", "prelu")),
)
CLAMPS: tuple[tuple[object, tuple[str, ...]], ...] = (
    (F, ("hardtanh", "hardtanh_", "threshold", "threshold_")),
    (torch, ("threshold", "threshold_")),
    (torch, ("clamp", "clamp_", "clamp_min", "clamp_min_", "clip")),
    (torch.Tensor, ("clamp", "clamp_", "clamp_min", "clamp_min_", "clip")),
)

RECTIFIER_NAMES = {name.rstrip("_") for _, names in RECTIFIERS for name in names}
CLAMP_NAMES = {name.rstrip("_") for _, names in CLAMPS for name in names}


class _Ruled(torch.autograd.Function):
    """A rectifier whose backward is that of the deconvnet or of guided backpropagation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, call: Callable[[Tensor], Tensor], guided: bool) -> Tensor:
        result = call(x)
        if result is x:
            ctx.mark_dirty(x)
        ctx.guided = guided
        ctx.save_for_backward((result > 0).detach())
        return result

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None, None]:
        (is_active,) = ctx.saved_tensors
        signal = torch.where(signal > 0, signal, torch.zeros_like(signal))
        return (signal * is_active if ctx.guided else signal), None, None


@dataclass
class Count:
    """How many rectifiers were called."""

    calls: int = 0
    is_inside: bool = False


@contextmanager
def replaced_rectifiers(rules: str) -> Iterator[Count]:
    """Inside, the rectifiers that code reaches as attributes of torch obey these rules."""
    count, guided = Count(), rules == "guided"
    with ExitStack() as stack:
        for owner, names in (*RECTIFIERS, *CLAMPS):
            for name in names:
                original = getattr(owner, name)
                is_clamp = (owner, names) in CLAMPS
                replacement = _replacement(original, count, guided=guided, is_clamp=is_clamp)
                stack.enter_context(patch.object(owner, name, replacement))
        if rules == "deconvnet":
            norm = F.local_response_norm
            stack.enter_context(patch.object(F, "local_response_norm", _passed_through(norm)))
        yield count


def _replacement(
    original: Callable[..., Tensor], count: Count, *, guided: bool, is_clamp: bool
) -> Callable[..., Tensor]:
    def call(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        is_rectifier = not is_clamp or _starts_at_zero(*args, **kwargs)
        if count.is_inside or not is_rectifier:
            return original(x, *args, **kwargs)
        count.calls += 1
        count.is_inside = True
        try:
            if not x.requires_grad:
                return original(x, *args, **kwargs)
            result: Tensor = _Ruled.apply(x, lambda t: original(t, *args, **kwargs), guided)
            return result
        finally:
            count.is_inside = False

    return call


def _starts_at_zero(*bounds: object, **named: object) -> bool:
    """Whether a clamp, or a threshold and the value below it, start at zero."""
    names = ("min", "min_val", "threshold")
    low = bounds[0] if bounds else next((named[name] for name in names if name in named), None)
    value = named.get("value", 0)
    return isinstance(low, int | float) and low == 0 and value == 0


class CountingMode(TorchFunctionMode):
    """Counts the rectifiers that a network calls, however it names them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").rstrip("_")
        is_clamp = name in CLAMP_NAMES and _starts_at_zero(*args[1:], **kwargs)
        self.calls += is_clamp or name in RECTIFIER_NAMES
        return func(*args, **kwargs)


@contextmanager
def mended_batch_norm() -> Iterator[None]:
    """Inside, gradients enter batch norms in a plain layout.

    Without it torch 2.15 gives wrong input gradients on CPU, for a batch of one whose gradient
    comes from `flatten(2).transpose(1, 2)`.
    """
    norm = F.batch_norm

    def call(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result = norm(x, *args, **kwargs)
        if result.requires_grad:
            result.register_hook(torch.Tensor.contiguous)  # type: ignore[no-untyped-call]
        return result

    with patch.object(F, "batch_norm", call):
        yield


def _passed_through(norm: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def call(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return x + (norm(x, *args, **kwargs) - x).detach()

    return call
