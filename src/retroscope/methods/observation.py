"""One forward pass of one image: the maps of some layers, and the class scores if there are any."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from retroscope.engine.batching import NetworkInput
from retroscope.engine.isolation import preserve_state
from retroscope.errors import ModelError
from retroscope.methods.class_scores import ClassScores, run_classifier
from retroscope.methods.targets import stack_inputs, target_at
from retroscope.network import Network
from retroscope.results.heat_maps import Prediction
from retroscope.results.layers import Layer
from retroscope.results.projections import Activations


@dataclass(frozen=True, eq=False)
class Observation:
    """The maps of the layers, and the class scores or the reason why there are none."""

    activations: list[Activations]
    scores: ClassScores | ModelError

    def class_scores(self) -> ClassScores:
        """The scores of the image's classes. Raises ModelError if it has none."""
        if isinstance(self.scores, ModelError):
            raise self.scores
        return self.scores


def observe(net: Network, image: NetworkInput, layers: Sequence[Layer]) -> Observation:
    """Runs the image through the whole network, which need not be a classifier."""
    survey = net.survey(image.size)
    maps_by_index: dict[int, torch.Tensor] = {}

    def store_maps(index: int, maps: torch.Tensor) -> None:
        maps_by_index[index] = maps[0].float().cpu().clone()

    scores: ClassScores | ModelError
    with preserve_state(net.module), torch.no_grad():
        batch = stack_inputs(net, [image], channels_last=survey.channels_last)
        listeners = {layer.index: partial(store_maps, layer.index) for layer in layers}
        try:
            scores = run_classifier(net, survey, batch, listeners=listeners)
        except ModelError as error:
            scores = error
    activations = [
        Activations(layer, maps_by_index[layer.index].numpy(), image.source)
        for layer in layers
        if layer.index in maps_by_index
    ]
    return Observation(activations, scores)


def top_predictions(net: Network, scores: ClassScores, count: int) -> tuple[Prediction, ...]:
    """The most probable classes of a single image, best first."""
    probabilities = scores.probabilities[0]
    best = probabilities.argsort(descending=True, stable=True)[:count].tolist()
    return tuple(
        Prediction(target_at(net, index, len(probabilities)), float(probabilities[index]))
        for index in best
    )
