"""A forward pass whose graph starts at a layer: backward runs only through what follows it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from retroscope.engine.gradients import RuleHandler, gradients
from retroscope.engine.program import Survey
from retroscope.engine.rules import GRADIENT
from retroscope.errors import ModelError
from retroscope.methods.class_scores import NetworkOutput, run_network
from retroscope.methods.target_scorer import TargetScorer
from retroscope.network import Network
from retroscope.results.layers import Layer


@dataclass(frozen=True, eq=False)
class SplitForward:
    """A layer's maps for a batch (images, channels, height, width), and the network's output."""

    net: Network
    survey: Survey
    layer: Layer
    batch: torch.Tensor
    maps: torch.Tensor
    output: NetworkOutput

    def scores(self, scorers: Sequence[TargetScorer]) -> torch.Tensor:
        """The score of each image's target; one target per image."""
        return torch.stack([scorer.score(self.output, row) for row, scorer in enumerate(scorers)])

    def gradients(self, scorers: Sequence[TargetScorer]) -> torch.Tensor:
        """The gradient of each image's score at its maps; one target per image."""
        return gradients(self.scores(scorers), self.maps, retain_graph=True)


@torch.enable_grad()
def split_forward(net: Network, layer: Layer, batch: torch.Tensor) -> SplitForward:
    """Runs a whole forward pass in which only the layer's maps require gradients.

    The maps are replaced, in place, by a copy that is a leaf of the graph. So everything that the
    network holds of them, including views, leads back to the leaf.
    """
    survey = net.survey(tuple(batch.shape[2:]))
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

    output = run_network(
        net,
        survey,
        batch.clone(),
        listeners={layer.index: insert_leaf},
        execute=RuleHandler(GRADIENT),
    )
    return SplitForward(net, survey, layer, batch, leaves[0], output)
