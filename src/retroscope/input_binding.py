"""Holds the other inputs of a network, for all images or for those of a batch."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import torch

from retroscope.accepted_images import (
    IMAGE_CHANNELS,
    accepts,
    advise_to_declare,
    first_convolution_channels,
    required_inputs,
)
from retroscope.argument_types import shorten
from retroscope.engine.batching import NetworkInput, Size
from retroscope.engine.held_inputs import held_forward, hold_inputs
from retroscope.engine.isolation import device_of, dtype_of
from retroscope.engine.memory import SIZE_ERRORS, is_out_of_memory
from retroscope.errors import (
    ImageError,
    ModelError,
    RetroscopeError,
    describe_error,
    did_you_mean,
    list_words,
)
from retroscope.geometry import format_size
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import Fit
from retroscope.imaging.slice_files import AnyFile
from retroscope.module_inputs import (
    ImageInput,
    ModuleInputs,
    OtherInput,
    batch_of_one,
    describe_value,
    list_values,
)
from retroscope.preprocessing import ReadLimits, state_preprocessing
from retroscope.user_modules import fit_to

if TYPE_CHECKING:
    from retroscope.network import Network

Values = Mapping[str, object]


def bind_module(
    module: torch.nn.Module, inputs: ModuleInputs, values: Values | None = None
) -> torch.nn.Module:
    """The user's module as one that takes the image alone, with these values for other inputs."""
    forward = inputs.bind(module, values)
    forward.values = {name: _to_module(value, module) for name, value in forward.values.items()}
    return hold_inputs(forward)


def _to_module(value: object, module: torch.nn.Module) -> object:
    """A tensor on the module's device, and in its floating-point type."""
    if not isinstance(value, torch.Tensor):
        return value
    dtype = dtype_of(module) if value.is_floating_point() else value.dtype
    return value.to(device_of(module), dtype)


def infer_image_channels(net: "Network", fit: Fit) -> int:
    """The channels of the image that is looked back to: colour, grey, or those of the first
    convolution, whichever the network runs with its other inputs blank.
    """
    assert net.inputs is not None
    candidate = copy(net)
    candidate.module = bind_module(net.module, net.inputs)
    first = first_convolution_channels(net.module, len(fit.shape))
    for count in dict.fromkeys((*IMAGE_CHANNELS, first)):
        candidate.preprocessing = state_preprocessing(
            fit, count, mean=(), std=(), bands=(), value_range=None
        )
        if count and accepts(blank_module(candidate, fit.shape), count, *fit.shape):
            return count
    return first or IMAGE_CHANNELS[0]


def bind_images(net: "Network", images: Sequence[NetworkInput]) -> "Network":
    """The network as it runs these images, one for each row of its batches, or one for all rows.

    A network that takes an image alone is itself.
    """
    inputs = net.inputs
    if inputs is None or not inputs.per_image:
        return net
    for image in images:
        missing = [name for name in inputs.per_image if name not in image.others]
        if missing:
            raise inputs.missing_error(net.name, missing)
    values = {
        name: torch.stack([image.others[name] for image in images]) for name in inputs.per_image
    }
    return _rebind(net, values)


def _rebind(net: "Network", values: Values) -> "Network":
    bound = copy(net)
    assert net.inputs is not None
    bound.module = bind_module(_original(net), net.inputs, values)
    return bound


def _original(net: "Network") -> torch.nn.Module:
    """The module of several arguments that a network runs."""
    forward = held_forward(net.module)
    assert forward is not None
    return forward.module


@contextmanager
def name_failing_inputs(net: "Network", image: NetworkInput) -> Iterator[None]:
    """Turns an error in the code of a network into one that names the inputs it occurred with."""
    try:
        yield
    except RetroscopeError:
        raise
    except SIZE_ERRORS as error:
        if not image.others or is_out_of_memory(error):
            raise
        values = {name: value[None] for name, value in image.others.items()}
        raise ModelError(
            f"{net.name} cannot run {image.source or 'this image'} with {list_values(values)}: "
            f"{describe_error(error)}; correct them"
        ) from error


def blank_module(net: "Network", size: Size) -> torch.nn.Module:
    """The module with black images and zeros for what comes with each image of this size."""
    if net.inputs is None or not net.inputs.per_image:
        return net.module
    values = {name: _blank(net, spec, size)[None] for name, spec in net.inputs.per_image.items()}
    return _rebind(net, values).module


