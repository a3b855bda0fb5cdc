"""A forward pass split at a layer: only what comes after the layer is kept for the way back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from retroscope.engine.gradients import ruled
from retroscope.engine.memory import is_out_of_memory
from retroscope.engine.rules import GRADIENT
from retroscope.engine.survey import Survey
from retroscope.errors import ModelError
from retroscope.methods.class_scores import ClassScores, run_classifier
from retroscope.network import Network
from retroscope.results.layers import Layer


@dataclass(frozen=True, eq=False)
class Halves:
    """A layer's maps for a batch (pictures, channels, height, width) and what came of them."""

    net: Network
    survey: Survey
    layer: Layer
    pictures: torch.Tensor
    maps: torch.Tensor
    verdict: ClassScores

    def gradients(self, classes: Sequence[int]) -> torch.Tensor:
        """How each picture's score of its class answers to each position of each map."""
        picked = self.verdict.scores[range(len(classes)), list(classes)]
        if not picked.requires_grad:
            raise ModelError(
                f"nothing leads back from the classes to {self.layer.name}: the network detaches "
                "it, or runs it with gradients switched off"
            )
        try:
            (found,) = torch.autograd.grad(
                picked.sum(), self.maps, retain_graph=True, materialize_grads=True
            )
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise ModelError(f"torch cannot look back through this network: {error}") from error
        return found


@torch.enable_grad()
def halves(net: Network, survey: Survey, layer: Layer, pictures: torch.Tensor) -> Halves:
    """One forward pass of the whole network; neither pictures nor parameters ask for gradients.

    The layer's output is written back onto itself through a copy that asks for its gradient, so
    that whatever the network's code holds on to, also a view or a tensor changed in place, leads
    there.
    """
    kept: list[torch.Tensor] = []

    def cut(maps: torch.Tensor) -> None:
        kept.append(maps.detach().clone().requires_grad_())
        try:
            maps.copy_(kept[0])
        except RuntimeError as error:  # one of the several views that a split gives
            raise ModelError(
                f"{layer.name} gives pieces of one map, which have no way back of their own; "
                "name the layer before it or after it"
            ) from error

    book = ruled(GRADIENT)
    verdict = run_classifier(net, survey, pictures.clone(), hooks={layer.index: cut}, execute=book)
    return Halves(net, survey, layer, pictures, kept[0], verdict)
