"""A network: a module, its preprocessing, its labels and its layers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch

from retroscope.accepted_images import advise_on_input, infer_channels, infer_size
from retroscope.engine.batching import NetworkInput, Size
from retroscope.engine.isolation import EXCLUSIVE_USE, device_of, dtype_of, unwrap
from retroscope.engine.memory import is_out_of_memory
from retroscope.engine.program import Survey
from retroscope.engine.survey import survey
from retroscope.errors import ImageError, ModelError, RetroscopeError, UnitError, describe_error
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import Fit, HasPixels, Image, fit_source
from retroscope.results.caveats import range_caveats
from retroscope.results.layer_lookup import find_layer
from retroscope.results.layers import Layer, UnlistedLayer, describe_unlisted, layer_name
from retroscope.unit import Unit, as_unit
from retroscope.user_modules import (
    as_module,
    describe_non_module,
    stated_options,
    timm_options,
)


@dataclass(frozen=True)
class Preprocessing:
    """From an image to the network's input: fit, scale to 0-1, subtract mean, divide by std.

    A single mean is for grey networks, three for colour.
    """

    fit: Fit
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ModelError(
                f"mean has {len(self.mean)} values and std {len(self.std)}; give one of each for "
                "every channel that the network takes"
            )
        if not all(isfinite(value) for value in (*self.mean, *self.std)) or 0 in self.std:
            raise ModelError(
                f"mean {self.mean} and std {self.std} must be finite, and no std may be zero, "
                "since pixels are divided by it"
            )

    @property
    def channels(self) -> int:
        return len(self.mean)

    def to_input(self, pixels: RGB) -> npt.NDArray[np.float32]:
        """The network's input for these pixels: channels, height, width."""
        if self.channels not in (1, 3):
            raise ImageError(
                f"this network takes {self.channels} channels, which image files do not have; give "
                f"a float tensor of ({self.channels}, height, width)"
            )
        colours = pixels if self.channels == 3 else pixels.mean(axis=2, keepdims=True)
        planes = np.array(colours.transpose(2, 0, 1), np.float32, order="C")
        planes /= np.float32(255)
        planes -= _float32(self.mean)[:, None, None]
        planes /= _float32(self.std)[:, None, None]
        return planes

    def to_rgb(self, values: npt.NDArray[np.float32]) -> RGB:
        """The pixels of an input (channels, height, width), clipped to what a screen can show."""
        scaled = values.transpose(1, 2, 0) * _float32(self.std) + _float32(self.mean)
        levels = np.clip(np.nan_to_num(scaled), 0, 1) * 255
        if levels.shape[2] != 3:
            levels = np.repeat(levels.mean(axis=2, keepdims=True), 3, axis=2)
        pixels: RGB = np.rint(levels).astype(np.uint8)
        return pixels

    def level(self, value: float) -> torch.Tensor:
        """The input for a grey level from 0 (black) to 1 (white): channels, 1, 1."""
        return ((value - torch.tensor(self.mean)) / torch.tensor(self.std))[:, None, None]


def _float32(values: tuple[float, ...]) -> npt.NDArray[np.float32]:
    return np.array(values, np.float32)


AnyArray = RGB | torch.Tensor
"""An image as an array, or a batch of them: a uint8 array or tensor is pixels, a float tensor the
network's input.
"""

OneImage = str | Path | PIL.Image.Image | HasPixels | NetworkInput
"""What is always a single image."""

AnyImage = OneImage | AnyArray

AnyLayer = str | Layer | torch.nn.Module
"""A layer by its name, itself, or the module that computes it."""

AnyUnit = str | Unit | Layer | torch.nn.Module
"""A unit by its address, itself, or all maps of a layer."""


