"""One forward pass of one image: the maps of some layers, and what the network returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from retroscope.engine.batching import NetworkInput
from retroscope.engine.isolation import preserve_state
from retroscope.methods.box_targets import box_targets
from retroscope.methods.class_scores import ClassScores, NetworkOutput, run_network
from retroscope.methods.segment_targets import segment_predictions
from retroscope.methods.targets import stack_inputs, target_at
from retroscope.network import Network
from retroscope.results.heat_maps import Prediction
from retroscope.results.layers import Layer
from retroscope.results.projections import Activations


@dataclass(frozen=True, eq=False)
class Observation:
    """The maps of the layers, and what the network returned."""

    activations: list[Activations]
    output: NetworkOutput


def observe(net: Network, image: NetworkInput, layers: Sequence[Layer]) -> Observation:
    """Runs the image through the whole network, which need not be a classifier."""
    net = net.for_images([image])
    survey = net.survey(image.size)
    maps_by_index: dict[int, torch.Tensor] = {}

    def store_maps(index: int, maps: torch.Tensor) -> None:
        maps_by_index[index] = maps[0].float().cpu().clone()

    with preserve_state(net.module), torch.no_grad():
        batch = stack_inputs(net, [image], channels_last=survey.channels_last)
        listeners = {layer.index: partial(store_maps, layer.index) for layer in layers}
        output = run_network(net, survey, batch, listeners=listeners)
    activations = [
        Activations(layer, maps_by_index[layer.index].numpy(), image.source)
        for layer in layers
        if layer.index in maps_by_index
    ]
    return Observation(activations, output)


def top_predictions(output: NetworkOutput, count: int) -> tuple[Prediction, ...]:
    """What a network sees in a single image: its most probable classes, its most confident boxes,
    or its largest segments. Raises ModelError if it returns nothing of the kind.
    """
    if output.detections is not None:
        targets = box_targets(output.net, output.detections[0])[:count]
        return tuple(Prediction(target, target.score or 0.0) for target in targets)
    if output.logits is not None:
        return segment_predictions(output, count)
    return _top_classes(output.net, output.class_scores, count)


def _top_classes(net: Network, scores: ClassScores, count: int) -> tuple[Prediction, ...]:
    """The most probable classes of a single image, best first."""
    probabilities = scores.probabilities[0]
    best = probabilities.argsort(descending=True, stable=True)[:count].tolist()
    return tuple(
        Prediction(target_at(net, index, len(probabilities)), float(probabilities[index]))
        for index in best
    )
