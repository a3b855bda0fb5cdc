"""Weights imported from other libraries' files, converted to torch's layout.

Convolution weights are (out, in, height, width), for cross-correlation; fully connected weights are
(out, in). How a file format differs from that is a row of `WeightLayout`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isqrt
from re import findall

import numpy as np
import numpy.typing as npt
import torch

from retroscope.errors import ModelError

Array = npt.NDArray[np.float32]
AnyArray = npt.NDArray[np.generic]


@dataclass(frozen=True)
class WeightLayout:
    """How a file format stores weights.

    `axes` names the axes of a convolution's weights: O(ut), I(n), H(eight), W(idth). `flipped`:
    filters are rotated by 180 degrees, because the library computes a true convolution.
    `inputs_first`: fully connected weights are (in, out). `maps_last`: the first fully connected
    layer takes maps flattened as height, width, channels.
    """

    axes: str
    flipped: bool = False
    inputs_first: bool = True
    maps_last: bool = False


THEANO = WeightLayout("OIHW", flipped=True)
TENSORFLOW = WeightLayout("HWIO", maps_last=True)
CAFFE = WeightLayout("OIHW", inputs_first=False)


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """Weight and bias of a layer: four axes for a convolution, two for a fully connected layer."""

    weight: Array
    bias: Array | None

    @property
    def is_conv(self) -> bool:
        return self.weight.ndim == 4

    @property
    def outputs(self) -> int:
        return int(self.weight.shape[0])

    @property
    def inputs(self) -> int:
        return int(self.weight.shape[1])


@dataclass(frozen=True, eq=False)
class RawLayer:
    """Weight and bias of a layer in the layout of its file."""

    name: str
    weight: AnyArray
    bias: AnyArray | None


@dataclass(frozen=True, eq=False)
class ImportedWeights:
    """The convolutions and fully connected layers of a weight file, in running order.

    `colour_order` is the channel order of the first layer's input, "RGB" or "BGR", if known. `mean`
    (red, green, blue; 0-255) is subtracted from the pixels. `operations` lists all operations in
    running order, if the file records them. `inferred` says what was inferred from the file.
    """

    path: str
    layers: Mapping[str, LayerWeights]
    colour_order: str = ""
    maps_last: bool = False
    operations: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    inferred: tuple[str, ...] = ()

    @property
    def first(self) -> LayerWeights:
        return next(iter(self.layers.values()))

    def evolve(self, *inferred: str, **changes: object) -> "ImportedWeights":
        """A copy with these fields changed and these sentences added to `inferred`."""
        sentences = (*self.inferred, *inferred)
        return replace(self, inferred=sentences, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class StateDict:
    """Tensors of a torch network, by their names in its state dict."""

    path: str
    tensors: dict[str, torch.Tensor]
    inferred: tuple[str, ...] = ()


def pair_biases(arrays: Iterable[tuple[str, AnyArray]], path: str) -> list[RawLayer]:
    """Layers from arrays in the order weight, bias, weight, bias. A bias may be missing."""
    layers: list[RawLayer] = []
    for name, array in arrays:
        if array.ndim in (2, 4):
            layers.append(RawLayer(name, array, None))
        elif array.ndim == 1 and layers and layers[-1].bias is None:
            layers[-1] = replace(layers[-1], bias=array)
        else:
            raise ModelError(
                f"{path}: {name!r} of shape {array.shape} does not belong to a convolution or a "
                "fully connected layer; only networks made of these can be read from this format"
            )
    return layers


def sort_convolutions_first(layers: Iterable[RawLayer]) -> list[RawLayer]:
    """Running order for formats that do not record it: convolutions, then fully connected layers.

    Within each kind, layers are ordered by the numbers in their names.
    """
    return sorted(layers, key=lambda layer: (-layer.weight.ndim, natural_sort_key(layer.name)))


def convert_layers(
    raw_layers: Iterable[RawLayer], layout: WeightLayout, path: str
) -> dict[str, LayerWeights]:
    """The same layers in torch's layout and float32."""
    layers: dict[str, LayerWeights] = {}
    for raw in raw_layers:
        weight = _convert_weight(raw.weight, layout)
        if raw.bias is not None and raw.bias.shape != weight.shape[:1]:
            raise ModelError(
                f"{path}: {raw.name!r} has weights for {weight.shape[0]} outputs but a bias of "
                f"shape {raw.bias.shape}; the file is damaged, or its layout is not supported"
            )
        if raw.name in layers:
            raise ModelError(f"{path} has two layers called {raw.name!r}; rename one of them")
        bias = None if raw.bias is None else np.array(raw.bias, np.float32)
        layers[raw.name] = LayerWeights(weight, bias)
    if not layers:
        raise ModelError(f"{path} contains no weights; check that it is the right file")
    return layers