class Network:
    """A module, its preprocessing, its labels and its layers. The module itself is not changed.

    Several threads may use one network, or networks that share modules: each result is that of a
    single thread. Calls that run a network take turns in a process; to run networks in parallel,
    start a process for each. The module must not be run or trained by other code meanwhile.

    `mean` and `std` are per channel, for pixels scaled to 0-1. `remarks` are added to the notes of
    every projection; `inferred` lists what was found out while the network was opened.

    >>> net = Network(torch.nn.Conv2d(3, 8, 3), input_size=(32, 32), name="tiny")
    >>> net.layers[0].channels, str(net.layers[0].field)
    (8, '3/1/0')
    """

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        input_size: Size = (224, 224),
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        labels: Sequence[str] = (),
        name: str = "",
        fit: Fit | None = None,
        remarks: Sequence[str] = (),
        inferred: Sequence[str] = (),
    ) -> None:
        self.module = as_module(module)
        mean, std = _channel_values("mean", mean), _channel_values("std", std)
        fit = fit or Fit(input_size)
        channels = len(mean) or len(std) or infer_channels(self.module, fit.size)
        self.preprocessing = Preprocessing(
            fit,
            mean or (0.0,) * channels,
            std or (1.0,) * channels,
        )
        self.labels = tuple(labels)
        self.name = name or type(self.module).__name__
        self.remarks = tuple(remarks)
        self.inferred = tuple(inferred)
        self._surveys: dict[tuple[int, ...], Survey] = {}

    def with_module(
        self, module: torch.nn.Module, fit: Fit, *, remarks: Sequence[str] = ()
    ) -> "Network":
        """The same network with another module, or with images fitted in another way."""
        return Network(
            module,
            mean=self.preprocessing.mean,
            std=self.preprocessing.std,
            labels=self.labels,
            name=self.name,
            fit=fit,
            remarks=(*self.remarks, *remarks),
            inferred=self.inferred,
        )

    def __repr__(self) -> str:
        height, width = self.input_size
        return f"<Network {self.name}: {height}x{width} on {self.device}>"

    @property
    def input_size(self) -> Size:
        return self.preprocessing.fit.size

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type that the network computes in."""
        return dtype_of(self.module)

    @property
    def device(self) -> torch.device:
        return device_of(self.module)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer in running order, for images of the network's input size."""
        return self.survey().layers

    @property
    def unlisted(self) -> tuple[UnlistedLayer, ...]:
        """What works on the image with weights and is not in `layers`, with the reason."""
        return self.survey().unlisted

    def survey(self, size: Size | None = None) -> Survey:
        """The network's program for images of this size. Default: its input size."""
        shape = (self.preprocessing.channels, *(size or self.input_size))
        if shape not in self._surveys:
            with EXCLUSIVE_USE:
                if shape not in self._surveys:  # another thread may have run it meanwhile
                    self._surveys[shape] = self._run_survey(shape)
        return self._surveys[shape]

    def _run_survey(self, shape: tuple[int, int, int]) -> Survey:
        try:
            return survey(self.module, shape)
        except RetroscopeError:
            raise
        except Exception as error:  # whatever the network's own code raises
            if is_out_of_memory(error):
                raise
            channels, height, width = shape
            advice = advise_on_input(
                self.module, channels, (height, width), usual_size=self.input_size
            )
            reason = describe_error(error)
            raise ModelError(
                f"{self.name} cannot run an image of {channels} channels and "
                f"{height}x{width} pixels: {f'{advice.text} ({reason})' if advice else reason}",
                parameter=advice.parameter if advice else "",
            ) from error

    def layer(self, name: AnyLayer, size: Size | None = None) -> Layer:
        """The layer of this name, alias or module, for images of this size."""
        name = self._module_path(name) if isinstance(name, torch.nn.Module) else layer_name(name)
        surveyed = self.survey(size)
        unlisted = next((layer for layer in surveyed.unlisted if layer.name == name), None)
        if unlisted is not None:
            raise UnitError(f"{describe_unlisted([unlisted])[0]}; choose another layer")
        return find_layer(surveyed.layers, name, self.name)

    def __getitem__(self, name: AnyLayer) -> Layer:
        """The layer of this name, alias or module, as `net["conv1"]` or `net[model.layer4]`."""
        return self.layer(name)

    def unit(self, address: AnyUnit) -> Unit:
        """The unit of an address. A layer or a module stands for all of its maps."""
        match address:
            case Layer():
                return Unit(address.name)
            case torch.nn.Module():
                return Unit(self._module_path(address))
        return as_unit(address)

    __iter__ = None  # `net.layers` can be looped over; item 0 is no layer

    def _module_path(self, module: torch.nn.Module) -> str:
        """The path of a module of this network."""
        wanted = unwrap(module)
        paths: Iterator[str] = (
            path for path, part in self.module.named_modules() if part is wanted
        )
        path = next(paths, None)
        kind = type(wanted).__name__
        if path is None:
            raise UnitError(
                f"this {kind} is not a module of {self.name}; give one of the network itself, not "
                "of a copy"
            )
        if not path:
            raise UnitError(f"this {kind} is the network itself; give one of its layers")
        return path

    def prepare(self, image: AnyImage) -> NetworkInput:
        """The network's input for one image. A float tensor is used as it is.

        A uint8 tensor (channels, height, width) holds pixels, as decoders of torch return them.
        """
        if isinstance(image, NetworkInput):
            return image
        if isinstance(image, torch.Tensor):
            if image.dtype != torch.uint8:
                return self._prepare_tensor(image)
            image = _pixels_of(image)
        return self.prepare_fitted(fit_source(image, self.preprocessing.fit))

    def prepare_fitted(self, image: Image) -> NetworkInput:
        """The network's input for an image that its fit has resized and cropped already."""
        tensor = torch.from_numpy(self.preprocessing.to_input(image.pixels))
        fit = self.preprocessing.fit
        return NetworkInput(tensor.to(dtype_of(self.module)), image.pixels, image.source, fit)

    def _prepare_tensor(self, tensor: torch.Tensor) -> NetworkInput:
        channels = self.preprocessing.channels
        if tensor.dim() != 3 or tensor.shape[0] != channels or not tensor.is_floating_point():
            batch = "; it is a batch, give one image of it" if tensor.dim() == 4 else ""
            raise ImageError(
                f"{self.name} takes a float tensor of ({channels}, height, width); this one is "
                f"{tensor.dtype} of {tuple(tensor.shape)}{batch}"
            )
        values = tensor.detach().to(dtype_of(self.module), copy=True)
        rgb = self.preprocessing.to_rgb(values.float().cpu().numpy())
        return NetworkInput(values, rgb, "", caveats=self._range_caveats(values))

    def _range_caveats(self, values: torch.Tensor) -> tuple[str, ...]:
        if not values.numel():
            return ()
        lowest, highest = values.aminmax()
        black, white = (self.preprocessing.level(value) for value in (0, 1))
        extremes = (
            float(torch.minimum(black, white).min()),
            float(torch.maximum(black, white).max()),
        )
        return range_caveats(float(lowest), float(highest), black=extremes[0], white=extremes[1])


