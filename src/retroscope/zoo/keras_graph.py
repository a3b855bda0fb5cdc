"""A Keras model as a torch module whose submodules have the names of Keras layers.

Keras' own graph decides what runs after what. A layer in `LAYER_FUNCTIONS` runs as the one torch
function that does its main work: a convolution includes its bias, batch norm is a single operation.
Every other layer runs its own code, which is torch as well on Keras' torch backend. Maps keep the
layout that they have in Keras, usually (batch, height, width, channels).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F

Keras = Any
"""Keras' module, models and layers: Keras has no type hints, and is imported only on demand."""

LayerFunction = Callable[["KerasLayer", Keras, torch.Tensor], torch.Tensor]


class KerasGraph(torch.nn.Module):
    """The operations of a functional model, each a submodule with its Keras name."""

    def __init__(self, model: Keras):
        super().__init__()
        self._run_graph = functional_model(model)._run_through_graph  # noqa: SLF001 - not public
        for operation in functional_model(model).operations:
            self.add_module(self._submodule_name(operation), _to_module(operation))

    def _submodule_name(self, operation: Keras) -> str:
        """A name without dots that hides no attribute of `torch.nn.Module`."""
        name = str(operation.name).replace(".", "_")
        return f"{name}_" if hasattr(torch.nn.Module(), name) else name

    def _submodule(self, operation: Keras) -> torch.nn.Module:
        submodule = self._modules[self._submodule_name(operation)]
        assert submodule is not None
        return submodule

    def forward(self, maps: Any, **_arguments: object) -> Any:
        return self._run_graph(maps, operation_fn=self._submodule)


class KerasModel(KerasGraph):
    """A whole model, which takes images as torch does: (batch, channels, height, width)."""

    def __init__(self, model: Keras, device: Callable[[str], AbstractContextManager[object]]):
        super().__init__(model)
        self.channels_last = is_channels_last(model)
        self._device = device

    def forward(self, maps: Any, **arguments: object) -> Any:
        """Runs on the device of the images; Keras would move tensors to its own."""
        maps = maps.permute(0, 2, 3, 1) if self.channels_last else maps
        with self._device(str(maps.device)):
            return super().forward(maps, **arguments)


class KerasLayer(torch.nn.Module):
    """A layer with its parameters, run by a function of `LAYER_FUNCTIONS`."""

    def __init__(self, layer: Keras, function: LayerFunction):
        super().__init__()
        self._layers = (layer,)  # a tuple hides it from torch, which would register it
        self._function = function
        for variable in getattr(layer, "variables", ()):
            self.register_parameter(variable.name, variable.value)

    def optional_parameter(self, name: str) -> torch.Tensor | None:
        return self._parameters.get(name)

    def required_parameter(self, name: str) -> torch.Tensor:
        return self._parameters[name]  # type: ignore[return-value]

    def forward(self, maps: Any, *, training: bool = False, **arguments: Any) -> Any:
        """A graph may fix a layer in training mode, which no function supports."""
        (layer,) = self._layers
        if training:
            return layer(maps, training=True, **arguments)
        return self._function(self, layer, maps)


class KerasOperation(torch.nn.Module):
    """An operation of a graph that is not a layer, such as `keras.ops.add`."""

    def __init__(self, operation: Keras):
        super().__init__()
        self._operations = (operation,)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        (operation,) = self._operations
        return operation(*args, **kwargs)


def functional_model(model: Keras) -> Keras:
    """The functional model of a model, which a sequential one keeps inside; None if it has none."""
    functional = getattr(model, "_functional", model)
    return functional if hasattr(functional, "_run_through_graph") else None


def is_channels_last(model: Keras) -> bool:
    """Whether the first layer that has a data format takes channels last."""
    formats = [
        getattr(operation, "data_format", None) for operation in functional_model(model).operations
    ]
    return next(filter(None, formats), "channels_last") == "channels_last"


def _to_module(operation: Keras) -> torch.nn.Module:
    if functional_model(operation) is not None:
        return KerasGraph(operation)
    function = LAYER_FUNCTIONS.get(type(operation).__name__)
    if function is not None and _is_plain(operation):
        return KerasLayer(operation, function)
    if isinstance(operation, torch.nn.Module):
        return operation
    return KerasOperation(operation)


def _is_plain(layer: Keras) -> bool:
    """Whether a layer is Keras' own, without mixed precision, quantisation or LoRA."""
    is_keras = type(layer).__module__.partition(".")[0] == "keras"
    policy = getattr(layer, "dtype_policy", None)
    return (
        is_keras
        and policy is not None
        and policy.compute_dtype == policy.variable_dtype
        and getattr(layer, "quantization_mode", None) is None
        and not getattr(layer, "lora_enabled", False)
    )


# The layer functions


