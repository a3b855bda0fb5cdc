"""The weights that convolutions are called with, whatever modules or parametrisations hold them."""

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import torch

from retroscope.engine.call_arguments import Args, Function, Kwargs, positional
from retroscope.engine.forward import run_forward
from retroscope.engine.intercept import execute_plainly
from retroscope.engine.isolation import preserve_state
from retroscope.input_binding import blank_module
from retroscope.methods.by_rank import CONVOLUTIONS
from retroscope.network import Network
from retroscope.results.layers import Layer

_GROUPS = 6
"""Where convolutions take the number of groups."""


class ConvolutionCall(NamedTuple):
    """The weights of a call of a convolution, and its number of groups."""

    weights: torch.Tensor
    groups: int


def convolution_weights(net: Network, layers: Iterable[Layer]) -> dict[str, ConvolutionCall]:
    """The weights of those of these layers that are computed by a convolution, by name.

    Its windows slide along all axes of the input: that of a network of images is `conv2d`.
    """
    last: list[ConvolutionCall] = []
    calls: dict[str, ConvolutionCall] = {}

    def execute(function: Function, args: Args, kwargs: Kwargs) -> object:
        is_convolution = function is CONVOLUTIONS[net.rank]
        last[:] = [_read_call(*positional(args, kwargs))] if is_convolution else []
        return execute_plainly(function, args, kwargs)

    def record(name: str, _maps: torch.Tensor) -> None:
        calls.update((name, call) for call in last)

    listeners = {
        layer.index: partial(record, layer.name) for layer in layers if layer.kind == "conv"
    }
    if listeners:
        batch = torch.zeros(1, net.preprocessing.channels, *net.input_size, device=net.device)
        module = blank_module(net, net.input_size)
        with preserve_state(module), torch.no_grad():
            run_forward(module, net.survey(), batch.to(net.dtype), listeners, execute=execute)
    return calls


def _read_call(args: Args, kwargs: Kwargs) -> ConvolutionCall:
    weights = args[1] if len(args) > 1 else kwargs["weight"]
    groups = args[_GROUPS] if len(args) > _GROUPS else kwargs.get("groups", 1)
    return ConvolutionCall(weights, groups)