def _convert_weight(weight: AnyArray, layout: WeightLayout) -> Array:
    if weight.ndim == 2:
        return np.array(weight.T if layout.inputs_first else weight, np.float32, order="C")
    filters = weight.transpose([layout.axes.index(axis) for axis in "OIHW"])
    return np.array(_flip(filters) if layout.flipped else filters, np.float32, order="C")


def _flip(filters: AnyArray) -> AnyArray:
    return filters[:, :, ::-1, ::-1]


def flip_filters(layers: Mapping[str, LayerWeights]) -> dict[str, LayerWeights]:
    """The same layers with all filters rotated by 180 degrees."""
    return {
        name: replace(layer, weight=np.ascontiguousarray(_flip(layer.weight), np.float32))
        if layer.is_conv
        else layer
        for name, layer in layers.items()
    }


def convert_to_rgb(weights: ImportedWeights) -> ImportedWeights:
    """The same network for images in the order red, green, blue."""
    if weights.first.inputs != 3:
        return replace(weights, colour_order="")
    if weights.colour_order != "BGR":
        return weights
    name, first = next(iter(weights.layers.items()))
    swapped = replace(first, weight=np.ascontiguousarray(first.weight[:, ::-1]))
    return weights.evolve(
        f"the first layer takes blue, green, red; the filters of {name} are reordered to red, "
        "green, blue",
        layers={**weights.layers, name: swapped},
        colour_order="RGB",
    )


def convert_to_channels_first(weights: ImportedWeights) -> ImportedWeights:
    """The same network with its first fully connected layer for maps flattened channels first."""
    name, side = first_dense_layer(weights)
    if not weights.maps_last or side < 2:
        return weights
    dense = weights.layers[name]
    maps = dense.weight.reshape(dense.outputs, side, side, -1).transpose(0, 3, 1, 2)
    reordered = np.ascontiguousarray(maps.reshape(dense.outputs, -1))
    return weights.evolve(
        f"{name} takes {side}x{side} maps as height, width, channels; its weights are reordered to "
        "channels, height, width",
        layers={**weights.layers, name: replace(dense, weight=reordered)},
        maps_last=False,
    )


def first_dense_layer(weights: ImportedWeights) -> tuple[str, int]:
    """The name of the first fully connected layer and the side of the square maps it takes.

    An empty name and 0 if all layers are convolutions.
    """
    channels = 1
    for name, layer in weights.layers.items():
        if not layer.is_conv:
            area, remainder = divmod(layer.inputs, channels)
            side = isqrt(area)
            if remainder or side * side != area:
                raise ModelError(
                    f"{weights.path}: {name!r} takes {layer.inputs} numbers, which cannot be "
                    f"square maps of {channels} channels; a layer is missing or has the wrong shape"
                )
            return name, side
        channels = layer.outputs
    return "", 0


def natural_sort_key(name: str) -> list[tuple[int, str]]:
    """Sorts names with numbers by value: conv2 before conv10.

    >>> sorted(["fc8", "conv10", "conv2"], key=natural_sort_key)
    ['conv2', 'conv10', 'fc8']
    """
    return [(int(digits or -1), text) for digits, text in findall(r"(\d+)|(\D+)", name)]
