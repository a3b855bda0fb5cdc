"""How each method makes heat of a layer's maps: one function each, one row in the table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from retroscope.engine.batching import how_many
from retroscope.engine.memory import budget, in_batches
from retroscope.methods.cam.replay import replay_from_layer, run_with_edited_maps
from retroscope.methods.cam.split_forward import Halves
from retroscope.methods.class_scores import run_classifier

SPACE = (2, 3)


def _gradcam(half: Halves, classes: Sequence[int]) -> torch.Tensor:
    """Each map weighs as much as the mean of its gradient (Selvaraju 2017)."""
    return _weighed(half.gradients(classes).mean(SPACE), half)


def _gradcam_pp(half: Halves, classes: Sequence[int]) -> torch.Tensor:
    """Positions weigh by g^2 / (2 g^2 + sum(A) g^3) (Chattopadhay 2018, eq. 19)."""
    gradients = half.gradients(classes)
    below = 2 + half.maps.sum(SPACE, keepdim=True) * gradients
    shares = torch.where((gradients != 0) & (below != 0), 1 / below, 0)
    return _weighed((shares * gradients.clamp(min=0)).sum(SPACE), half)


def _xgradcam(half: Halves, classes: Sequence[int]) -> torch.Tensor:
    """Gradients weigh by their position's share of the map (Fu 2020)."""
    totals = half.maps.sum(SPACE)
    products = (half.gradients(classes) * half.maps).sum(SPACE)
    return _weighed(torch.where(totals != 0, products / totals, 0), half)


def _hirescam(half: Halves, classes: Sequence[int]) -> torch.Tensor:
    """Gradient times map, position by position (Draelos 2020)."""
    return (half.gradients(classes) * half.maps).sum(dim=1)


def _layercam(half: Halves, classes: Sequence[int]) -> torch.Tensor:
    """As HiResCAM, of the positive gradients alone (Jiang 2021)."""
    return (half.gradients(classes).clamp(min=0) * half.maps).sum(dim=1)


def _eigencam(half: Halves, _classes: Sequence[int]) -> torch.Tensor:
    """The maps along their first principal component (Muhammad 2020), whatever the class.

    A component has no sign of its own: it points to where the maps are large.
    """
    points = half.maps.detach().flatten(2).transpose(1, 2).double()
    centred = points - points.mean(dim=1, keepdim=True)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    along = (centred @ directions[:, 0, :, None])[..., 0]
    sign = (along * centred.sum(dim=2)).sum(dim=1, keepdim=True).sign()
    heat: torch.Tensor = (along * sign).reshape(half.maps[:, 0].shape).to(half.maps)
    return heat


def _scorecam(half: Halves, classes: Sequence[int]) -> torch.Tensor:
    """Each map weighs by the score of the picture seen through it (Wang 2020)."""
    weights = [
        _seen_through(half, picture, wanted).softmax(dim=0)
        for picture, wanted in enumerate(classes)
    ]
    return _weighed(torch.stack(weights), half)


def _ablationcam(half: Halves, classes: Sequence[int]) -> torch.Tensor:
    """Each map weighs by the share of the score that is lost without it (Desai 2020)."""
    weights = []
    for picture, wanted in enumerate(classes):
        whole = half.verdict.scores[picture, wanted].detach()
        lost = whole - _without_each(half, picture, wanted)
        weights.append(torch.where(whole != 0, lost / whole, lost))
    return _weighed(torch.stack(weights), half)


def _weighed(weights: torch.Tensor, half: Halves) -> torch.Tensor:
    return (weights[:, :, None, None] * half.maps).sum(dim=1)


@torch.no_grad()
def _seen_through(half: Halves, picture: int, wanted: int) -> torch.Tensor:
    """The score of the class where the picture is dimmed by each map, scaled to 0..1."""
    numbers, maps = half.pictures[picture : picture + 1], half.maps[picture].detach()

    def work(some: Sequence[int]) -> torch.Tensor:
        masks = F.interpolate(
            maps[list(some), None], size=numbers.shape[2:], mode="bilinear", align_corners=True
        )
        low, high = masks.amin(SPACE, keepdim=True), masks.amax(SPACE, keepdim=True)
        dimmed = numbers * (masks - low) / (high - low + 1e-8)
        return run_classifier(half.net, half.survey, dimmed).scores[:, wanted]

    return _in_batches(half, work)


@torch.no_grad()
def _without_each(half: Halves, picture: int, wanted: int) -> torch.Tensor:
    """The score of the class where each map in turn is zero."""
    numbers, maps = half.pictures[picture : picture + 1], half.maps[picture : picture + 1].detach()

    def work(some: Sequence[int]) -> torch.Tensor:
        rows = list(range(len(some)))
        emptied = maps.expand(len(some), -1, -1, -1).clone()
        emptied[rows, list(some)] = 0
        scores = replay_from_layer(
            half.net, half.survey, half.layer, input_tensor=numbers, maps=emptied
        )
        if scores is None:

            def change(shown: torch.Tensor) -> None:
                shown[rows, list(some)] = 0

            scores = run_with_edited_maps(
                half.net,
                half.survey,
                half.layer,
                input_tensor=numbers,
                copies=len(some),
                edit=change,
            )
        return scores[:, wanted]

    return _in_batches(half, work)


def _in_batches(half: Halves, work: Callable[[Sequence[int]], torch.Tensor]) -> torch.Tensor:
    size = how_many(
        half.survey, len(half.survey.steps) - 1, half.survey.size, budget(half.net.device)
    )
    return torch.cat(list(in_batches(range(half.maps.shape[1]), size, work)))


@dataclass(frozen=True)
class Method:
    """How heat is made of a layer's maps; `guided` has it set off the guided picture too."""

    heat: Callable[[Halves, Sequence[int]], torch.Tensor]
    guided: bool = False


METHODS: dict[str, Method] = {
    "gradcam": Method(_gradcam),
    "gradcam++": Method(_gradcam_pp),
    "hirescam": Method(_hirescam),
    "layercam": Method(_layercam),
    "xgradcam": Method(_xgradcam),
    "eigencam": Method(_eigencam),
    "scorecam": Method(_scorecam),
    "ablationcam": Method(_ablationcam),
    "guided-gradcam": Method(_gradcam, guided=True),
}
