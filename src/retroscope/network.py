"""A network with all that belongs to it: how to feed it a picture, its labels, its layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import torch

from retroscope.engine.batching import NetworkInput, Size
from retroscope.engine.isolation import device_of, dtype_of, unwrap
from retroscope.engine.memory import is_out_of_memory
from retroscope.engine.program import Survey
from retroscope.engine.survey import survey
from retroscope.errors import ImageError, ModelError, RetroscopeError
from retroscope.imaging.image import RGB, Fit, HasPixels, as_image, fit_image
from retroscope.results.layer_lookup import check_unit as check_unit  # noqa: PLC0414 - passed on
from retroscope.results.layer_lookup import find_layer
from retroscope.results.layers import Layer, layer_name


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to what the network takes: fitted, scaled to 0..1, less mean, over std.

    One mean makes a grey network, three a coloured one.
    """

    fit: Fit
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ModelError(
                f"there are {len(self.mean)} means and {len(self.std)} stds; give one of each for "
                "every channel that the network takes"
            )
        if not all(isfinite(number) for number in (*self.mean, *self.std)) or 0 in self.std:
            raise ModelError(
                f"the mean {self.mean} and std {self.std} must be finite, and no std zero: pixels "
                "are divided by it"
            )

    @property
    def channels(self) -> int:
        return len(self.mean)

    def to_input(self, to_rgb: RGB) -> npt.NDArray[np.float32]:
        """What the network takes for these pixels: channels, height, width."""
        if self.channels not in (1, 3):
            raise ImageError(
                f"this network takes {self.channels} channels, which no picture file has; give a "
                f"float tensor of ({self.channels}, height, width)"
            )
        shown = to_rgb if self.channels == 3 else to_rgb.mean(axis=2, keepdims=True)
        scaled = shown.astype(np.float32) / np.float32(255)
        standard = (scaled - self._array(self.mean)) / self._array(self.std)
        return np.ascontiguousarray(standard.transpose(2, 0, 1))

    def to_rgb(self, to_input: npt.NDArray[np.float32]) -> RGB:
        """The pixels that these numbers stand for, as well as a screen can show them."""
        scaled = to_input.transpose(1, 2, 0) * self._array(self.std) + self._array(self.mean)
        seen = np.clip(np.nan_to_num(scaled), 0, 1) * 255
        if seen.shape[2] != 3:
            seen = np.repeat(seen.mean(axis=2, keepdims=True), 3, axis=2)
        shown: RGB = np.rint(seen).astype(np.uint8)
        return shown

    @staticmethod
    def _array(to_input: tuple[float, ...]) -> npt.NDArray[np.float32]:
        return np.array(to_input, np.float32)


AnyImage = str | Path | PIL.Image.Image | RGB | HasPixels | torch.Tensor | NetworkInput


