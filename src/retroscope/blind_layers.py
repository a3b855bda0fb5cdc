"""Layers that read other inputs of a network, and nothing of the image: found by running it.

Where images are stacked in the batch dimension, as in `encoder(torch.cat([left, right]))`, no table
can say which of the maps that are taken apart again is that of which image.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from retroscope.engine.forward import run_forward
from retroscope.engine.isolation import device_of, dtype_of, preserve_state
from retroscope.engine.motion import Shape
from retroscope.engine.program import Survey
from retroscope.errors import DivergenceError
from retroscope.results.layers import UnlistedLayer

_SAMPLES = 64

Samples = dict[int, torch.Tensor]
"""Some values of layers, by their steps."""


def unlist_blind_layers(
    surveyed: Survey, modules: Sequence[torch.nn.Module], shape: Shape, *, image: str
) -> Survey:
    """The survey with those layers unlisted. The modules hold two sets of other inputs."""
    candidates = _layers_after_stacking(surveyed)
    if not candidates or len(modules) < 2:
        return surveyed
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(2, 1, *shape, generator=generator, device="cpu")
    sample = partial(_sample_layers, surveyed, candidates)
    try:
        first = sample(modules[0], images[0])
        other_image, other_inputs = sample(modules[0], images[1]), sample(modules[1], images[0])
    except DivergenceError:
        return surveyed
    blind = {
        step
        for step in candidates
        if torch.equal(first[step], other_image[step])
        and not torch.equal(first[step], other_inputs[step])
    }
    unlisted = [
        UnlistedLayer(layer.name, layer.kind, f"reads other inputs, and nothing of {image}")
        for layer in surveyed.layers
        if layer.index in blind
    ]
    layers = tuple(layer for layer in surveyed.layers if layer.index not in blind)
    return replace(surveyed, layers=layers, unlisted=(*surveyed.unlisted, *unlisted))


def _layers_after_stacking(surveyed: Survey) -> list[int]:
    """The steps of layers that read a stack of images, however far behind it."""
    after = set[int]()
    for number, step in enumerate(surveyed.steps):
        is_stack = step.field is not None and any(shape[:1] > (1,) for shape in step.shapes)
        if is_stack or not after.isdisjoint(step.inputs):
            after.add(number)
    return [layer.index for layer in surveyed.layers if layer.index in after]


def _sample_layers(
    surveyed: Survey, steps: Sequence[int], module: torch.nn.Module, image: torch.Tensor
) -> Samples:
    samples: Samples = {}

    def record(step: int, maps: torch.Tensor) -> None:
        values = maps.flatten()
        samples[step] = values[:: max(len(values) // _SAMPLES, 1)].float().cpu().clone()

    layout = torch.channels_last if surveyed.channels_last else torch.contiguous_format
    batch = image.to(device_of(module), dtype_of(module)).to(memory_format=layout)
    listeners = {step: partial(record, step) for step in steps}
    with preserve_state(module), torch.no_grad():
        run_forward(module, surveyed, batch.clone(), listeners)
    return samples
