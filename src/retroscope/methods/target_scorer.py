"""A target of an image, and its score in whatever the network returns for any batch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from retroscope.errors import ModelError
from retroscope.methods.class_scores import NetworkOutput
from retroscope.results.heat_maps import Mask, Target

ScoreReader = Callable[[NetworkOutput], torch.Tensor]
"""Reads one number for each image of a batch (images)."""


@dataclass(frozen=True, eq=False)
class TargetScorer:
    """What is explained in an image, and how it is scored in this and in changed images.

    `scores` are differentiable. `probabilities` are what the network makes of them; None for a
    number that is no probability. `mask` marks the pixels whose scores count, or those of the mask
    that a detector predicts for a box. `single_images` says that an output can only be read if it
    is that of one image, `is_local` that the score depends on the maps near its place, unlike a
    class of the whole image.
    """

    target: Target
    scores: ScoreReader
    probabilities: ScoreReader | None = None
    mask: Mask | None = None
    single_images: bool = False
    is_local: bool = False

    @property
    def measure(self) -> str:
        """What can be compared between images: the probability, or the score if there is none."""
        return "score" if self.probabilities is None else "probability"

    def score(self, output: NetworkOutput, row: int = 0) -> torch.Tensor:
        """The score in one image of a batch: a single number, differentiable."""
        return self.scores(output)[row]

    def probability(self, output: NetworkOutput, row: int = 0) -> float | None:
        """The probability in one image of a batch."""
        if self.probabilities is None:
            return None
        return float(self.probabilities(output)[row])

    def check_finite(self, output: NetworkOutput, row: int = 0) -> None:
        """Raises ModelError if the score is not finite: it has no useful gradient."""
        score = float(self.score(output, row).detach())
        if not torch.tensor(score).isfinite():
            raise ModelError(
                f"the score of {self.target} in {output.net.name} is not finite ({score}); check "
                "its weights, its mean and std, and whether it overflows in half precision"
            )


def class_scorer(target: Target) -> TargetScorer:
    """The scorer of a class of a classifier."""
    return TargetScorer(
        target,
        scores=lambda output: output.class_scores.scores[:, target.index],
        probabilities=lambda output: output.class_scores.probabilities[:, target.index],
    )
