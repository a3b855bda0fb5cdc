"""The survey of a network for images of one size; a network that does not run is refused."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from retroscope.accepted_images import advise_on_first_layer, advise_on_input
from retroscope.blind_layers import unlist_blind_layers
from retroscope.engine.batch_test import mixes_images
from retroscope.engine.held_inputs import held_forward
from retroscope.engine.memory import is_out_of_memory
from retroscope.engine.motion import Shape
from retroscope.engine.program import Survey
from retroscope.engine.survey import survey
from retroscope.errors import ModelError, RetroscopeError, describe_error
from retroscope.geometry import format_size
from retroscope.input_binding import blank_module, random_modules
from retroscope.module_inputs import list_values

if TYPE_CHECKING:
    from retroscope.network import Network


_INPUTS = {1: "a signal", 2: "an image", 3: "a volume"}


def survey_network(net: "Network", shape: Shape) -> Survey:
    """The program of a network for black images of this shape (channels, height, width).

    What comes with each image is black or zero.
    """
    channels, *lengths = shape
    size = tuple(lengths)
    module = blank_module(net, size)
    try:
        surveyed = survey(module, shape)
    except RetroscopeError:
        raise
    except Exception as error:  # whatever the network's own code raises
        if is_out_of_memory(error):
            raise
        reason = describe_error(error)
        if held_forward(module) is not None:
            raise _inputs_error(net, module, shape, reason) from error
        advice = advise_on_input(module, channels, size, usual_size=net.input_size)
        raise ModelError(
            f"{net.name} cannot run {_INPUTS[len(size)]} of {channels} channels and "
            f"{format_size(size)} pixels: {f'{advice.text} ({reason})' if advice else reason}",
            parameter=advice.parameter if advice else "",
        ) from error
    other = None if surveyed.layers else advise_on_first_layer(net.module, len(size))
    if other is not None:  # it has run because a batch of images looks like one of its inputs
        raise ModelError(f"{net.name} has no layer that sees an image: {other.text}")
    if net.inputs is None:
        return surveyed
    modules = random_modules(net, size)
    seeing = unlist_blind_layers(surveyed, modules, shape, image=net.inputs.image)
    return _with_batch_test(seeing, shape, modules) if net.inputs.per_image else seeing


def _inputs_error(net: "Network", module: torch.nn.Module, shape: Shape, reason: str) -> ModelError:
    """The error of a network that does not run with its inputs as they are declared and held."""
    forward = held_forward(module)
    assert forward is not None
    return ModelError(
        f"{net.name} cannot run {forward.image} of shape {tuple(shape)} with "
        f"{list_values(forward.values)}: {reason}; check what is declared for its inputs, and what "
        "is held",
        parameter="inputs",
    )


def _with_batch_test(surveyed: Survey, shape: Shape, modules: Sequence[torch.nn.Module]) -> Survey:
    """The survey of a network whose images come with other inputs, which must not mix either."""
    *single, together = modules
    return replace(surveyed, batch_test=partial(mixes_images, together, shape, single=single))
