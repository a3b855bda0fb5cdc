"""A Keras model as a module of torch, whose parts are called by the names of Keras' layers.

Keras' own graph says what runs after what. The layers of `ROWS` run by the torch function that
does all of their work, so that a bias belongs to its convolution and a normalisation is one step;
every other layer runs its own code, which on Keras' torch backend is torch as well. Maps are what
they are in Keras, mostly (batch, height, width, channels).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F

Keras = Any
"""Keras' module, models and layers: Keras has no types, and is imported only where asked for."""

Run = Callable[["KerasLayer", Keras, torch.Tensor], torch.Tensor]


class KerasGraph(torch.nn.Module):
    """The operations of a functional model, each a part by its Keras name."""

    def __init__(self, model: Keras):
        super().__init__()
        self._through = functional(model)._run_through_graph  # noqa: SLF001 - Keras has no other
        for operation in functional(model).operations:
            self.add_module(self._path(operation), _part(operation))

    def _path(self, operation: Keras) -> str:
        """A part's name has no dot and is no attribute of every module."""
        name = str(operation.name).replace(".", "_")
        return f"{name}_" if hasattr(torch.nn.Module(), name) else name

    def _of(self, operation: Keras) -> torch.nn.Module:
        part = self._modules[self._path(operation)]
        assert part is not None
        return part

    def forward(self, maps: Any, **_told: object) -> Any:
        return self._through(maps, operation_fn=self._of)


class KerasModel(KerasGraph):
    """A whole model, which takes a picture as torch has it: (batch, channels, height, width)."""

    def __init__(self, model: Keras, device: Callable[[str], AbstractContextManager[object]]):
        super().__init__(model)
        self.channels_last = is_channels_last(model)
        self._device = device

    def forward(self, maps: Any, **told: object) -> Any:
        """Keras moves numbers to its own device, which for the time is that of the picture."""
        maps = maps.permute(0, 2, 3, 1) if self.channels_last else maps
        with self._device(str(maps.device)):
            return super().forward(maps, **told)


class KerasLayer(torch.nn.Module):
    """One operation with its numbers, run by a row of the table or by Keras' own code."""

    def __init__(self, operation: Keras, run: Run):
        super().__init__()
        self._held = (operation,)  # a tuple, so that torch does not count it as a part
        self._run = run
        for one in getattr(operation, "variables", ()):
            self.register_parameter(one.name, one.value)

    def number(self, name: str) -> torch.Tensor | None:
        """The layer's parameter of this name, where it has one."""
        return self._parameters.get(name)

    def needed(self, name: str) -> torch.Tensor:
        """The layer's parameter of this name, which every such layer has."""
        return self._parameters[name]  # type: ignore[return-value]

    def forward(self, maps: Any, *, training: bool = False, **told: Any) -> Any:
        """A graph may say that a layer always runs as in training; no row does."""
        if training:
            return self._held[0](maps, training=True, **told)
        return self._run(self, self._held[0], maps)


def functional(model: Keras) -> Keras:
    """The graph of a model: a sequence of layers keeps one inside; None where there is none."""
    inner = getattr(model, "_functional", model)
    return inner if hasattr(inner, "_run_through_graph") else None


def is_channels_last(model: Keras) -> bool:
    """Where the layers of a model look for channels; the first that says so decides."""
    told = [getattr(one, "data_format", None) for one in functional(model).operations]
    return next((one for one in told if one), "channels_last") == "channels_last"


def _part(operation: Keras) -> torch.nn.Module:
    if functional(operation) is not None:
        return KerasGraph(operation)
    run = ROWS.get(type(operation).__name__)
    if run is not None and _is_plain(operation):
        return KerasLayer(operation, run)
    if isinstance(operation, torch.nn.Module):
        return operation
    return _Called(operation)


class _Called(torch.nn.Module):
    """An operation that is no layer, as `keras.ops.add` leaves it in a graph."""

    def __init__(self, operation: Keras):
        super().__init__()
        self._held = (operation,)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._held[0](*args, **kwargs)


def _is_plain(layer: Keras) -> bool:
    """Whether a layer is Keras' own, neither quantised nor adapted nor of other numbers."""
    ours = type(layer).__module__.partition(".")[0] == "keras"
    policy = getattr(layer, "dtype_policy", None)
    return (
        ours
        and policy is not None
        and policy.compute_dtype == policy.variable_dtype
        and getattr(layer, "quantization_mode", None) is None
        and not getattr(layer, "lora_enabled", False)
    )


# The rows


