"""Other people's weights in one form, whatever file they came in.

Filters are (out, in, height, width) and are slid over the picture as they are; fully connected
weights are (out, in). What a format does otherwise is a row of `Layout`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import isqrt
from re import findall

import numpy as np
import numpy.typing as npt
import torch

from retroscope.errors import ModelError

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """How a format lays out its numbers.

    `axes` are those of its filters, a letter each for out, in, height and width. Theano turns its
    filters by 180 degrees before it slides them. `inputs_first`: fully connected weights are
    (in, out). `maps_last`: the first of them takes its maps as height, width, channels.
    """

    axes: str
    turned: bool = False
    inputs_first: bool = True
    maps_last: bool = False


THEANO = Layout("OIHW", turned=True)
TENSORFLOW = Layout("HWIO", maps_last=True)
CAFFE = Layout("OIHW", inputs_first=False)


@dataclass(frozen=True, eq=False)
class Filters:
    """The numbers of one layer: four axes of a convolution, two of a fully connected layer."""

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
class Raw:
    """A layer as it stands in its file."""

    name: str
    weight: npt.NDArray[np.generic]
    bias: npt.NDArray[np.generic] | None


@dataclass(frozen=True, eq=False)
class Foreign:
    """The layers of a file, convolutions and fully connected ones, in running order.

    `colour` is the order of the colours that the first layer takes, where it is known, `mean` (red,
    green, blue, of 255) what was taken from the pixels. `kinds` are all operations in running
    order, where the file tells. `decided` says what was found out on the way.
    """

    path: str
    layers: Mapping[str, Filters]
    colour: str = ""
    maps_last: bool = False
    kinds: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    decided: tuple[str, ...] = ()

    @property
    def first(self) -> Filters:
        return next(iter(self.layers.values()))

    def having(self, *decided: str, **changes: object) -> "Foreign":
        """The same with changes, and what was decided."""
        return replace(self, decided=(*self.decided, *decided), **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class State:
    """What torch itself saved: tensors by the paths of their modules."""

    path: str
    tensors: dict[str, torch.Tensor]
    decided: tuple[str, ...] = field(default=())


def paired(arrays: Iterable[tuple[str, npt.NDArray[np.generic]]], path: str) -> list[Raw]:
    """Layers from arrays in the order of weight, bias, weight, bias. A bias may be missing."""
    found: list[Raw] = []
    for name, array in arrays:
        if array.ndim in (2, 4):
            found.append(Raw(name, array, None))
        elif array.ndim == 1 and found and found[-1].bias is None:
            found[-1] = replace(found[-1], bias=array)
        else:
            raise ModelError(
                f"{path}: {name!r} of shape {array.shape} is not of a convolution or a fully "
                "connected layer, and no network with others is known in this format"
            )
    return found


def canonical(raws: Iterable[Raw], layout: Layout, path: str) -> dict[str, Filters]:
    """The same layers in the one form."""
    layers: dict[str, Filters] = {}
    for raw in raws:
        weight = _weight(raw.weight, layout)
        if raw.bias is not None and raw.bias.shape != weight.shape[:1]:
            raise ModelError(
                f"{path}: {raw.name!r} has weights for {weight.shape[0]} outputs and a bias of "
                f"shape {raw.bias.shape}; the file is damaged, or laid out in an unknown way"
            )
        if raw.name in layers:
            raise ModelError(f"{path}: there are two layers called {raw.name!r}")
        bias = None if raw.bias is None else np.array(raw.bias, np.float32)
        layers[raw.name] = Filters(weight, bias)
    if not layers:
        raise ModelError(f"{path} holds no weights")
    return layers


def _weight(weight: npt.NDArray[np.generic], layout: Layout) -> Array:
    if weight.ndim == 2:
        return np.array(weight.T if layout.inputs_first else weight, np.float32, order="C")
    filters = weight.transpose([layout.axes.index(axis) for axis in "OIHW"])
    return np.array(_turned(filters) if layout.turned else filters, np.float32, order="C")


def _turned(filters: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return filters[:, :, ::-1, ::-1]


def turned(layers: Mapping[str, Filters]) -> dict[str, Filters]:
    """All filters turned by 180 degrees."""
    return {
        name: replace(one, weight=np.ascontiguousarray(_turned(one.weight), np.float32))
        if one.is_conv
        else one
        for name, one in layers.items()
    }


def in_red_green_blue(foreign: Foreign) -> Foreign:
    """The same network for pictures of red, green and blue, in this order."""
    if foreign.first.inputs != 3:
        return replace(foreign, colour="")
    if foreign.colour != "BGR":
        return foreign
    name, first = next(iter(foreign.layers.items()))
    swapped = replace(first, weight=np.ascontiguousarray(first.weight[:, ::-1]))
    return foreign.having(
        f"its first layer takes blue, green, red; the filters of {name} are put in the order red, "
        "green, blue",
        layers={**foreign.layers, name: swapped},
        colour="RGB",
    )


def in_channels_first(foreign: Foreign) -> Foreign:
    """The same network, its first fully connected layer for maps as channels, height, width."""
    name, side = flattened(foreign)
    if not foreign.maps_last or side < 2:
        return foreign
    dense = foreign.layers[name]
    maps = dense.weight.reshape(dense.outputs, side, side, -1).transpose(0, 3, 1, 2)
    ordered = np.ascontiguousarray(maps.reshape(dense.outputs, -1))
    return foreign.having(
        f"{name} takes {side}x{side} maps as height, width, channels; its weights are put in the "
        "order channels, height, width",
        layers={**foreign.layers, name: replace(dense, weight=ordered)},
        maps_last=False,
    )


def flattened(foreign: Foreign) -> tuple[str, int]:
    """The first fully connected layer, and the side of the square maps that it takes, or 0."""
    before: Filters | None = None
    for name, one in foreign.layers.items():
        if not one.is_conv:
            places, left = divmod(one.inputs, before.outputs) if before else (one.inputs, 0)
            side = isqrt(places)
            if left or side * side != places:
                raise ModelError(
                    f"{foreign.path}: {name!r} takes {one.inputs} numbers, which are no square "
                    f"maps of {before.outputs if before else 1} channels; a layer is missing or "
                    "has the wrong shape"
                )
            return name, side
        before = one
    return "", 0


def by_number(name: str) -> list[tuple[int, str]]:
    """A key that sorts names as people do: conv2 before conv10.

    >>> sorted(["fc8", "conv10", "conv2"], key=by_number)
    ['conv2', 'conv10', 'fc8']
    """
    return [(int(digits or -1), text) for digits, text in findall(r"(\d+)|(\D+)", name)]
