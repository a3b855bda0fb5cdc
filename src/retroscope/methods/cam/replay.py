"""Runs the part of a network after one layer on edited maps of that layer."""

from collections.abc import Callable
from functools import partial

import torch

from retroscope.engine.intercept import run
from retroscope.engine.operations import (
    Args,
    Function,
    Kwargs,
    asks_only,
    is_itself,
    makes_anew,
    tensors_in,
    with_tensors,
)
from retroscope.engine.placeholders import Lost, blank, next_step, refuse_layout
from retroscope.engine.survey import Step, Survey, canonical, written
from retroscope.engine.tensor_map import Marks, instead
from retroscope.methods.class_scores import ScoreTracker, read_class_scores, run_classifier
from retroscope.network import Network
from retroscope.results.layers import Layer

MapEdit = Callable[[torch.Tensor], None]
"""Edits a layer's maps (batch, channels, height, width) in place."""


def replay_from_layer(
    net: Network, survey: Survey, layer: Layer, *, input_tensor: torch.Tensor, maps: torch.Tensor
) -> torch.Tensor | None:
    """The class scores for these maps (batch, channels, height, width) of the layer.

    Nothing before the layer is computed. None if the part after it reads more than the layer's
    maps, as a skip connection around the layer does.
    """
    handler = _LayerReplay(survey, layer.index, maps)
    placeholder = blank((len(maps), *input_tensor.shape[1:]), input_tensor)
    handler.placeholders[placeholder] = True
    try:
        result = run(net.module, placeholder, handler)
    except Lost:
        return None
    class_scores = read_class_scores(net, result, tracker=handler.tracker, batch_size=len(maps))
    return class_scores.scores


def run_with_edited_maps(
    net: Network,
    survey: Survey,
    layer: Layer,
    *,
    input_tensor: torch.Tensor,
    copies: int,
    edit: MapEdit,
) -> torch.Tensor:
    """The class scores of `copies` of one input, run end to end with the layer's maps edited."""
    batch = input_tensor.expand(copies, *input_tensor.shape[1:]).clone()
    return run_classifier(net, survey, batch, hooks={layer.index: edit}).scores


class _LayerReplay:
    """Placeholders before the layer, the given maps as its output, real computation after it."""

    def __init__(self, survey: Survey, start: int, maps: torch.Tensor) -> None:
        self.steps = survey.steps
        self.start = start
        self.maps = maps
        self.tracker = ScoreTracker()
        self.placeholders = Marks[bool]()
        self.replacements = Marks[torch.Tensor]()
        self.step_count = 0

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        replace = partial(instead, self.replacements)
        args, kwargs = with_tensors(args, replace), with_tensors(kwargs, replace)
        inputs = tensors_in(args, kwargs)
        is_computable = not any(tensor in self.placeholders for tensor in inputs)
        if asks_only(function):
            if not is_computable:
                refuse_layout(function)
            answer = function(*args, **kwargs)
            if next(tensors_in(answer), None) is None:
                return answer
        if is_itself(function, args):
            return args[0]
        step = next_step(self.steps, self.step_count, function)
        self.step_count += 1
        is_computable = is_computable or makes_anew(function)
        if self.step_count <= self.start or is_computable:
            return self._run_step(step, args, kwargs, is_computable=is_computable)
        return self._insert_maps(step, args, kwargs)

    def _run_step(self, step: Step, args: Args, kwargs: Kwargs, *, is_computable: bool) -> object:
        if is_computable:
            result = step.function(*args, **kwargs)
            self.tracker.record(step.function, args, kwargs, result)
            return result
        mutated = written(step.function, args, kwargs)
        if mutated is not None and mutated in self.placeholders:
            return mutated
        if mutated is not None or not step.shapes or step.form not in (torch.Tensor, tuple, list):
            raise Lost
        batch_size = len(self.maps)
        outputs = [blank((batch_size * size, *sizes), self.maps) for size, *sizes in step.shapes]
        for placeholder in outputs:
            self.placeholders[placeholder] = True
        return outputs[0] if step.form is torch.Tensor else step.form(outputs)

    def _insert_maps(self, step: Step, args: Args, kwargs: Kwargs) -> object:
        """The layer's output, made of the maps; `Lost` if a later step needs a placeholder."""
        if self.step_count != self.start + 1 or step.form is not torch.Tensor or step.seen is None:
            raise Lost
        shape = (len(self.maps), *step.shapes[0][1:]) if step.shapes else ()
        layer_output = torch.empty(shape, dtype=self.maps.dtype, device=self.maps.device)
        canonical(layer_output, step.seen.axes).copy_(self.maps)
        mutated = written(step.function, args, kwargs)
        if mutated is not None:
            self.replacements[mutated] = layer_output
        return layer_output
