"""A network: a module, its preprocessing, its labels and its layers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np
import PIL.Image
import torch

from retroscope.accepted_images import (
    advise_on_first_layer,
    infer_channels,
    infer_size,
    refuse_unknown_size,
)
from retroscope.argument_types import channel_values
from retroscope.engine.batching import NetworkInput, Size
from retroscope.engine.isolation import EXCLUSIVE_USE, device_of, dtype_of, unwrap
from retroscope.engine.program import Survey
from retroscope.errors import ImageError, ModelError, UnitError
from retroscope.geometry import IMAGE_RANK, INPUTS, LENGTHS, format_size
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import Fit, HasPixels
from retroscope.imaging.slice_files import AnyFile, open_source
from retroscope.input_binding import (
    bind_images,
    bind_module,
    hold_for_all,
    infer_image_channels,
    mapping_error,
    prepare_inputs,
)
from retroscope.module_inputs import ImageInput, InputDeclaration, ModuleInputs, declare_inputs
from retroscope.network_survey import survey_network
from retroscope.preprocessing import Preprocessing, ReadLimits, state_preprocessing
from retroscope.results.caveats import range_caveats
from retroscope.results.layer_lookup import find_layer
from retroscope.results.layers import Layer, UnlistedLayer, describe_unlisted, layer_name
from retroscope.unit import Unit, as_unit
from retroscope.user_modules import (
    as_module,
    describe_non_module,
    stated_options,
    timm_options,
    usual_fit,
)

AnyArray = RGB | torch.Tensor
"""An image as an array, or a batch of them: a uint8 array or tensor is pixels, a float tensor the
network's input.
"""

OneImage = str | Path | PIL.Image.Image | HasPixels | NetworkInput | Mapping[str, object]
"""What is always a single image; a mapping has the inputs of a network that takes several."""

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

    `mean` and `std` are per channel, for pixels scaled to 0-1; with a `value_range`, the values
    that become 0 and 1, they are in the units of that. `bands` are the three channels that are
    shown of many, counted from 1; by default the first. `input_size` is 224x224 by default; for
    volumes and video it has the depth in front, (16, 112, 112), for signals it is the length alone,
    (400,). Detectors of torchvision take images whole and resize them themselves. `remarks` are
    added to the notes of every projection; `inferred` lists what was found out while the network
    was opened.

    `inputs` has an entry for each argument of a module that takes several: `image`, an
    `ImageInput`, a `NumberInput`, or a value that is held. All methods look back to the image
    `look_at`, by default the first. An image is then a dictionary of the inputs by name.

    >>> net = Network(torch.nn.Conv2d(3, 8, 3), input_size=(32, 32), name="tiny")
    >>> net.layers[0].channels, str(net.layers[0].field)
    (8, '3/1/0')
    """

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        input_size: Size | None = None,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        bands: Sequence[int] = (),
        value_range: Sequence[float] | None = None,
        labels: Sequence[str] = (),
        name: str = "",
        fit: Fit | None = None,
        remarks: Sequence[str] = (),
        inferred: Sequence[str] = (),
        inputs: InputDeclaration = None,
        look_at: str = "",
    ) -> None:
        self.module, self.inputs = declare_inputs(as_module(module), inputs, look_at)
        own = self.inputs.own if self.inputs else ImageInput()
        mean = channel_values("mean", mean) or channel_values("mean", own.mean)
        std = channel_values("std", std) or channel_values("std", own.std)
        value_range = own.value_range if value_range is None else value_range
        fit = fit or own.fit or usual_fit(self.module, own.input_size or input_size)
        channels = len(mean) or len(std) or self._infer_channels(fit)
        self.preprocessing = state_preprocessing(
            fit, channels, mean=mean, std=std, bands=bands, value_range=value_range
        )
        if self.inputs:
            self.module = bind_module(self.module, self.inputs)
        self.labels = tuple(labels)
        self.name = name or type(self.module).__name__
        self.remarks = tuple(remarks)
        self.inferred = tuple(inferred)
        self._surveys: dict[tuple[int, ...], Survey] = {}

    def _infer_channels(self, fit: Fit) -> int:
        if self.inputs is not None:
            return infer_image_channels(self, fit)
        return infer_channels(self.module, fit.shape)

    def with_module(
        self,
        module: torch.nn.Module,
        fit: Fit,
        *,
        remarks: Sequence[str] = (),
        inputs: ModuleInputs | None = None,
    ) -> "Network":
        """The same network with another module, or with images fitted in another way."""
        network = Network(
            module,
            **self.preprocessing.stated(),
            labels=self.labels,
            name=self.name,
            fit=fit,
            remarks=(*self.remarks, *remarks),
            inferred=self.inferred,
            inputs=inputs or self.inputs,
        )
        network.preprocessing = replace(self.preprocessing, fit=fit)
        return network

    @property
    def for_batches(self) -> "Network":
        """The network with images of one size, for one that takes images of any size whole."""
        fit = self.preprocessing.fit
        is_whole = fit.of_one_size != fit
        return self.with_module(self.module, fit.of_one_size) if is_whole else self

    def hold(self, **values: object) -> "Network":
        """The network with values of its other inputs that are the same for all images.

        An image, numbers, or whatever the module takes: `net.hold(right="b.jpg", age=40)`.
        """
        return hold_for_all(self, values)

    def for_images(self, images: Sequence[NetworkInput]) -> "Network":
        """The network for a batch of these images, or for any batch of one image: their other
        inputs are held. A network that takes an image alone is itself.
        """
        return self if self.inputs is None else bind_images(self, images)

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The entries of a sample that come together; none if the network takes an image alone."""
        inputs = self.inputs
        return (inputs.image, *inputs.per_image) if inputs and inputs.per_image else ()

    def __repr__(self) -> str:
        return f"<Network {self.name}: {format_size(self.input_size)} on {self.device}>"

    @property
    def input_size(self) -> Size:
        return self.preprocessing.fit.shape

    @property
    def rank(self) -> int:
        """The number of axes of what it takes: 1 for signals, 2 for images, 3 for volumes."""
        return self.preprocessing.rank

    def require_images(self, what: str, *, instead: str) -> None:
        """Raises unless the network takes images; `what` is made of images alone."""
        if self.rank != IMAGE_RANK:
            raise ModelError(
                f"no {what} of {self.name}: it takes {INPUTS[self.rank]}s, not images; {instead}"
            )

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
                    self._surveys[shape] = survey_network(self, shape)
        return self._surveys[shape]

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
        if self.inputs is not None:
            return prepare_inputs(self, image)
        if isinstance(image, Mapping):
            raise mapping_error(self, image)
        if isinstance(image, torch.Tensor):
            if image.dtype != torch.uint8:
                return self._prepare_tensor(image)
            image = _pixels_of(image, self.preprocessing)
        if isinstance(image, str | Path):
            with open_source(image, takes_volumes=self.preprocessing.takes_volumes) as file:
                return self.prepare_file(file, str(image))
        return self._in_dtype(self.preprocessing.prepare(image))

    def prepare_file(
        self, file: AnyFile, source: str, **limits: Unpack[ReadLimits]
    ) -> NetworkInput:
        """The network's input for an image in an open file, or in the frames of a folder.

        `source` is its name.
        """
        return self._in_dtype(self.preprocessing.read(file, source, **limits))

    def _in_dtype(self, image: NetworkInput) -> NetworkInput:
        return replace(image, tensor=image.tensor.to(dtype_of(self.module)))

    def _prepare_tensor(self, tensor: torch.Tensor) -> NetworkInput:
        channels = self.preprocessing.channels
        has_axes = tensor.dim() == self.rank + 1
        if not has_axes or tensor.shape[0] != channels or not tensor.is_floating_point():
            is_batch = tensor.dim() == self.rank + 2
            advice = f"; it is a batch, give one {INPUTS[self.rank]} of it" if is_batch else ""
            if other := advise_on_first_layer(self.module, self.rank):
                advice = f"; {other.text}"
            lengths = ", ".join(map(str, (channels, *LENGTHS[self.rank])))
            raise ImageError(
                f"{self.name} takes a float tensor of ({lengths}); this one is "
                f"{tensor.dtype} of {tuple(tensor.shape)}{advice}"
            )
        values = tensor.detach().to(dtype_of(self.module), copy=True)
        rgb, notes = self.preprocessing.show_input(values.float().cpu().numpy())
        return NetworkInput(values, rgb, "", caveats=(*self._range_caveats(values), *notes))

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


def _pixels_of(tensor: torch.Tensor, preprocessing: Preprocessing) -> RGB:
    """The pixels of a uint8 tensor (channels, height, width), channels last."""
    if not preprocessing.takes_photos or preprocessing.takes_volumes:
        return tensor.cpu().movedim(0, -1).numpy()
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
    fit = usual_fit(module, stated.get("input_size"))
    if fit.mode == "whole":  # it resizes and normalises images itself
        stated = {**stated, "fit": fit}
        return Network(module, **stated, remarks=_assumptions(module, fit.shape, stated))
    size = stated.get("input_size")
    if size is None:
        refuse_unknown_size(module)
        size = infer_size(module)
    return Network(
        module, **{**stated, "input_size": size}, remarks=_assumptions(module, size, stated)
    )


def _assumptions(module: torch.nn.Module, size: Size, stated: Mapping[str, object]) -> list[str]:
    """One sentence on what a module does not state, or none."""
    kind = type(module).__name__
    texts = {
        f"{format_size(size)} pixels": {"input_size", "fit"},
        "mean 0 and std 1 for pixels from 0 to 1": {"mean", "std", "fit"},
        "no labels": {"labels"},
    }
    assumed = [text for text, options in texts.items() if not options & stated.keys()]
    if not assumed:
        return []
    advice = "open it with rs.Network(module, input_size=..., mean=..., std=..., labels=...)"
    return [f"assumed of the module {kind}: {', '.join(assumed)}; {advice} to set them"]