def _blank(net: "Network", spec: OtherInput, size: Size) -> torch.Tensor:
    if isinstance(spec, ImageInput):
        preparing = preparing_network(net, spec)
        shape = preparing.preprocessing.channels, *_size_beside(net, preparing, size)
        return torch.zeros(shape, dtype=net.dtype, device="cpu")
    return torch.zeros(spec.size, dtype=spec.dtype or net.dtype, device="cpu")


def random_modules(net: "Network", size: Size) -> Sequence[torch.nn.Module]:
    """The module with two sets of other inputs: with the first, with the second, and with both.

    Of a network that holds them all, what is held and something else in its place.
    """
    assert net.inputs is not None
    if not net.inputs.per_image:
        return net.module, _with_other_values(net)
    generator = torch.Generator().manual_seed(1)
    pairs: dict[str, torch.Tensor] = {}
    for name, spec in net.inputs.per_image.items():
        blank = _blank(net, spec, size)
        pairs[name] = blank[None].repeat(2, *(1 for _ in blank.shape))
        if blank.is_floating_point():
            shape = 2, *blank.shape
            noise = torch.randn(shape, generator=generator, device="cpu").to(blank.dtype)
            noise[1] = 3 * noise[1] + 1
            pairs[name] = noise
    rows = [{name: pair[row : row + 1] for name, pair in pairs.items()} for row in (0, 1)]
    return [_rebind(net, values).module for values in (*rows, pairs)]


def _with_other_values(net: "Network") -> torch.nn.Module:
    """The module with other numbers in place of those that are held."""
    assert net.inputs is not None
    generator = torch.Generator().manual_seed(1)
    inputs = net.inputs
    for name, value in inputs.held.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator, device="cpu").to(value)
            inputs = inputs.hold(name, value + noise)
    return bind_module(_original(net), inputs)


def preparing_network(net: "Network", spec: ImageInput) -> "Network":
    """The network as one that prepares another image: with its preprocessing, and no inputs."""
    preparing, own = copy(net), net.preprocessing
    fit = spec.fit or (fit_to(spec.input_size) if spec.input_size else own.fit)
    preparing.inputs, preparing.preprocessing = None, replace(own, fit=fit)
    if spec.mean or spec.std or spec.value_range is not None:
        preparing.preprocessing = state_preprocessing(
            fit,
            len(spec.mean) or len(spec.std) or own.channels,
            mean=tuple(spec.mean),
            std=tuple(spec.std),
            bands=(),
            value_range=spec.value_range,
        )
    return preparing


def _size_beside(net: "Network", preparing: "Network", size: Size) -> Size:
    """The size of another image beside one of this size, which may be given as a tensor."""
    is_alike = preparing.input_size == net.input_size
    return size if is_alike else preparing.input_size


def prepare_inputs(net: "Network", image: object) -> NetworkInput:
    """The network's input for an image with those that come with it, as a dictionary by name."""
    assert net.inputs is not None
    looked_at, others = net.inputs.sort(image, net.name)
    preparing = copy(net)
    preparing.inputs = None
    image_alone = preparing.prepare(looked_at)  # type: ignore[arg-type]
    prepared = attach_others(net, image_alone, others)
    return replace(prepared, caveats=(*image_alone.caveats, *_describe_others(prepared, others)))


def _describe_others(image: NetworkInput, others: Values) -> Iterator[str]:
    """What the notes of results say of the inputs that came with an image: files and numbers."""
    for name, value in others.items():
        if isinstance(value, str | Path):
            yield f"{name}: {value}"
        elif image.others[name].dim() < 2:
            yield f"{name}: {describe_value(image.others[name][None])}"


def attach_others(net: "Network", image: NetworkInput, others: Values) -> NetworkInput:
    """An image with the other inputs that come with it, prepared."""
    if net.inputs is None:
        return image
    prepared = {
        name: _prepare_other(net, name, value, image.size) for name, value in others.items()
    }
    return replace(image, others=prepared) if prepared else image


def _prepare_other(net: "Network", name: str, value: object, size: Size) -> torch.Tensor:
    assert net.inputs is not None
    spec = net.inputs.kinds[name]
    if not isinstance(spec, ImageInput):
        return spec.tensor_of(name, value).to(spec.dtype or net.dtype)
    preparing = preparing_network(net, spec)
    with name_input(name):
        tensor = preparing.prepare(value).tensor  # type: ignore[arg-type]
    expected, actual = _size_beside(net, preparing, size), tuple(tensor.shape[1:])
    if actual != expected:
        raise ImageError(
            f"{name} has {format_size(actual)} pixels beside {net.inputs.image} of "
            f"{format_size(size)}; it must have {format_size(expected)}"
        )
    return tensor