def _convolution(module: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    kernel = module.required_parameter("kernel").permute(3, 2, 0, 1)
    bias = module.optional_parameter("bias")
    convolved = _convolve(
        layer, _to_channels_first(layer, maps), kernel, groups=layer.groups, bias=bias
    )
    return _activate(layer, convolved)


def _depthwise_convolution(module: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    maps = _to_channels_first(layer, maps)
    kernel = _depthwise_kernel(module.required_parameter("kernel"))
    bias = module.optional_parameter("bias")
    return _activate(layer, _convolve(layer, maps, kernel, groups=maps.shape[1], bias=bias))


def _separable_convolution(module: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    """A depthwise convolution, then a pointwise one."""
    maps = _to_channels_first(layer, maps)
    depthwise = _depthwise_kernel(module.required_parameter("depthwise_kernel"))
    convolved = _convolve(layer, maps, depthwise, groups=maps.shape[1])
    pointwise = module.required_parameter("pointwise_kernel").permute(3, 2, 0, 1)
    bias = module.optional_parameter("bias")
    return _activate(layer, F.conv2d(convolved, pointwise, bias))


def _depthwise_kernel(kernel: torch.Tensor) -> torch.Tensor:
    height, width, channels, multiplier = kernel.shape
    return kernel.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)


def _convolve(
    layer: Keras,
    maps: torch.Tensor,
    kernel: torch.Tensor,
    *,
    groups: int,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Makes the same calls for maps of any size: a crop runs as the whole map does."""
    sides = kernel.shape[2], kernel.shape[3]
    padding = [(0, 0), (0, 0)]
    if layer.padding == "same":
        windows = zip(maps.shape[2:], sides, layer.strides, layer.dilation_rate, strict=True)
        padding = [_same_padding(*window, dilation=dilation) for *window, dilation in windows]
    symmetric = max(layer.strides) == 1 and all(before == after for before, after in padding)
    if not symmetric:
        (top, bottom), (left, right) = padding
        maps = F.pad(maps, (left, right, top, bottom))
    return F.conv2d(
        maps,
        kernel,
        bias,
        stride=tuple(layer.strides),
        padding=(padding[0][0], padding[1][0]) if symmetric else (0, 0),
        dilation=tuple(layer.dilation_rate),
        groups=groups,
    )


def _same_padding(length: int, kernel: int, stride: int, *, dilation: int = 1) -> tuple[int, int]:
    """Padding before and after a map for ceil(length / stride) outputs; an odd total adds after."""
    reach = (-(-length // stride) - 1) * stride + (kernel - 1) * dilation + 1
    total = max(reach - length, 0)
    return total // 2, total - total // 2


def _to_channels_first(layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    return maps.permute(0, 3, 1, 2) if layer.data_format == "channels_last" else maps


def _to_layer_format(layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    return maps.permute(0, 2, 3, 1) if layer.data_format == "channels_last" else maps


def _activate(layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    activated: torch.Tensor = layer.activation(_to_layer_format(layer, maps))
    return activated


def _dense(module: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    kernel, bias = module.required_parameter("kernel"), module.optional_parameter("bias")
    activated: torch.Tensor = layer.activation(F.linear(maps, kernel.T, bias))
    return activated


def _batch_norm(module: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    """Normalises by the stored statistics of each channel."""
    channels_last = layer.axis in (-1, maps.dim() - 1) and maps.dim() == 4
    if not channels_last and layer.axis != 1:
        output: torch.Tensor = layer(maps)
        return output
    normalised = F.batch_norm(
        maps.permute(0, 3, 1, 2) if channels_last else maps,
        module.required_parameter("moving_mean"),
        module.required_parameter("moving_variance"),
        module.optional_parameter("gamma"),
        module.optional_parameter("beta"),
        eps=layer.epsilon,
    )
    return normalised.permute(0, 2, 3, 1) if channels_last else normalised


def _max_pool(_module: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    return _pool(layer, maps, F.max_pool2d)


def _average_pool(_module: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    return _pool(layer, maps, F.avg_pool2d, count_include_pad=False)


def _pool(
    layer: Keras, maps: torch.Tensor, pool: Callable[..., torch.Tensor], **options: Any
) -> torch.Tensor:
    """Where padding is odd, the last window runs over the end of the map (`ceil_mode`)."""
    channels_first, same = _to_channels_first(layer, maps), layer.padding == "same"
    windows = zip(channels_first.shape[2:], layer.pool_size, layer.strides, strict=True)
    padding = [_same_padding(*window) if same else (0, 0) for window in windows]
    if min(layer.strides) == 1 and any(before != after for before, after in padding):
        pooled: torch.Tensor = layer(maps)
        return pooled
    pooled = pool(
        channels_first,
        tuple(layer.pool_size),
        tuple(layer.strides),
        tuple(before for before, _ in padding),
        ceil_mode=same,
        **options,
    )
    return _to_layer_format(layer, pooled)


def _global_average_pool(_module: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    return _drop_axes(layer, F.adaptive_avg_pool2d(_to_channels_first(layer, maps), 1))


def _global_max_pool(_module: KerasLayer, layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    return _drop_axes(layer, F.adaptive_max_pool2d(_to_channels_first(layer, maps), 1))


def _drop_axes(layer: Keras, maps: torch.Tensor) -> torch.Tensor:
    return _to_layer_format(layer, maps) if layer.keepdims else maps.flatten(1)


def _call_code(_module: KerasLayer, layer: Keras, maps: Any) -> torch.Tensor:
    """Runs Keras' own code in the dtype of its input; a copy in bfloat16 needs that."""
    output: torch.Tensor = layer.call(maps)
    return output


LAYER_FUNCTIONS: dict[str, LayerFunction] = {
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise_convolution,
    "SeparableConv2D": _separable_convolution,
    "Dense": _dense,
    "BatchNormalization": _batch_norm,
    "MaxPooling2D": _max_pool,
    "AveragePooling2D": _average_pool,
    "GlobalAveragePooling2D": _global_average_pool,
    "GlobalMaxPooling2D": _global_max_pool,
    "ReLU": _call_code,
    "Activation": _call_code,
    "Add": _call_code,
    "Multiply": _call_code,
    "Concatenate": _call_code,
    "ZeroPadding2D": _call_code,
    "Flatten": _call_code,
}
"""By Keras' class name. All other layers run in the dtype in which Keras built them."""
