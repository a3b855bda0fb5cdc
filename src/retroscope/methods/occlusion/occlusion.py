"""Cover each part of a picture in turn, and see what the network says (Zeiler & Fergus 2014, 4.2).

What an occluder cannot change is not computed again; every number is that of the whole run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile

import numpy as np
import torch

from retroscope.engine.batching import Size, how_many
from retroscope.engine.isolation import undisturbed
from retroscope.engine.memory import budget, in_batches
from retroscope.engine.survey import Step, Survey
from retroscope.errors import ModelError
from retroscope.methods.class_requests import fit_of, stack
from retroscope.methods.class_scores import ClassScores, check_finite_scores, run_classifier
from retroscope.methods.last_map import last_map
from retroscope.methods.occlusion.incremental import CleanResults, run_patched
from retroscope.methods.occlusion.occluders import Occluders, cover
from retroscope.methods.occlusion.patched_maps import BatchSpan, PatchedMaps
from retroscope.methods.targets import Wanted, target_at, target_of
from retroscope.network import AnyImage, Network, refuse_no_network
from retroscope.results.caveats import caveats_of
from retroscope.results.heat_maps import OcclusionMap, Target
from retroscope.results.layers import Layer
from retroscope.unit import Unit

_TOGETHER = 32
"""Occluders that run side by side; in larger batches the patches leave the processor's caches."""


def occlusion(
    net: Network,
    image: AnyImage,
    *,
    target: Wanted = None,
    size: int = 32,
    stride: int = 8,
    fill: str | float = "grey",
) -> OcclusionMap:
    """What the network says while a square covers each place of the picture.

    `fill` is `grey`, `mean` (the picture's own mean colour), `blur`, or a number in the space of
    the network's input.

    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.Flatten()))
    >>> occlusion(net, torch.ones(3, 8, 8), size=4, stride=2, target=1).probabilities.shape
    (3, 3)
    """
    refuse_no_network(net)
    prepared = net.prepare(image)
    occluders = Occluders.over(prepared.size, size=size, stride=stride)
    numbers = prepared.numbers.to(net.device)
    covered = cover(numbers, fill, net.preprocessing)
    survey = net.survey(prepared.size)
    with undisturbed(net.module), torch.no_grad():
        picture = stack(net, [prepared], channels_last=survey.channels_last)
        looking = _Looking.at(net, survey, picture, target)
        rows = looking.all(covered, occluders)
    grid = len(occluders.tops), len(occluders.lefts)
    unit = looking.unit
    return OcclusionMap(
        probabilities=rows[:, 0].reshape(grid).astype(np.float32),
        classes=rows[:, 1].reshape(grid).astype(np.int64),
        activations=rows[:, 2].reshape(grid).astype(np.float32) if unit else None,
        tops=occluders.tops,
        lefts=occluders.lefts,
        occluder=(size, size),
        fill=str(fill),
        target=looking.target,
        probability=looking.probability,
        unit=unit,
        activation=looking.activation,
        named=tuple(looking.called(int(one)) for one in np.unique(rows[:, 1])),
        caveats=caveats_of("occlusion"),
        size=prepared.size,
        picture=prepared.picture,
        source=prepared.source,
        fit=fit_of(net, image),
        notes=net.remarks,
    )


Rows = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
"""For each occluder the probability of the target, the most probable class, the activation."""
_NOTHING: Rows = np.empty((0, 3))