class Network:
    """A module, how to feed it, its labels and its layers. The module itself stays as it is.

    `mean` and `std` are of pixels from 0 to 1, one number for each channel that the network
    takes. `remarks` are told with every projection; `decided` is what was found out in opening it.

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
        self.module = _module(module)
        mean, std = _of_channels("mean", mean), _of_channels("std", std)
        channels = len(mean) or len(std) or _channels_taken(self.module)
        self.preprocessing = Preprocessing(
            fit or Fit(input_size),
            mean or (0.0,) * channels,
            std or (1.0,) * channels,
        )
        self.labels = tuple(labels)
        self.name = name or type(self.module).__name__
        self.remarks = tuple(remarks)
        self.inferred = tuple(inferred)
        self._surveys: dict[tuple[int, ...], Survey] = {}

    def of_module(
        self, module: torch.nn.Module, fit: Fit, *, remarks: Sequence[str] = ()
    ) -> "Network":
        """The same network with another module, or pictures fitted in another way."""
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
        """The kind of number that the network computes with."""
        return dtype_of(self.module)

    @property
    def device(self) -> torch.device:
        return device_of(self.module)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer in running order, as a picture of the usual size runs through it."""
        return self.survey().layers

    def survey(self, size: Size | None = None) -> Survey:
        """The network's program for pictures of this size; the usual size, if none is given."""
        shape = (self.preprocessing.channels, *(size or self.input_size))
        if shape not in self._surveys:
            self._surveys[shape] = self._surveyed(shape)
        return self._surveys[shape]

    def _surveyed(self, shape: tuple[int, int, int]) -> Survey:
        try:
            return survey(self.module, shape)
        except RetroscopeError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            why, taken = describe_error(error), _channels_taken(self.module)
            if taken != shape[0]:
                why = f"its first convolution takes {taken}; {_numbers_for(taken)} ({why})"
            raise ModelError(
                f"{self.name} cannot run a picture of {shape[0]} channels and "
                f"{shape[1]}x{shape[2]} pixels: {why}"
            ) from error

    def layer(self, name: str | Layer, size: Size | None = None) -> Layer:
        """The layer of this name or alias, or as pictures of another size run through it."""
        return find_layer(self.survey(size).layers, layer_name(name), self.name)

    def prepare(self, image: AnyImage) -> NetworkInput:
        """A picture as the network takes it. A tensor is taken as it is."""
        if isinstance(image, NetworkInput):
            return image
        if isinstance(image, torch.Tensor):
            return self._taken(image)
        fit = self.preprocessing.fit
        source = as_image(image, at_least=fit.enough)
        picture = fit_image(source, fit).pixels
        numbers = torch.from_numpy(self.preprocessing.to_input(picture))
        return NetworkInput(numbers.to(dtype_of(self.module)), picture, source.source)

    def _taken(self, tensor: torch.Tensor) -> NetworkInput:
        channels = self.preprocessing.channels
        if tensor.dim() != 3 or tensor.shape[0] != channels or not tensor.is_floating_point():
            raise ImageError(
                f"{self.name} takes a float tensor of ({channels}, height, width); this one is "
                f"{tensor.dtype} of {tuple(tensor.shape)}"
            )
        numbers = tensor.detach().to(dtype_of(self.module), copy=True)
        shown = self.preprocessing.to_rgb(numbers.float().cpu().numpy())
        return NetworkInput(numbers, shown, "")


def require_network(given: object) -> None:
    """What looks through a network is given one, ready to be fed."""
    if isinstance(given, Network):
        return
    if isinstance(given, str | Path):
        raise ModelError(
            f"{str(given)!r} is no Network; open it with rs.open_model({str(given)!r})"
        )
    if isinstance(given, torch.nn.Module):
        raise ModelError(f"this {type(given).__name__} is a module; {MAKES_A_NETWORK}")
    raise ModelError(f"a {type(given).__name__} is no Network; rs.open_model(NAME) opens one")


MAKES_A_NETWORK = "rs.Network(module, input_size=(H, W)) makes a network of it"


def _of_channels(what: str, numbers: object) -> tuple[float, ...]:
    """A number for each channel, of any sequence or array of them."""
    try:
        return tuple(float(number) for number in numbers)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"the {what} is a number for each channel, such as (0.5, 0.5, 0.5), not {numbers!r}"
        ) from error


def _numbers_for(channels: int) -> str:
    """How a network is opened that takes so many channels."""
    return f"give {'one number' if channels == 1 else f'{channels} numbers'} in mean and in std"


def _module(given: object) -> torch.nn.Module:
    """The network inside what was given; what is none is refused."""
    if isinstance(given, torch.nn.Module):
        return unwrap(given)
    kind = f"the class {given.__name__}" if isinstance(given, type) else repr(given)
    raise ModelError(f"a network is an nn.Module, built and ready to be called, not {kind}")


def _channels_taken(module: torch.nn.Module) -> int:
    """What the first convolution takes; three where there is none."""
    convolutions = (part for part in module.modules() if isinstance(part, torch.nn.Conv2d))
    return next((one.in_channels for one in convolutions), 3)


def describe_error(error: BaseException) -> str:
    """The kind of somebody else's error, and the first line of what it says.

    >>> in_words(KeyError("weight"))
    "KeyError: 'weight'"
    """
    said = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
