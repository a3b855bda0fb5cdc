"""The inputs of a network that takes several: which is looked back to, and what the others are."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from numbers import Integral
from typing import Any

import numpy as np
import torch

from retroscope.argument_types import channel_values, shorten
from retroscope.engine.held_inputs import CallPattern, HeldForward, InputSlot, held_forward
from retroscope.errors import (
    ImageError,
    MissingInputsError,
    ModelError,
    did_you_mean,
    list_words,
)
from retroscope.imaging.image import Fit

Size = tuple[int, ...]

IMAGE = "image"
"""Short for an `ImageInput` that is prepared as the image that is looked back to."""


@dataclass(frozen=True)
class ImageInput:
    """An image among the inputs of a network, and how it is prepared.

    What is not given is as for the image that is looked back to. A single mean is for grey images,
    such as masks and depth. `value_range` is what becomes 0 and 1, as for a `Network`.

    >>> ImageInput(mean=(0.5,), std=(0.25,)).mean
    (0.5,)
    """

    input_size: Size | None = None
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    fit: Fit | None = None
    value_range: Sequence[float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", channel_values("mean", self.mean))
        object.__setattr__(self, "std", channel_values("std", self.std))

    @property
    def description(self) -> str:
        """What it is, in words."""
        return "an image"

    @property
    def example(self) -> str:
        """What the command line can give for it."""
        return "FILE"


@dataclass(frozen=True)
class NumberInput:
    """Numbers among the inputs of a network: the shape that they have for one image.

    `dtype` is that of the network by default; `torch.long` is for indices.

    >>> NumberInput(3).shape, NumberInput().shape
    ((3,), ())
    """

    shape: int | tuple[int, ...] = ()
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        shape = self.shape if isinstance(self.shape, Sequence) else (self.shape,)
        if not all(isinstance(length, Integral) and length > 0 for length in shape):
            raise ModelError(
                "the shape of a NumberInput is one length or several, such as 3 or (2, 3), not "
                f"{self.shape!r}",
                parameter="inputs",
            )
        if not isinstance(self.dtype, torch.dtype | None):
            raise ModelError(
                "the dtype of a NumberInput is one of torch, such as torch.long, not "
                f"{self.dtype!r}",
                parameter="inputs",
            )
        object.__setattr__(self, "shape", tuple(map(int, shape)))

    @property
    def size(self) -> tuple[int, ...]:
        """The shape for one image."""
        return (self.shape,) if isinstance(self.shape, int) else tuple(self.shape)

    @property
    def description(self) -> str:
        """What it is, in words.

        >>> NumberInput(2).description, NumberInput((2, 3), dtype=torch.long).description
        ('2 numbers', 'whole numbers of shape (2, 3)')
        """
        return _count_numbers(self.size, "whole number" if self._takes_whole_numbers else "number")

    @property
    def _takes_whole_numbers(self) -> bool:
        return self.dtype is not None and not (
            self.dtype.is_floating_point or self.dtype.is_complex
        )

    def tensor_of(self, name: str, value: object) -> torch.Tensor:
        """The numbers of one image, which may also be in a row, whatever their shape is."""
        try:
            tensor = torch.as_tensor(value, device="cpu")
        except (TypeError, ValueError, RuntimeError) as error:
            raise ImageError(f"{name} is {self.description}, not {shorten(value)}") from error
        if tensor.dim() < 2 and tensor.numel() == torch.Size(self.size).numel():
            tensor = tensor.reshape(self.size)
        if tuple(tensor.shape) != self.size:
            given = _count_numbers(tuple(tensor.shape), "number").replace("a number", "1 number")
            raise ImageError(f"{name} is {self.description}, not {given}")
        if self._takes_whole_numbers and tensor.is_floating_point():
            self._refuse_fractions(name, tensor)
        return tensor.detach().clone()

    def _refuse_fractions(self, name: str, tensor: torch.Tensor) -> None:
        fractions = tensor[tensor != tensor.round()]
        if fractions.numel():
            raise ImageError(f"{name} is {self.description}, not {float(fractions[0]):g}")

    def parse(self, name: str, text: str) -> torch.Tensor:
        """The numbers in a text, with commas or spaces between them.

        >>> NumberInput(2).parse("season", "0.5, 1").tolist()
        [0.5, 1.0]
        """
        try:
            numbers = [float(number) for number in re.split(r"[\s,;]+", text.strip())]
        except ValueError as error:
            raise ImageError(
                f"{name} is {shorten(text)}; write {self.description}, as in {self.example}"
            ) from error
        return self.tensor_of(name, numbers)

    @property
    def example(self) -> str:
        """An example of such numbers as a text; only the first of many."""
        count = torch.Size(self.size).numel()
        step = 1 if self._takes_whole_numbers else 0.5
        return ",".join(f"{step * number:g}" for number in range(1, min(count, 3) + 1)) + (
            ",..." if count > 3 else ""
        )


def _count_numbers(shape: tuple[int, ...], noun: str) -> str:
    if len(shape) > 1:
        return f"{noun}s of shape {shape}"
    count = shape[0] if shape else 1
    return f"a {noun}" if count == 1 else f"{count} {noun}s"


OtherInput = ImageInput | NumberInput

_FEW = 8
"""Up to this many numbers are written one by one."""


def describe_value(value: object) -> str:
    """A value of an input, with one row if it is a tensor: few numbers, of more their shape.

    >>> describe_value(torch.tensor([[0.5, 2.0]])), describe_value(torch.zeros(1, 3, 8, 8))
    ('0.5, 2', 'of shape (3, 8, 8)')
    """
    if not isinstance(value, torch.Tensor):
        return shorten(value)
    row = value[0]
    if row.numel() > _FEW:
        return f"of shape {tuple(row.shape)}"
    return ", ".join(f"{float(number):g}" for number in row.flatten())


def list_values(values: Mapping[str, object]) -> str:
    """The values of inputs as a sentence lists them."""
    return list_words([f"{name} {describe_value(value)}" for name, value in values.items()])


@dataclass(frozen=True, eq=False)
class ModuleInputs:
    """How a module of several inputs is called, and what comes with each image.

    `image` is the input that is looked back to, prepared as `own`. `kinds` are what the others are.
    `held` are the same for all images: tensors with a row for one, and values that are passed as
    they are.
    """

    image: str
    own: ImageInput
    kinds: Mapping[str, OtherInput]
    held: Mapping[str, object]
    pattern: CallPattern

    @property
    def per_image(self) -> dict[str, OtherInput]:
        """The inputs that come with each image."""
        return {name: kind for name, kind in self.kinds.items() if name not in self.held}

    @property
    def holds_maps(self) -> bool:
        """Whether something of the size of an image is held, beside which no other size fits."""
        tensors = (value for value in self.held.values() if isinstance(value, torch.Tensor))
        return any(tensor.dim() > 3 for tensor in tensors)

    def bind(self, module: torch.nn.Module, values: Mapping[str, object] | None) -> HeldForward:
        """The forward of a module with these values of what comes with each image, if there are."""
        missing = () if values is not None else tuple(self.per_image)
        held = {**self.held, **(values or {})}
        by_image = tuple(self.per_image)
        return HeldForward(module, self.pattern, self.image, held, by_image, missing, self)

    def hold(self, name: str, value: object) -> "ModuleInputs":
        """The same inputs, one of them held for all images."""
        return replace(self, held={**self.held, name: value})

    def sort(self, image: object, network: str) -> tuple[object, dict[str, object]]:
        """The image that is looked back to, and the others by name."""
        if not isinstance(image, Mapping):
            if self.per_image:
                raise self.missing_error(network, list(self.per_image))
            return image, {}
        unknown = [name for name in image if name != self.image and name not in self.per_image]
        if unknown:
            name = str(unknown[0])
            known = (self.image, *self.per_image)
            hint = did_you_mean(name, known) or f"it takes {self._listing()}"
            reason = "is held" if name in self.held else "is not an input"
            raise ImageError(f"{name!r} {reason} of {network}; {hint}", parameter="inputs")
        if self.image not in image:
            raise ImageError(
                f"{network} takes {self._listing()}; {self.image!r} is missing", parameter="inputs"
            )
        missing = [name for name in self.per_image if name not in image]
        if missing:
            raise self.missing_error(network, missing)
        return image[self.image], {name: image[name] for name in self.per_image}

    def missing_error(self, network: str, missing: Sequence[str]) -> MissingInputsError:
        """The error for an image without some of what comes with it."""
        described = [f"{name!r}, {self.per_image[name].description}" for name in missing]
        entries = ", ".join(f"{name!r}: ..." for name in (self.image, *self.per_image))
        return MissingInputsError(
            f"{network} takes {self._listing()}; give {{{entries}}} as the image, or hold one for "
            f"all images with net.hold({missing[0]}=...): it lacks {list_words(described)}",
            network=network,
            image=self.image,
            missing={name: self.per_image[name].example for name in missing},
        )

    def _listing(self) -> str:
        return list_words((self.image, *self.per_image))


InputDeclaration = Mapping[str, object] | ModuleInputs | None
"""What each argument of a module is, by name; None if it takes an image alone."""


def declare_inputs(
    module: torch.nn.Module, inputs: InputDeclaration, look_at: str
) -> tuple[torch.nn.Module, ModuleInputs | None]:
    """The user's module, and its inputs as they are declared; None if it takes an image alone.

    A module whose inputs are held already keeps its declaration.
    """
    forward = held_forward(module)
    if forward is not None:
        module = forward.module
        inputs = forward.declaration if inputs is None else inputs
    if inputs is None or isinstance(inputs, ModuleInputs):
        if look_at:
            raise ModelError(
                "look_at names one of the inputs; give inputs, too", parameter="inputs"
            )
        return module, inputs
    if not isinstance(inputs, Mapping) or not inputs:
        raise ModelError(
            "inputs has an entry for each argument of forward, as in "
            f"{{'left': 'image', 'right': 'image'}}, not {shorten(inputs)}",
            parameter="inputs",
        )
    _refuse_repeated([name for name, _ in _leaves(inputs)])
    leaves = dict(_leaves(inputs))
    images = [name for name, spec in leaves.items() if isinstance(spec, ImageInput)]
    _check_look_at(look_at, images)
    image = look_at or images[0]
    others = {name: spec for name, spec in leaves.items() if name != image}
    kinds = {name: spec for name, spec in others.items() if isinstance(spec, OtherInput)}
    held = {name: batch_of_one(spec) for name, spec in others.items() if name not in kinds}
    own = leaves[image]
    assert isinstance(own, ImageInput)
    return module, ModuleInputs(image, own, kinds, held, _call_pattern(module, inputs))


def _check_look_at(look_at: str, images: Sequence[str]) -> None:
    if not images:
        raise ModelError(
            "none of the inputs is an image; declare one as 'image'", parameter="inputs"
        )
    if look_at and look_at not in images:
        hint = did_you_mean(look_at, images) or f"choose from {', '.join(images)}"
        raise ModelError(f"no image {look_at!r} among the inputs; {hint}", parameter="look_at")


def _leaves(inputs: Mapping[Any, object]) -> Iterator[tuple[str, object]]:
    """Each input with its name, also those inside an argument that is a dictionary."""
    for name, spec in inputs.items():
        if isinstance(spec, Mapping):
            yield from _leaves(spec)
        else:
            yield str(name), _parse(str(name), spec)


def _refuse_repeated(names: Sequence[str]) -> None:
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ModelError(
            f"two inputs are called {repeated[0]!r}; wrap the module", parameter="inputs"
        )


def _parse(name: str, spec: object) -> object:
    """An input as it is declared: a kind of input, or the value that is held for it."""
    kinds = (str, ImageInput, NumberInput)
    if isinstance(spec, list | tuple) and any(isinstance(member, kinds) for member in spec):
        raise ModelError(
            f"{name} is a list of inputs, which have no names; wrap the module in one that takes "
            "them by name",
            parameter="inputs",
        )
    if isinstance(spec, str) and spec == IMAGE:
        return ImageInput()
    if isinstance(spec, str):
        raise ModelError(
            f"{name} is {spec!r}; an input is 'image', rs.ImageInput(...), rs.NumberInput(...), or "
            f"a value; net.hold({name}=...) holds an image for it",
            parameter="inputs",
        )
    return spec


def batch_of_one(value: object) -> object:
    """A value as it is held: a tensor for one image, with a dimension for images in front."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    return value.detach().clone()[None] if isinstance(value, torch.Tensor) else value