@contextmanager
def name_input(name: str) -> Iterator[None]:
    """Lets errors about the image of another input begin with its name."""
    try:
        yield
    except RetroscopeError as error:
        error.args = (f"{name}: {error}",)
        raise


def prepare_other_file(
    net: "Network", name: str, file: AnyFile, source: str, **limits: Unpack[ReadLimits]
) -> NetworkInput:
    """Another image as the network takes it, from an open file; `source` is its name."""
    assert net.inputs is not None
    spec = net.inputs.kinds[name]
    assert isinstance(spec, ImageInput)
    return preparing_network(net, spec).prepare_file(file, source, **limits)


def show_others(net: "Network", image: NetworkInput) -> dict[str, RGB]:
    """The other inputs that are images, held or with an image, as the network receives them."""
    if net.inputs is None:
        return {}
    others = {name: value[None] for name, value in image.others.items()}
    values = {**net.inputs.held, **others}
    shown = {name: show_other(net, name, value) for name, value in values.items()}
    return {name: pixels for name, pixels in shown.items() if pixels is not None}


def show_other(net: "Network", name: str, value: object) -> RGB | None:
    """What an input looks like, from a tensor with one row; None if it is not an image."""
    assert net.inputs is not None
    spec = net.inputs.kinds.get(name)
    if not isinstance(spec, ImageInput) or not isinstance(value, torch.Tensor):
        return None
    values = value[0].float().cpu().numpy()
    pixels, _ = preparing_network(net, spec).preprocessing.show_input(values)
    return pixels


def undeclared_inputs_error(net: "Network") -> ModelError:
    """The error for other inputs of a network that declares none."""
    names = required_inputs(net.module)
    kind = "an image alone" if len(names) < 2 else list_words(names)
    return ModelError(f"{net.name} takes {kind}; {advise_to_declare(names)}")


def mapping_error(net: "Network", image: Mapping[str, object]) -> RetroscopeError:
    """The error for several inputs, or a sample, in place of the image of a network."""
    if len(required_inputs(net.module)) > 1:
        return undeclared_inputs_error(net)
    return ImageError(
        f"{net.name} takes an image, not {type(image).__name__}; of a sample of a data set, give "
        "the image alone"
    )


def hold_for_all(net: "Network", values: Values) -> "Network":
    """The network with values of its other inputs that are the same for all images."""
    inputs = net.inputs
    if inputs is None:
        raise undeclared_inputs_error(net)
    for name, value in values.items():
        if name == inputs.image:
            raise ModelError(
                f"{name!r} is the image that is looked back to; hold the others, or look at "
                "another one with rs.Network(module, inputs=..., look_at=...)",
                parameter="inputs",
            )
        known = dict.fromkeys((*inputs.kinds, *inputs.held))
        if name not in known:
            hint = did_you_mean(name, known) or f"it has {', '.join(known)}"
            raise ModelError(f"no input {name!r} of {net.name}; {hint}", parameter="inputs")
        inputs = inputs.hold(name, _prepare_held(net, name, value))
    holding = net.with_module(net.module, net.preprocessing.fit, inputs=inputs)
    holding.remarks = _held_remarks(net, values)
    return holding


def hold_prepared(net: "Network", held: Values, remarks: Sequence[str]) -> "Network":
    """The network with what another one of the same inputs holds, and the remarks of that one."""
    assert net.inputs is not None
    inputs = replace(net.inputs, held={**net.inputs.held, **held})
    holding = net.with_module(net.module, net.preprocessing.fit, inputs=inputs)
    holding.remarks = tuple(remarks)
    return holding


def _prepare_held(net: "Network", name: str, value: object) -> object:
    """A value as it is held: prepared if its kind was declared, otherwise as it is."""
    assert net.inputs is not None
    if name in net.inputs.kinds:
        return _prepare_other(net, name, value, net.input_size)[None]
    return batch_of_one(value)


def _held_remarks(net: "Network", values: Values) -> tuple[str, ...]:
    """What the notes of results say of what is held."""
    before = tuple(f"{name} is held at " for name in values)
    remarks = [remark for remark in net.remarks if not remark.startswith(before)]
    held = (f"{name} is held at {shorten(value)}" for name, value in values.items())
    return *remarks, *held
