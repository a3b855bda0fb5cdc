"""Runs the part of a network after one layer on edited maps of that layer."""

from collections.abc import Callable
from functools import partial

import torch

from retroscope.engine.intercept import run
from retroscope.engine.interpreter import Call, CannotFollow, ProgramInterpreter
from retroscope.engine.placeholders import placeholder, refuse_layout_query
from retroscope.engine.program import Step, Survey, to_channel_maps
from retroscope.engine.tensor_map import TensorMap, substitute_for
from retroscope.methods.class_scores import NetworkOutput, ScoreTracker, run_network
from retroscope.network import Network
from retroscope.results.layers import Layer

MapEdit = Callable[[torch.Tensor], None]
"""Edits a layer's maps (batch, channels, height, width) in place."""


def replay_from_layer(
    net: Network, survey: Survey, layer: Layer, *, input_tensor: torch.Tensor, maps: torch.Tensor
) -> NetworkOutput | None:
    """What the network returns for these maps (batch, channels, height, width) of the layer.

    Nothing before the layer is computed. None if the part after it reads more than the layer's
    maps, as a skip connection around the layer does.
    """
    if survey.has_hidden_calls:  # a scripted function would run on placeholders unnoticed
        return None
    handler = _LayerReplay(survey, layer.index, maps)
    batch = placeholder((len(maps), *input_tensor.shape[1:]), input_tensor)
    handler.placeholders[batch] = True
    try:
        result = run(net.module, batch, handler)
    except CannotFollow:
        return None
    return NetworkOutput(net, result, handler.tracker, len(maps), survey.size)


def run_with_edited_maps(
    net: Network,
    survey: Survey,
    layer: Layer,
    *,
    input_tensor: torch.Tensor,
    copies: int,
    edit: MapEdit,
) -> NetworkOutput:
    """What the network returns for `copies` of one input, run with the layer's maps edited."""
    batch = input_tensor.expand(copies, *input_tensor.shape[1:]).clone()
    return run_network(net, survey, batch, listeners={layer.index: edit})


class _LayerReplay(ProgramInterpreter):
    """Placeholders before the layer, the given maps as its output, real computation after it."""

    def __init__(self, survey: Survey, start: int, maps: torch.Tensor) -> None:
        super().__init__(survey)
        self.start = start
        self.maps = maps
        self.tracker = ScoreTracker()
        self.placeholders = TensorMap[bool]()
        self.replacements = TensorMap[torch.Tensor]()

    def prepare(self, call: Call) -> Call:
        return call.map_tensors(partial(substitute_for, self.replacements))

    def query(self, call: Call) -> object:
        if not self._is_computable(call):
            refuse_layout_query(call.function)
        return call.run()

    def identity(self, call: Call) -> object:
        return call.args[0]

    def create(self, call: Call) -> object:
        return self._run(call)

    def compute(self, step: Step, call: Call) -> object:
        if self._is_computable(call):
            return self._run(call)
        return self._skip(step, call) if self.count < self.start else self._insert_maps(step, call)

    def _is_computable(self, call: Call) -> bool:
        return not any(tensor in self.placeholders for tensor in call.tensors())

    def _run(self, call: Call) -> object:
        result = call.run()
        self.tracker.record(call, result)
        return result

    def _skip(self, step: Step, call: Call) -> object:
        """Placeholders for the results of a step before the layer."""
        target = call.target
        if target is not None and target in self.placeholders:
            return target
        if target is not None or not step.has_plain_results:
            raise CannotFollow
        batch_size = len(self.maps)
        outputs = [placeholder((batch_size * n, *rest), self.maps) for n, *rest in step.shapes]
        for output in outputs:
            self.placeholders[output] = True
        return step.assemble(outputs)

    def _insert_maps(self, step: Step, call: Call) -> object:
        """The layer's output, made from the maps; no later step may need a placeholder."""
        if self.count != self.start or step.form is not torch.Tensor or step.field is None:
            raise CannotFollow
        tokens = step.field.tokens
        if tokens is not None and (tokens.extra or len(step.shapes[0]) > len("btc")):
            raise CannotFollow  # the maps are not all of the output
        shape = (len(self.maps), *step.shapes[0][1:]) if step.shapes else ()
        layer_output = torch.empty(shape, dtype=self.maps.dtype, device=self.maps.device)
        to_channel_maps(layer_output, step.field.positions, step.field.rank).copy_(self.maps)
        if call.target is not None:
            self.replacements[call.target] = layer_output
        return layer_output
