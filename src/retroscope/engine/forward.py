"""A forward pass that shows the outputs of some layers."""

from collections.abc import Callable, Mapping
from typing import Never

import torch

from retroscope.engine.call_arguments import tensors_in
from retroscope.engine.intercept import Handler, execute_plainly, run
from retroscope.engine.interpreter import Call, ProgramInterpreter, refuse_divergence
from retroscope.engine.program import Step, Survey, to_channel_maps, tokens_of_grid
from retroscope.engine.tensor_map import address_of

MapListener = Callable[[torch.Tensor], object]


def run_forward(
    module: torch.nn.Module,
    survey: Survey,
    images: torch.Tensor,
    listeners: Mapping[int, MapListener],
    *,
    execute: Handler = execute_plainly,
) -> None:
    """Runs the images up to the last step that has a listener, and calls each with its output.

    An output is (batch, channels, height, width). Later steps may change it in place, so a listener
    that keeps it has to copy it.
    """
    run(module, images, _Forward(survey, listeners, execute))


def notify(listener: MapListener, step: Step, result: object) -> None:
    """Shows a listener the output of a step; int8 maps as the numbers they stand for."""
    output = next(tensors_in(result), None)
    if output is not None and step.field is not None:
        values = output.dequantize() if output.is_quantized else output
        maps = to_channel_maps(values, step.field.positions, step.field.rank)
        version = _version_of(maps)
        listener(maps)
        is_changed = version is None or _version_of(maps) != version
        if is_changed and address_of(maps) != address_of(values):
            _write_back(maps, values, step)


def _version_of(maps: torch.Tensor) -> int | None:
    """How often a tensor was changed in place; None in inference mode, which does not count."""
    return None if maps.is_inference() else maps._version


def _write_back(maps: torch.Tensor, output: torch.Tensor, step: Step) -> None:
    """Puts maps that a listener has changed into the output of which they are a copy."""
    if step.field is not None and step.field.tokens is not None:
        tokens = tokens_of_grid(output, step.field.tokens)
        tokens.copy_(maps.reshape(tokens.shape))


class _Forward(ProgramInterpreter):
    def __init__(
        self, survey: Survey, listeners: Mapping[int, MapListener], execute: Handler
    ) -> None:
        super().__init__(survey, last=max(listeners), execute=execute)
        self.listeners = listeners

    def diverge(self, call: Call) -> Never:
        refuse_divergence(self.steps[self.count], call)

    def create(self, call: Call) -> object:
        return self.compute(self.steps[self.count], call)

    def compute(self, step: Step, call: Call) -> object:
        result = call.run(self.execute)
        if self.count in self.listeners:
            notify(self.listeners[self.count], step, result)
        return result