def _convolution(part: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    kernel = part.needed("kernel").permute(3, 2, 0, 1)
    found = _slid(layer, _first(layer, maps), kernel, groups=layer.groups, bias=part.number("bias"))
    return _activated(layer, found)


def _by_channel(part: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    first = _first(layer, maps)
    kernel = _each_channel(part.needed("kernel"))
    found = _slid(layer, first, kernel, groups=first.shape[1], bias=part.number("bias"))
    return _activated(layer, found)


def _separated(part: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    """A filter for each channel, then a mixture of the channels."""
    first = _first(layer, maps)
    each = _each_channel(part.needed("depthwise_kernel"))
    filtered = _slid(layer, first, each, groups=first.shape[1])
    mixture = part.needed("pointwise_kernel").permute(3, 2, 0, 1)
    return _activated(layer, F.conv2d(filtered, mixture, part.number("bias")))


def _each_channel(kernel: torch.Tensor) -> torch.Tensor:
    height, width, channels, many = kernel.shape
    return kernel.permute(2, 3, 0, 1).reshape(channels * many, 1, height, width)


def _slid(
    layer: Keras,
    maps: torch.Tensor,
    kernel: torch.Tensor,
    *,
    groups: int,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """The same calls for every size of map, so that a part of a map runs as the whole did."""
    sizes = kernel.shape[2], kernel.shape[3]
    border = [(0, 0), (0, 0)]
    if layer.padding == "same":
        windows = zip(maps.shape[2:], sizes, layer.strides, layer.dilation_rate, strict=True)
        border = [_border(*window) for window in windows]
    even = max(layer.strides) == 1 and all(before == after for before, after in border)
    if not even:
        (top, bottom), (left, right) = border
        maps = F.pad(maps, (left, right, top, bottom))
    return F.conv2d(
        maps,
        kernel,
        bias,
        stride=tuple(layer.strides),
        padding=(border[0][0], border[1][0]) if even else (0, 0),
        dilation=tuple(layer.dilation_rate),
        groups=groups,
    )


def _border(length: int, size: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after a map for one output at every stride; the odd one stands after."""
    reach = (-(-length // stride) - 1) * stride + (size - 1) * dilation + 1
    total = max(reach - length, 0)
    return total // 2, total - total // 2


def _first(layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    """Maps with their channels in front, where torch's convolutions look for them."""
    return maps.permute(0, 3, 1, 2) if layer.data_format == "channels_last" else maps


def _activated(layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = layer.activation(_back(layer, maps))
    return result


def _back(layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    """The same maps with their channels where the layer has them."""
    return maps.permute(0, 2, 3, 1) if layer.data_format == "channels_last" else maps


def _dense(part: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = layer.activation(
        F.linear(maps, part.needed("kernel").T, part.number("bias"))
    )
    return result


def _normalised(part: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    """By the statistics that were kept, one of each for every channel."""
    last = layer.axis in (-1, maps.dim() - 1) and maps.dim() == 4
    if not last and layer.axis != 1:
        result: torch.Tensor = layer(maps)
        return result
    found = F.batch_norm(
        maps.permute(0, 3, 1, 2) if last else maps,
        part.needed("moving_mean"),
        part.needed("moving_variance"),
        part.number("gamma"),
        part.number("beta"),
        eps=layer.epsilon,
    )
    return found.permute(0, 2, 3, 1) if last else found


def _largest(_part: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    return _pooled(layer, maps, F.max_pool2d)


def _mean(_part: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    return _pooled(layer, maps, F.avg_pool2d, count_include_pad=False)


def _pooled(
    layer: Keras, maps: torch.Tensor, pool: Callable[..., torch.Tensor], **more: Any
) -> torch.Tensor:
    """Where the odd position of a border is needed, the last window runs over the map's end."""
    first, same = _first(layer, maps), layer.padding == "same"
    windows = zip(first.shape[2:], layer.pool_size, layer.strides, strict=True)
    border = [_border(*window, 1) if same else (0, 0) for window in windows]
    if min(layer.strides) == 1 and any(before != after for before, after in border):
        result: torch.Tensor = layer(maps)
        return result
    found = pool(
        first,
        tuple(layer.pool_size),
        tuple(layer.strides),
        tuple(before for before, _ in border),
        ceil_mode=same,
        **more,
    )
    return _back(layer, found)


def _whole_mean(_part: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    return _one_of(layer, F.adaptive_avg_pool2d(_first(layer, maps), 1))


def _whole_largest(_part: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    return _one_of(layer, F.adaptive_max_pool2d(_first(layer, maps), 1))


def _one_of(layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    return _back(layer, maps) if layer.keepdims else maps.flatten(1)


def _as_it_is(_part: KerasLayer, layer: Keras, maps: Any) -> torch.Tensor:
    """Keras' own code in the numbers that come in, as a copy in bfloat16 needs it."""
    result: torch.Tensor = layer.call(maps)
    return result


ROWS: dict[str, Run] = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _by_channel,
    "SeparableConv2D": _separated,
    "Dense": _dense,
    "BatchNormalization": _normalised,
    "MaxPooling2D": _largest,
    "AveragePooling2D": _mean,
    "GlobalAveragePooling2D": _whole_mean,
    "GlobalMaxPooling2D": _whole_largest,
    "ReLU": _as_it_is,
    "Activation": _as_it_is,
    "Add": _as_it_is,
    "Multiply": _as_it_is,
    "Concatenate": _as_it_is,
    "ZeroPadding2D": _as_it_is,
    "Flatten": _as_it_is,
}
"""The layers of Keras that run here; all others run in float32 or what else they were built in."""
