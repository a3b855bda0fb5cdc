"""The class activation map methods: one function and one row of `CAM_METHODS` each.

A method gets a `SplitForward` and one target per image, and returns the heat of each image (images,
height, width). Negative heat is clamped to zero afterwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from retroscope.engine.batching import max_batch_size
from retroscope.engine.memory import in_batches, memory_budget
from retroscope.engine.rule_choice import AUTO
from retroscope.methods.by_rank import INTERPOLATION
from retroscope.methods.cam.replay import replay_from_layer, run_with_edited_maps
from retroscope.methods.cam.split_forward import SplitForward
from retroscope.methods.class_scores import run_network
from retroscope.methods.target_scorer import TargetScorer


def _spatial(maps: torch.Tensor) -> tuple[int, ...]:
    """The dimensions of maps (images, channels, height, width) that are their axes."""
    return tuple(range(2, maps.dim()))


def _gradcam(split: SplitForward, scorers: Sequence[TargetScorer]) -> torch.Tensor:
    """Weights each map by the mean of its gradient (Selvaraju 2017)."""
    gradients = split.gradients(scorers)
    return _weighted_sum(gradients.mean(_spatial(gradients)), split)


def _gradcam_plus_plus(split: SplitForward, scorers: Sequence[TargetScorer]) -> torch.Tensor:
    """Weights positions by g^2 / (2 g^2 + sum(A) g^3) (Chattopadhay 2018, eq. 19)."""
    gradients = split.gradients(scorers)
    axes = _spatial(gradients)
    denominators = 2 + split.maps.sum(axes, keepdim=True) * gradients
    is_defined = (gradients != 0) & (denominators != 0)
    alphas = torch.where(is_defined, 1 / denominators, 0)
    return _weighted_sum((alphas * gradients.clamp(min=0)).sum(axes), split)


def _xgradcam(split: SplitForward, scorers: Sequence[TargetScorer]) -> torch.Tensor:
    """Weights the gradient at each position by the position's share of its map (Fu 2020)."""
    axes = _spatial(split.maps)
    totals = split.maps.sum(axes)
    products = (split.gradients(scorers) * split.maps).sum(axes)
    return _weighted_sum(torch.where(totals != 0, products / totals, 0), split)


def _hirescam(split: SplitForward, scorers: Sequence[TargetScorer]) -> torch.Tensor:
    """Gradient times map at each position (Draelos 2020)."""
    return (split.gradients(scorers) * split.maps).sum(dim=1)


def _layercam(split: SplitForward, scorers: Sequence[TargetScorer]) -> torch.Tensor:
    """As HiResCAM, with positive gradients only (Jiang 2021)."""
    return (split.gradients(scorers).clamp(min=0) * split.maps).sum(dim=1)


def _eigencam(split: SplitForward, _scorers: Sequence[TargetScorer]) -> torch.Tensor:
    """The maps projected on their first principal component (Muhammad 2020), for any class.

    The sign of a component is arbitrary: here it points to where the maps are large.
    """
    points = split.maps.detach().flatten(2).transpose(1, 2).double()
    centred = points - points.mean(dim=1, keepdim=True)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    component = (centred @ directions[:, 0, :, None])[..., 0]
    sign = (component * centred.sum(dim=2)).sum(dim=1, keepdim=True).sign()
    heat: torch.Tensor = (component * sign).reshape(split.maps[:, 0].shape).to(split.maps)
    return heat


def _scorecam(split: SplitForward, scorers: Sequence[TargetScorer]) -> torch.Tensor:
    """Weights each map by the score of the image masked with it (Wang 2020)."""
    weights = [
        _scores_of_masked_images(split, row, scorer).softmax(dim=0)
        for row, scorer in enumerate(scorers)
    ]
    return _weighted_sum(torch.stack(weights), split)


def _ablationcam(split: SplitForward, scorers: Sequence[TargetScorer]) -> torch.Tensor:
    """Weights each map by the share of the score that is lost without it (Desai 2020)."""
    weights = []
    for row, scorer in enumerate(scorers):
        score = scorer.score(split.output, row).detach()
        loss = score - _scores_without_each_map(split, row, scorer)
        weights.append(torch.where(score != 0, loss / score, loss))
    return _weighted_sum(torch.stack(weights), split)


