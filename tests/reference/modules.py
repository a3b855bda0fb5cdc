"""Torch modules written on a tape: their weights and settings are read, their forward is not."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tests.reference.operations import Array, Sides, pair
from tests.reference.programs import Node, Tape


class Script:
    """Writes the calls of a network's modules on a tape, and names the nodes by module path.

    The k-th call of a module that is called several times is written, and named, `path#k`. A
    container that is called, also the network itself (path ""), names what it gave.
    """

    def __init__(self, net: nn.Module, tape: Tape) -> None:
        self.net = net
        self.tape = tape
        self.nodes: dict[str, Node] = {}

    def __call__(self, path: str, x: Node) -> Node:
        """Write the call of the module at this path on `x`."""
        module = self.net.get_submodule(path.partition("#")[0])
        if isinstance(module, nn.Sequential):
            return self.name(path, self._in_order(path, module, x))
        return self.name(path, _WRITERS[type(module)](self.tape, x, module))

    def name(self, path: str, node: Node) -> Node:
        """Say which module gave this node."""
        assert path not in self.nodes, path
        self.nodes[path] = node
        return node

    def _in_order(self, path: str, container: nn.Sequential, x: Node) -> Node:
        for child, _ in container.named_children():
            x = self(f"{path}.{child}" if path else child, x)
        return x


def array(tensor: torch.Tensor) -> Array:
    """A tensor's numbers, in float64."""
    numbers: Array = tensor.detach().double().numpy()
    return numbers


def _optional(tensor: torch.Tensor | None) -> Array | None:
    return None if tensor is None else array(tensor)


def _conv(tape: Tape, x: Node, module: nn.Conv2d) -> Node:
    return tape.conv(
        x,
        array(module.weight),
        _optional(module.bias),
        stride=module.stride,
        padding=_padding(module),
        dilation=module.dilation,
        groups=module.groups,
    )


def _padding(module: nn.Conv2d) -> Sides:
    if module.padding == "same":
        reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        rows, columns = ((total // 2, total - total // 2) for total in reach)
        return rows, columns
    assert not isinstance(module.padding, str)
    rows, columns = ((side, side) for side in module.padding)
    return rows, columns


def _zero_pad(tape: Tape, x: Node, module: nn.ZeroPad2d) -> Node:
    left, right, top, bottom = module.padding
    return tape.pad(x, ((top, bottom), (left, right)))


def _linear(tape: Tape, x: Node, module: nn.Linear) -> Node:
    return tape.linear(x, array(module.weight), _optional(module.bias))


def _batch_norm(tape: Tape, x: Node, module: nn.BatchNorm2d) -> Node:
    assert module.running_mean is not None
    assert module.running_var is not None
    return tape.batch_norm(
        x,
        array(module.running_mean),
        array(module.running_var),
        weight=array(module.weight),
        bias=array(module.bias),
        eps=module.eps,
    )


def _local_response_norm(tape: Tape, x: Node, module: nn.LocalResponseNorm) -> Node:
    return tape.local_response_norm(
        x, module.size, alpha=module.alpha, beta=module.beta, k=module.k
    )


def _max_pool(tape: Tape, x: Node, module: nn.MaxPool2d) -> Node:
    return tape.max_pool(
        x,
        module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        ceil_mode=module.ceil_mode,
    )


def _avg_pool(tape: Tape, x: Node, module: nn.AvgPool2d) -> Node:
    return tape.avg_pool(
        x,
        module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        ceil_mode=module.ceil_mode,
        count_include_pad=module.count_include_pad,
        divisor=module.divisor_override,
    )


def _adaptive_avg_pool(tape: Tape, x: Node, module: nn.AdaptiveAvgPool2d) -> Node:
    size = module.output_size
    assert size is not None
    if isinstance(size, int):
        return tape.adaptive_avg_pool(x, size)
    height, width = size
    assert height is not None
    assert width is not None
    return tape.adaptive_avg_pool(x, pair((height, width)))


_WRITERS: dict[type[nn.Module], Callable[[Tape, Node, Any], Node]] = {
    nn.Conv2d: _conv,
    nn.ZeroPad2d: _zero_pad,
    nn.Linear: _linear,
    nn.Flatten: lambda tape, x, _: tape.flatten(x),
    nn.Dropout: lambda tape, x, _: tape.identity(x),
    nn.BatchNorm2d: _batch_norm,
    nn.LocalResponseNorm: _local_response_norm,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _avg_pool,
    nn.AdaptiveAvgPool2d: _adaptive_avg_pool,
    nn.ReLU: lambda tape, x, _: tape.relu(x),
    nn.ReLU6: lambda tape, x, _: tape.relu6(x),
    nn.LeakyReLU: lambda tape, x, module: tape.leaky_relu(x, module.negative_slope),
    nn.ELU: lambda tape, x, module: tape.elu(x, module.alpha),
    nn.SiLU: lambda tape, x, _: tape.silu(x),
    nn.GELU: lambda tape, x, _: tape.gelu(x),
    nn.Hardswish: lambda tape, x, _: tape.hardswish(x),
    nn.Sigmoid: lambda tape, x, _: tape.sigmoid(x),
}