AnyNetwork = Network | torch.nn.Module
"""A network, or a module that is wrapped with what it states and what is usual."""


def _pixels_of(tensor: torch.Tensor) -> RGB:
    """The pixels of a uint8 tensor (channels, height, width), channels last."""
    if tensor.dim() != 3 or tensor.shape[0] not in (1, 3):
        raise ImageError(
            "a uint8 tensor is an image of (3, height, width) or (1, height, width); this one has "
            f"shape {tuple(tensor.shape)}"
        )
    pixels = tensor.cpu().expand(3, -1, -1).permute(1, 2, 0)
    return np.ascontiguousarray(pixels.numpy())


def as_network(net: object) -> Network:
    """The network itself, or a module wrapped with what it states and what is usual.

    What is assumed stands in the remarks of the network, and so in the notes of each result.

    >>> print(as_network(torch.nn.Conv2d(3, 8, 3)).remarks[0].partition(";")[0])
    assumed of the module Conv2d: 224x224 pixels, mean 0 and std 1 for pixels from 0 to 1, no labels
    """
    if isinstance(net, Network):
        return net
    if isinstance(net, str | Path):
        raise ModelError(f"{str(net)!r} is not a Network; open it with rs.open_model({str(net)!r})")
    if not isinstance(net, torch.nn.Module):
        description = describe_non_module(net)
        advice = description.advice or "open one with rs.open_model(NAME)"
        raise ModelError(f"{description.name} is not a Network; {advice}")
    module = as_module(net)
    stated = timm_options(module) | stated_options(module, type(module).__name__)
    size = stated.get("input_size") or infer_size(module)
    return Network(
        module, **{**stated, "input_size": size}, remarks=_assumptions(module, size, stated)
    )


def _assumptions(module: torch.nn.Module, size: Size, stated: Mapping[str, object]) -> list[str]:
    """One sentence on what a module does not state, or none."""
    kind = type(module).__name__
    texts = {
        f"{size[0]}x{size[1]} pixels": {"input_size"},
        "mean 0 and std 1 for pixels from 0 to 1": {"mean", "std"},
        "no labels": {"labels"},
    }
    assumed = [text for text, options in texts.items() if not options & stated.keys()]
    if not assumed:
        return []
    advice = "open it with rs.Network(module, input_size=..., mean=..., std=..., labels=...)"
    return [f"assumed of the module {kind}: {', '.join(assumed)}; {advice} to set them"]


def _channel_values(name: str, values: object) -> tuple[float, ...]:
    """One number per channel, from any sequence or array."""
    try:
        return tuple(float(value) for value in values)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{name} is one number per channel, such as (0.5, 0.5, 0.5), not {values!r}"
        ) from error
