"""Sketches of operations that are hidden: custom, scripted, compiled, vmapped, checkpointed."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tools.coverage.sketches import Sketch, sketch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


class _Rectifier(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope: Tensor = signal * (x > 0)
        return slope


class _MemoryEfficientSwish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        slope: Tensor = signal * (gate * (1 + x * (1 - gate)))
        return slope


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor, steps: int) -> Tensor:
        return torch.round(x * steps) / steps

    @staticmethod
    def backward(_ctx: Any, signal: Tensor) -> tuple[Tensor, None]:
        return signal, None


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, signal: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * signal, None


class _Moved(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return torch.roll(x, 3, 2)

    @staticmethod
    def backward(_ctx: Any, signal: Tensor) -> Tensor:
        return torch.roll(signal, -3, 2)


@sketch
def custom_rectifier(net: Sketch, x: Tensor) -> Tensor:
    return _Rectifier.apply(net.conv(x))  # type: ignore[no-any-return]


@sketch
def custom_swish(net: Sketch, x: Tensor) -> Tensor:
    return _MemoryEfficientSwish.apply(net.conv(x))  # type: ignore[no-any-return]


@sketch
def custom_quantiser(net: Sketch, x: Tensor) -> Tensor:
    return net.pointwise(_StraightThrough.apply(net.conv(x), 16))


@sketch
def custom_gradient_reversal(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(_ScaledGradient.apply(x, 0.5))


@sketch
def custom_movement(net: Sketch, x: Tensor) -> Tensor:
    return x + net.conv(_Moved.apply(x))


def _blur(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1)


def _swish(x: Tensor) -> Tensor:
    return x * x.sigmoid()


@cache
def _scripted(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function as torch.jit compiles it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and widely used
        scripted: Callable[[Tensor], Tensor] = torch.jit.script(function)
    return scripted


@sketch
def scripted_blur(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x + _scripted(_blur)(x))


@sketch
def scripted_blur_alone(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(_scripted(_blur)(x))


@sketch
def scripted_swish(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(_scripted(_swish)(net.conv(x)))


@sketch
def vmapped_over_channels(net: Sketch, x: Tensor) -> Tensor:
    blur = torch.func.vmap(lambda maps: F.avg_pool2d(maps[None], 3, 1, 1)[0])
    return net.conv(x + blur(x))


@sketch
def compiled_function(net: Sketch, x: Tensor) -> Tensor:
    blur = torch.compile(lambda maps: F.avg_pool2d(maps, 3, 1, 1), backend="eager")
    return net.conv(x + blur(x))


@sketch
def checkpointed(net: Sketch, x: Tensor) -> Tensor:
    mixed = checkpoint(lambda maps: F.relu(net.conv(maps)), x, use_reentrant=False)
    return net.pointwise(mixed)


@sketch
def checkpointed_reentrant(net: Sketch, x: Tensor) -> Tensor:
    mixed = checkpoint(lambda maps: F.relu(net.conv(maps)), x, use_reentrant=True)
    return net.pointwise(mixed)


@sketch
def without_gradients(net: Sketch, x: Tensor) -> Tensor:
    with torch.no_grad():
        mask = net.conv(x).sigmoid()
    return x * mask


@sketch
def wholly_without_gradients(net: Sketch, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net.conv(x)


@sketch
def inference_mode_inside(net: Sketch, x: Tensor) -> Tensor:
    with torch.inference_mode():
        mask = net.conv(x).sigmoid()
    return x * mask.clone()


@sketch
def numpy_inside(net: Sketch, x: Tensor) -> Tensor:
    flipped = np.flip(x.detach().cpu().numpy(), 3).copy()
    return net.conv(x + torch.from_numpy(flipped))
