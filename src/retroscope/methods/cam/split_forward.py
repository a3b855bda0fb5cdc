"""A forward pass whose graph starts at a layer: backward runs only through what follows it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from retroscope.engine.gradients import RuleHandler, gradients
from retroscope.engine.program import Survey
from retroscope.engine.rules import GRADIENT
from retroscope.errors import ModelError
from retroscope.methods.class_scores import ClassScores, run_classifier
from retroscope.network import Network
from retroscope.results.layers import Layer


@dataclass(frozen=True, eq=False)
class SplitForward:
    """A layer's maps for a batch (images, channels, height, width), and the class scores."""

    net: Network
    survey: Survey
    layer: Layer
    batch: torch.Tensor
    maps: torch.Tensor
    class_scores: ClassScores

    def gradients(self, classes: Sequence[int]) -> torch.Tensor:
        """The gradient of each image's class score at its maps; one class per image."""
        target_scores = self.class_scores.scores[range(len(classes)), list(classes)]
        return gradients(target_scores, self.maps, retain_graph=True)


@torch.enable_grad()
def split_forward(net: Network, layer: Layer, batch: torch.Tensor) -> SplitForward:
    """Runs a whole forward pass in which only the layer's maps require gradients.

    The maps are replaced, in place, by a copy that is a leaf of the graph. So everything that the
    network holds of them, including views, leads back to the leaf.
    """
    height, width = batch.shape[2:]
    survey = net.survey((height, width))
    leaves: list[torch.Tensor] = []

    def insert_leaf(maps: torch.Tensor) -> None:
        leaves.append(maps.detach().clone().requires_grad_())
        try:
            maps.copy_(leaves[0])
        except RuntimeError as error:  # one of several views of a split or chunk
            raise ModelError(
                f"no gradient at {layer.name}: it gives pieces of one map, which have no gradients "
                "of their own; give the layer before or after it"
            ) from error

    class_scores = run_classifier(
        net,
        survey,
        batch.clone(),
        listeners={layer.index: insert_leaf},
        execute=RuleHandler(GRADIENT),
    )
    return SplitForward(net, survey, layer, batch, leaves[0], class_scores)
