"""The images that a network accepts, found by running it on black ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from itertools import product

import torch

from retroscope.engine.batching import Size
from retroscope.engine.input_rank import CONVOLUTIONS
from retroscope.engine.isolation import device_of, dtype_of, preserve_state
from retroscope.engine.memory import is_out_of_memory
from retroscope.errors import ModelError
from retroscope.geometry import IMAGE_RANK, format_size

IMAGE_CHANNELS = (3, 1)
"""Of image files: colour and grey."""

USUAL_SIDES = (224, 32, 28, 64, 96, 128, 256, 299, 227)
"""The sides of the square images that most networks take, the most frequent first."""

SIZE_ATTRIBUTES = ("input_size", "img_size", "image_size")
"""Where modules store the size of their input."""

RANKS = {
    1: "is 1-D and takes signals; give input_size=(length,)",
    2: "is 2-D and takes images; give input_size=(height, width)",
    3: "is 3-D and takes volumes or video; give input_size=(depth, height, width)",
}
"""What networks take by their first convolution, and how it is stated."""

_NO_IMAGES: tuple[tuple[type[torch.nn.Module], str], ...] = (
    (torch.nn.RNNBase, "is recurrent and takes sequences; retroscope looks at single images"),
    (
        torch.nn.Embedding,
        "is an embedding and takes the indices of words; retroscope looks at single images",
    ),
)
"""First layers of networks that do not take images, and what these take."""


@dataclass(frozen=True)
class InputAdvice:
    """What a network takes instead of the images that it refuses, and the parameter that helps."""

    text: str
    parameter: str = ""


def infer_channels(module: torch.nn.Module, size: Size) -> int:
    """The channels of the images that a network takes.

    Those of its first convolution if image files have as many. Otherwise the network is run: its
    code may rearrange the pixels first, or the convolution that it registers first runs later.
    """
    channels = first_convolution_channels(module, len(size))
    if channels in IMAGE_CHANNELS:
        return channels
    fitting = (
        count
        for count in dict.fromkeys((channels, *IMAGE_CHANNELS))
        if count and accepts(module, count, *size)
    )
    return next(fitting, channels or IMAGE_CHANNELS[0])


def infer_size(module: torch.nn.Module) -> Size:
    """The size of the images that a network takes: one that it states, or the first usual one."""
    channels = first_convolution_channels(module) or IMAGE_CHANNELS[0]
    usual = [(side, side) for side in USUAL_SIDES]
    sizes = (*_stated_sizes(module), *usual)
    return next((size for size in sizes if accepts(module, channels, *size)), usual[0])


def first_convolution_channels(module: torch.nn.Module, rank: int = IMAGE_RANK) -> int:
    """The input channels of the first convolution along so many axes; 0 if there is none."""
    kind, _ = CONVOLUTIONS[rank]
    parts = (part for part in module.modules() if isinstance(part, kind))
    channels: int = next((convolution.in_channels for convolution in parts), 0)
    return channels


def accepts(module: torch.nn.Module, *shape: int) -> bool:
    """Whether a network runs on a black image of this shape."""
    image = torch.zeros(1, *shape, device=device_of(module), dtype=dtype_of(module))
    with preserve_state(module), torch.no_grad():
        try:
            module(image)
        except Exception as error:  # whatever the network's own code raises
            if is_out_of_memory(error):
                raise
            return False
    return True


def advise_on_input(
    module: torch.nn.Module, channels: int, size: Size, *, usual_size: Size
) -> InputAdvice | None:
    """What to do about a network that refuses these images, if that can be found out.

    `usual_size` is that to which images are fitted.
    """
    inputs = required_inputs(module)
    if len(inputs) > 1:
        listing = f"{len(inputs)} inputs ({', '.join(inputs)})"
        return InputAdvice(f"it takes {listing}; {advise_to_declare(inputs)}")
    if (
        len(size) == len(usual_size)
        and size != usual_size
        and accepts(module, channels, *usual_size)
    ):
        return InputAdvice(f"it runs {_pixels(usual_size)}; resize the image to that")
    for count, accepted_size in _candidates(module, channels, size):
        if accepts(module, count, *accepted_size):
            return _advise_to_change(channels, size, count, accepted_size)
    if len(size) == IMAGE_RANK and accepts(module, *size, channels):
        shape = (*size, channels)
        return InputAdvice(f"it runs images of {shape}; wrap it in a module that permutes images")
    return advise_on_first_layer(module, len(size))


def advise_to_declare(names: Sequence[str]) -> str:
    """How to declare the inputs of a module that takes several.

    >>> advise_to_declare(["left", "right"])
    "declare them with rs.Network(module, inputs={'left': 'image', 'right': ...})"
    """
    if len(names) < 2:
        return "others are declared with rs.Network(module, inputs=...)"
    example = ", ".join(f"{name!r}: ..." for name in names[1:])
    return f"declare them with rs.Network(module, inputs={{{names[0]!r}: 'image', {example}}})"


def required_inputs(module: torch.nn.Module) -> list[str]:
    """The parameters of `forward` that have no default, if its signature is known."""
    try:
        parameters = signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    variable = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return [
        parameter.name
        for parameter in parameters
        if parameter.kind not in variable and parameter.default is Parameter.empty
    ]


def _candidates(module: torch.nn.Module, channels: int, size: Size) -> Iterator[tuple[int, Size]]:
    """Channels and sizes to try: this size, those that the modules state, and the usual ones."""
    first = first_convolution_channels(module, len(size))
    counts = dict.fromkeys((channels, *IMAGE_CHANNELS, first))
    usual = (*_stated_sizes(module), *((side, side) for side in USUAL_SIDES))
    sizes = dict.fromkeys((size, *(usual if len(size) == IMAGE_RANK else ())))
    for candidate, count in product(sizes, counts):
        if count and (count, candidate) != (channels, size):
            yield count, candidate


def _stated_sizes(module: torch.nn.Module) -> Iterator[Size]:
    """The sizes of images that the modules of a network store."""
    for part in module.modules():
        for attribute in SIZE_ATTRIBUTES:
            match getattr(part, attribute, None):
                case int(side) | (int(side),) if side > 0:
                    yield side, side
                case (int(height), int(width)) | (_, int(height), int(width)) if height * width > 0:
                    yield height, width


def _advise_to_change(channels: int, size: Size, count: int, accepted_size: Size) -> InputAdvice:
    changes, advice = [], []
    if count != channels:
        values = "one value" if count == 1 else f"{count} values"
        changes.append(f"{count} {'channel' if count == 1 else 'channels'}")
        advice.append(f"{values} in mean and in std")
    if accepted_size != size:
        changes.append(_pixels(accepted_size))
        advice.append(f"input_size={accepted_size}")
    text = f"it runs images of {' and '.join(changes)}; give {' and '.join(advice)}"
    return InputAdvice(text, "mean" if accepted_size == size else "input_size")


def _pixels(size: Size) -> str:
    return f"{format_size(size)} pixels"


def advise_on_first_layer(module: torch.nn.Module, rank: int = IMAGE_RANK) -> InputAdvice | None:
    """That the first layer takes no input of so many axes, if that is so."""
    for name, part in module.named_modules():
        layer = f"its first layer, {name}," if name else "it"
        if isinstance(part, (*CONVOLUTIONS[rank], torch.nn.Linear)):
            return None
        for other, kinds in CONVOLUTIONS.items():
            if isinstance(part, kinds):
                return InputAdvice(f"{layer} {RANKS[other]}", "input_size")
        for kind, description in _NO_IMAGES:
            if isinstance(part, kind):
                return InputAdvice(f"{layer} {description}")
    return None


def refuse_unknown_size(module: torch.nn.Module) -> None:
    """Of volumes and signals no size is usual."""
    other = advise_on_first_layer(module)
    if other is not None and other.parameter == "input_size":
        raise ModelError(
            f"the size of the inputs of {type(module).__name__} is not known: {other.text} to "
            "rs.Network(module, ...)",
            parameter="input_size",
        )
