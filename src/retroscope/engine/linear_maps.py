"""Convolutions and linear layers as the linear maps that they are, with any weights."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, cast

import torch
import torch.nn.functional as F

from retroscope.engine.autograd_calls import without_parameters
from retroscope.engine.call_arguments import Args, Function, Kwargs
from retroscope.engine.transposed_convolution import (
    ConvolutionWindow,
    SignalBox,
    Transposed,
    TransposedConvolution,
)


class TransposedPair(Protocol):
    """Like `Transposed`, for two weights."""

    def __call__(
        self, factor: torch.Tensor | None, signal: torch.Tensor, box: SignalBox | None, /
    ) -> tuple[torch.Tensor, torch.Tensor]: ...


@dataclass(frozen=True, eq=False)
class LinearMap:
    """y = W x + b. `apply` gives W x for any weights of the same shape.

    `scale_shape` is the shape in which one number for each output channel multiplies the weights;
    None where the channels cannot be scaled one by one. `channel_axis` is that of the outputs.
    `window` is how a two-dimensional convolution slides; None if its borders differ.
    """

    apply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    weight: torch.Tensor
    bias: torch.Tensor | None
    channel_axis: int
    scale_shape: tuple[int, ...] | None
    window: ConvolutionWindow | None = None

    def bias_map(self, bias: torch.Tensor) -> torch.Tensor:
        """A number for each output channel, in a shape that broadcasts over the outputs."""
        return bias.view(-1, *[1] * (-self.channel_axis - 1))

    def transpose(self, weight: torch.Tensor, source: torch.Tensor) -> Transposed:
        """W^T for any weights of the same shape: from outputs to inputs like `source`."""
        if self.window is not None and source.dim() == 4:
            return TransposedConvolution(weight, source.detach(), self.window)
        with torch.enable_grad():
            leaf = torch.zeros_like(source).requires_grad_()
            output = self.apply(leaf, weight)
        return partial(_differentiate, output, leaf)

    def transpose_pair(
        self, first: torch.Tensor, second: torch.Tensor, source: torch.Tensor
    ) -> TransposedPair:
        """W^T for two weights, of the same signal; a convolution runs once for both."""
        if self.window is None or source.dim() != 4:
            transposed = self.transpose(first, source), self.transpose(second, source)
            return partial(_apply_both, transposed)
        batch, channels, height, width = source.shape
        twice = source.new_empty(batch, height, width, 2 * channels).permute(0, 3, 1, 2)
        stacked = self.transpose(torch.cat((first, second), 1), twice)
        return partial(_apply_stacked, stacked, self.window.groups)

    def scale_outputs(self, scale: torch.Tensor, shift: torch.Tensor) -> "LinearMap | None":
        """The map `scale * y + shift`, with numbers for each channel."""
        if self.scale_shape is None:
            return None
        bias = shift if self.bias is None else self.bias * scale + shift
        return replace(self, weight=self.weight * scale.view(self.scale_shape), bias=bias)


def _differentiate(
    output: torch.Tensor,
    leaf: torch.Tensor,
    factor: torch.Tensor | None,
    signal: torch.Tensor,
    _box: SignalBox | None,
) -> torch.Tensor:
    signal = signal if factor is None else signal * factor
    (result,) = torch.autograd.grad(output, leaf, signal, retain_graph=True)
    return result


def _apply_both(
    transposed: tuple[Transposed, Transposed],
    factor: torch.Tensor | None,
    signal: torch.Tensor,
    box: SignalBox | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = transposed
    return first(factor, signal, box), second(factor, signal, box)


def _apply_stacked(
    transposed: Transposed,
    groups: int,
    factor: torch.Tensor | None,
    signal: torch.Tensor,
    box: SignalBox | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of weights that are stacked along their inputs; those of each group stand together."""
    both = transposed(factor, signal, box)
    batch, channels, height, width = both.shape
    first, second = both.view(batch, groups, 2, channels // (2 * groups), height, width).unbind(2)
    return first.flatten(1, 2), second.flatten(1, 2)


def linear_map(function: Function, args: Args, kwargs: Kwargs) -> LinearMap | None:
    """The linear map of a call, its input first; None if its weights depend on the image."""
    args, kwargs = without_parameters(args), without_parameters(kwargs)
    names = ("weight", "bias")
    given = dict(zip(names, args[1:3], strict=False)) | kwargs
    weight, bias = given.pop("weight"), given.pop("bias", None)
    if weight.requires_grad or (bias is not None and bias.requires_grad):
        return None
    options = {name: value for name, value in given.items() if name not in names}

    def apply(x: torch.Tensor, other_weight: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", function(x, other_weight, None, *args[3:], **options))

    channel_axis = -1 if function is F.linear else 1 - weight.dim()
    is_scalable = function in (F.linear, F.conv1d, F.conv2d, F.conv3d)
    scale_shape = (-1, *[1] * (weight.dim() - 1)) if is_scalable else None
    window = ConvolutionWindow.of(weight, *args[3:], **options) if function is F.conv2d else None
    return LinearMap(apply, weight, bias, channel_axis, scale_shape, window)


def batch_norm_scale(
    input: torch.Tensor,  # noqa: A002
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Scale and shift of a batch norm, for each channel; None if it takes them from the batch."""
    del input, momentum
    if training or running_mean is None or running_var is None:
        return None
    scale = (running_var + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale
    return scale, shift if bias is None else shift + bias
