"""Where in a picture a class is seen, by the maps of a layer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np

from retroscope.engine.batching import Size, how_many
from retroscope.engine.isolation import undisturbed
from retroscope.engine.memory import budget, in_batches
from retroscope.engine.survey import Survey
from retroscope.errors import RetroscopeError, did_you_mean
from retroscope.methods.cam.cam_methods import METHODS, Method
from retroscope.methods.cam.split_forward import Halves, halves
from retroscope.methods.class_requests import Shown, by_size, stack
from retroscope.methods.class_scores import check_finite_scores
from retroscope.methods.last_map import map_named
from retroscope.methods.saliency import saliency
from retroscope.methods.targets import Wanted, target_at, target_of
from retroscope.network import AnyImage, Network, refuse_no_network
from retroscope.results.caveats import caveats_of
from retroscope.results.heat_maps import HeatMap, Target
from retroscope.results.layers import Layer

Request = tuple[AnyImage, Wanted]
_AT_ONCE = 64


def cam(
    net: Network,
    image: AnyImage,
    *,
    method: str = "gradcam",
    layer: str | Layer | None = None,
    target: Wanted = None,
) -> HeatMap:
    """Where in the picture a class is seen: the most probable one, if none is named.

    Without a layer, of the last maps before the head; the result names them.

    >>> import torch
    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1)))
    >>> cam(net, torch.ones(3, 8, 8), target=2).layer
    '0'
    """
    return next(cam_many(net, [(image, target)], method=method, layer=layer))


def cam_many(
    net: Network,
    requests: Iterable[Request],
    *,
    method: str = "gradcam",
    layer: str | Layer | None = None,
    memory: int | None = None,
) -> Iterator[HeatMap]:
    """The heat maps of many classes in many pictures, `(image, target)`, in the order asked.

    Pictures of one size run together, and all classes of one picture in one forward pass. `memory`
    is how many bytes a batch may take.
    """
    refuse_no_network(net)
    making = _method(method)
    room = memory or budget(net.device)
    waiting = iter(requests)
    while chunk := list(islice(waiting, _AT_ONCE)):
        found: dict[int, HeatMap] = {}
        with undisturbed(net.module):
            for size, shown in by_size(net, chunk).items():
                found |= _Job(net, method, making, size, map_named(net, layer, size)).run(
                    shown, room
                )
        if making.guided:
            found = {order: _guided(net, heat, chunk[order]) for order, heat in found.items()}
        yield from (found[order] for order in range(len(chunk)))


def _method(name: str) -> Method:
    if name not in METHODS:
        hint = did_you_mean(name, METHODS) or f"there are {', '.join(METHODS)}"
        raise RetroscopeError(f"no class activation map {name!r}; {hint}")
    return METHODS[name]


@dataclass(frozen=True)
class _Job:
    """Heat maps of one method and layer, for pictures of one size."""

    net: Network
    name: str
    method: Method
    size: Size
    layer: Layer

    def run(self, shown: Sequence[Shown], room: int) -> dict[int, HeatMap]:
        survey = self.net.survey(self.size)
        together = how_many(survey, len(survey.steps) - 1, self.size, room)
        found: dict[int, HeatMap] = {}
        for part in in_batches(shown, together, partial(self._batch, survey)):
            found |= part
        return found

    def _batch(self, survey: Survey, shown: Sequence[Shown]) -> dict[int, HeatMap]:
        """One forward pass for all pictures, then one way back for the n-th class of each."""
        images = [one.image for one in shown]
        pictures = stack(self.net, images, channels_last=survey.channels_last)
        half = halves(self.net, survey, self.layer, pictures)
        check_finite_scores(self.net, half.verdict, [image.source for image in images])
        probabilities = half.verdict.probabilities
        found: dict[int, HeatMap] = {}
        for turn in range(max(len(one.wanted) for one in shown)):
            targets = [self._target(half, n, one, turn) for n, one in enumerate(shown)]
            maps = self.method.heat(half, [target.index for target in targets])
            heats = maps.detach().clamp(min=0).float().cpu().numpy()
            for n, (one, target) in enumerate(zip(shown, targets, strict=True)):
                if turn < len(one.wanted):
                    order = one.wanted[turn][0]
                    share = float(probabilities[n, target.index])
                    score = float(half.verdict.scores[n, target.index].detach())
                    found[order] = self._heat(one, heats[n].copy(), target, (share, score))
        return found

    def _target(self, half: Halves, row: int, one: Shown, turn: int) -> Target:
        """The n-th class asked of a picture; its last one, where others ask for more."""
        scores = half.verdict.scores[row]
        wanted = one.wanted[min(turn, len(one.wanted) - 1)][1]
        if wanted is None:
            return target_at(self.net, int(scores.argmax()), len(scores))
        return target_of(self.net, wanted, len(scores))

    def _heat(
        self,
        one: Shown,
        values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]",
        target: Target,
        verdict: tuple[float, float],
    ) -> HeatMap:
        nothing = f"nothing in {self.layer.name} speaks for {target} by this method"
        return HeatMap(
            values=values,
            layer=self.layer.name,
            target=target,
            probability=verdict[0],
            score=verdict[1],
            method=self.name,
            caveats=caveats_of(self.name),
            size=one.image.size,
            picture=one.image.picture,
            source=one.image.source,
            fit=one.fit,
            notes=(*self.net.remarks, *(() if values.any() else (nothing,))),
        )


def _guided(net: Network, heat: HeatMap, request: Request) -> HeatMap:
    """The guided picture of the class where the heat is (Selvaraju 2017, 3.2)."""
    assert isinstance(heat.target, Target)
    fine = saliency(net, request[0], method="guided", target=heat.target.index).pixels
    assert fine is not None
    pixels = fine * heat.full()[..., None]
    return replace(heat, values=np.abs(pixels).max(axis=2), pixels=pixels)