def _call_pattern(module: torch.nn.Module, inputs: Mapping[Any, object]) -> CallPattern:
    """Inputs by keyword where the signature names them, otherwise in their order."""
    slots = {str(name): _slots(str(name), spec) for name, spec in inputs.items()}
    try:
        parameters = signature(module.forward).parameters
    except (TypeError, ValueError):
        return CallPattern(tuple(slots.values()))
    _check_names(parameters, slots)
    kinds = {name: parameter.kind for name, parameter in parameters.items()}
    by_keyword = Parameter.VAR_KEYWORD in kinds.values()
    must_be_positional = [
        kinds.get(name) is Parameter.POSITIONAL_ONLY or (name not in kinds and not by_keyword)
        for name in slots
    ]
    last = max((place for place, must in enumerate(must_be_positional) if must), default=-1)
    positional = [
        name for name in list(slots)[: last + 1] if kinds.get(name) is not Parameter.KEYWORD_ONLY
    ]
    kwargs = {name: slot for name, slot in slots.items() if name not in positional}
    return CallPattern(tuple(slots[name] for name in positional), kwargs)


def _slots(name: str, spec: object) -> object:
    if isinstance(spec, Mapping):
        return {key: _slots(str(key), member) for key, member in spec.items()}
    return InputSlot(name)


def _check_names(parameters: Mapping[str, Parameter], slots: Mapping[str, object]) -> None:
    """Refuses inputs that `forward` does not take, and those that it needs as well."""
    variable = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    named = {name: entry for name, entry in parameters.items() if entry.kind not in variable}
    call = f"forward({', '.join(parameters)})"
    if len(named) == len(parameters):
        for name in slots:
            if name not in named:
                hint = did_you_mean(name, named) or "name its arguments"
                raise ModelError(f"{call} has no {name!r}; {hint}", parameter="inputs")
    for name, entry in named.items():
        if entry.default is Parameter.empty and name not in slots:
            raise ModelError(f"{call} needs {name!r}; add it to inputs", parameter="inputs")