@dataclass(frozen=True, eq=False)
class _Looking:
    """A clean picture, and what is watched while it is covered."""

    net: Network
    survey: Survey
    picture: torch.Tensor
    target: Target
    probability: float
    classes: int
    unit: Unit | None
    layer: Layer | None
    activation: float

    @classmethod
    def at(cls, net: Network, survey: Survey, picture: torch.Tensor, wanted: Wanted) -> "_Looking":
        layer = _watched(net, survey.size)
        kept: list[torch.Tensor] = []
        seen = {} if layer is None else {layer.index: lambda maps: kept.append(_totals(maps))}
        verdict = run_classifier(net, survey, picture.clone(), hooks=seen)
        check_finite_scores(net, verdict)
        scores = verdict.scores[0]
        if wanted is None:
            target = target_at(net, int(scores.argmax()), len(scores))
        else:
            target = target_of(net, wanted, len(scores))
        unit = None
        if layer is not None:
            unit = Unit(layer.name, int(kept[0][0].argmax()), whole_map=True)
        return cls(
            net=net,
            survey=survey,
            picture=picture,
            target=target,
            probability=float(verdict.probabilities[0, target.index]),
            classes=len(scores),
            unit=unit,
            layer=layer,
            activation=float(kept[0][0].max()) if kept else 0.0,
        )

    def called(self, index: int) -> Target:
        return target_at(self.net, index, self.classes)

    def all(self, covered: torch.Tensor, occluders: Occluders) -> Rows:
        """The rows of all occluders, in reading order."""
        places, size, alone = occluders.places, occluders.size, _mixes(self.survey)
        if not alone:
            local = partial(self._where_it_changes, CleanResults(), covered, size)
            found = list(takewhile(_is_told, in_batches(places, _TOGETHER, local)))
            if sum(map(len, found)) == len(places):
                return np.concatenate(found)
        room = budget(self.net.device)
        together = how_many(self.survey, len(self.survey.steps) - 1, self.survey.size, room)
        whole = partial(self._wholly, covered, size)
        return np.concatenate(list(in_batches(places, 1 if alone else together, whole)))

    def _where_it_changes(
        self,
        clean: CleanResults,
        covered: torch.Tensor,
        size: int,
        places: Sequence[tuple[int, int]],
    ) -> Rows:
        """The rows of some occluders; none where that takes whole runs."""
        totals: list[torch.Tensor] = []

        def seen(maps: PatchedMaps | torch.Tensor) -> None:
            assert self.unit is not None
            assert self.unit.channel is not None
            if isinstance(maps, PatchedMaps):
                maps = maps.full_channel(self.unit.channel)
                totals.append(_totals(maps)[:, 0])
            else:
                totals.append(_totals(maps)[:, self.unit.channel])

        pictures = _patched(self.picture, covered, size, places)
        watched = {} if self.layer is None else {self.layer.index: seen}
        verdict = run_patched(self.net, self.survey, pictures, clean=clean, hooks=watched)
        return _NOTHING if verdict is None else self._rows(verdict, totals)

    def _wholly(self, covered: torch.Tensor, size: int, places: Sequence[tuple[int, int]]) -> Rows:
        """The rows by whole runs of occluded pictures."""
        totals: list[torch.Tensor] = []

        def seen(maps: torch.Tensor) -> None:
            assert self.unit is not None
            totals.append(_totals(maps)[:, self.unit.channel])

        pictures = _patched(self.picture, covered, size, places).full_maps()
        watched = {} if self.layer is None else {self.layer.index: seen}
        return self._rows(run_classifier(self.net, self.survey, pictures, hooks=watched), totals)

    def _rows(self, verdict: ClassScores, totals: Sequence[torch.Tensor]) -> Rows:
        probable = verdict.probabilities[:, self.target.index].double()
        best = verdict.scores.argmax(dim=1).double()
        total = totals[0].double() if totals else torch.zeros_like(probable)
        return torch.stack([probable, best, total], dim=1).cpu().numpy()


def _is_told(rows: Rows) -> bool:
    return len(rows) > 0


def _watched(net: Network, size: Size) -> Layer | None:
    try:
        return last_map(net, size)
    except ModelError:  # no convolution: there is no map to watch
        return None


def _totals(maps: torch.Tensor) -> torch.Tensor:
    """The sum of each map, in double precision (pictures, channels)."""
    return maps.double().sum(dim=(2, 3))


def _patched(
    picture: torch.Tensor, covered: torch.Tensor, size: int, places: Sequence[tuple[int, int]]
) -> PatchedMaps:
    tops, lefts = torch.tensor(places, device=picture.device).T
    patches = [covered[:, top : top + size, left : left + size] for top, left in places]
    height, width = picture.shape[2:]
    y, x = BatchSpan(tops, size, height), BatchSpan(lefts, size, width)
    return PatchedMaps(picture, torch.stack(patches), y, x, (2, 3))


def _mixes(survey: Survey) -> bool:
    """Whether a picture must run by itself: others of its batch, or their numbers, get to it."""
    return survey.alone or any(map(_leaks, survey.steps))


def _leaks(step: Step) -> bool:
    """Whether a step makes something else than a tensor of a tensor's numbers."""
    silent = step.motion is None and not step.shapes
    return silent and step.function.__name__ != "__setitem__" and _takes_tensors(step.given)


def _takes_tensors(given: object) -> bool:
    if isinstance(given, dict):
        given = tuple(given.values())
    return given == "tensor" or (isinstance(given, tuple) and any(map(_takes_tensors, given)))