def _weighted_sum(weights: torch.Tensor, split: SplitForward) -> torch.Tensor:
    weights = weights[(..., *(None,) * len(_spatial(split.maps)))]
    return (weights * split.maps).sum(dim=1)


@torch.no_grad()
def _scores_of_masked_images(split: SplitForward, row: int, scorer: TargetScorer) -> torch.Tensor:
    """The score of one image of the batch, masked with each map scaled to 0-1 in turn."""
    input_tensor, maps = split.batch[row : row + 1], split.maps[row].detach()

    def score(channels: Sequence[int]) -> torch.Tensor:
        masks = F.interpolate(
            maps[list(channels), None],
            size=input_tensor.shape[2:],
            mode=INTERPOLATION[maps.dim() - 1],
            align_corners=True,
        )
        axes = _spatial(masks)
        low, high = masks.amin(axes, keepdim=True), masks.amax(axes, keepdim=True)
        masked = input_tensor * (masks - low) / (high - low + 1e-8)
        return scorer.scores(run_network(split.net, split.survey, masked))

    return _score_channels(split, scorer, score)


@torch.no_grad()
def _scores_without_each_map(split: SplitForward, row: int, scorer: TargetScorer) -> torch.Tensor:
    """The score of one image of the batch, with each map set to zero in turn."""
    net, survey, layer = split.net, split.survey, split.layer
    input_tensor, maps = split.batch[row : row + 1], split.maps[row : row + 1].detach()

    def score(channels: Sequence[int]) -> torch.Tensor:
        copies = len(channels)

        def zero_channels(maps: torch.Tensor) -> None:
            maps[list(range(copies)), list(channels)] = 0

        edited = maps.expand(copies, *maps.shape[1:]).clone()
        zero_channels(edited)
        output = replay_from_layer(net, survey, layer, input_tensor=input_tensor, maps=edited)
        if output is None:
            output = run_with_edited_maps(
                net, survey, layer, input_tensor=input_tensor, copies=copies, edit=zero_channels
            )
        return scorer.scores(output)

    return _score_channels(split, scorer, score)


def _score_channels(
    split: SplitForward, scorer: TargetScorer, score: Callable[[Sequence[int]], torch.Tensor]
) -> torch.Tensor:
    """The scores for all channels of the maps, in batches that fit into memory."""
    survey, max_bytes = split.survey, memory_budget(split.net.device)
    batch_size = max_batch_size(survey, len(survey.steps) - 1, survey.size, max_bytes)
    batch_size = 1 if scorer.single_images else batch_size
    return torch.cat(list(in_batches(range(split.maps.shape[1]), batch_size, score)))


@dataclass(frozen=True)
class CamMethod:
    """How a method computes heat; `guided` multiplies it by the guided gradient at the pixels."""

    heat: Callable[[SplitForward, Sequence[TargetScorer]], torch.Tensor]
    guided: bool = False


CAM_METHODS: dict[str, CamMethod] = {
    "gradcam": CamMethod(_gradcam),
    "gradcam++": CamMethod(_gradcam_plus_plus),
    "hirescam": CamMethod(_hirescam),
    "layercam": CamMethod(_layercam),
    "xgradcam": CamMethod(_xgradcam),
    "eigencam": CamMethod(_eigencam),
    "scorecam": CamMethod(_scorecam),
    "ablationcam": CamMethod(_ablationcam),
    "guided-gradcam": CamMethod(_gradcam, guided=True),
}

METHOD_OF_CLASSES, METHOD_OF_PLACES = "gradcam", "layercam"
"""For a class of the whole image, and for a score that depends on the maps near its place."""


def resolve_method(method: str, scorer: TargetScorer) -> str:
    """The name of the method for a target.

    The gradient of a class after a mean over the image is the same at all positions; that of a box
    or a pixel is not zero at its place alone, and averaging it loses the place
    (`docs/decisions/0032`).
    """
    if method != AUTO:
        return method
    return METHOD_OF_PLACES if scorer.is_local else METHOD_OF_CLASSES
