"""Class activation maps: where a target is seen in an image, from the maps of a layer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import overload

import numpy as np
import torch

from retroscope.argument_types import check_arguments
from retroscope.engine.batching import max_batch_size
from retroscope.engine.isolation import preserve_state
from retroscope.engine.memory import in_batches, memory_budget
from retroscope.engine.program import Survey
from retroscope.engine.rule_choice import AUTO
from retroscope.errors import choose
from retroscope.methods.activations import resolve_spatial_layer
from retroscope.methods.cam.cam_methods import CAM_METHODS, resolve_method
from retroscope.methods.cam.split_forward import SplitForward, split_forward
from retroscope.methods.image_lists import (
    AnImage,
    AnyImageList,
    ImageList,
    OneOrMany,
    is_image_list,
    prepare_list,
)
from retroscope.methods.saliency import saliency
from retroscope.methods.target_choice import check_scores, needs_single_images, resolve_scorer
from retroscope.methods.target_scorer import TargetScorer
from retroscope.methods.targets import ImageTargets, TargetSpec, group_by_size, stack_inputs
from retroscope.network import (
    AnyArray,
    AnyImage,
    AnyLayer,
    AnyNetwork,
    Network,
    OneImage,
    as_network,
)
from retroscope.results.caveats import LAYERCAM_BY_DEFAULT, caveats_of
from retroscope.results.heat_maps import HeatMap, Map, Target
from retroscope.results.layers import Layer

CamRequest = tuple[TargetSpec, AnyImage]
_CHUNK_SIZE = 64
"""Requests that are grouped by image size at a time."""


@overload
def cam(
    net: AnyNetwork,
    image: OneImage,
    *,
    method: str = ...,
    layer: AnyLayer | None = ...,
    target: TargetSpec = ...,
) -> HeatMap: ...
@overload
def cam(
    net: AnyNetwork,
    image: ImageList[AnImage],
    *,
    method: str = ...,
    layer: AnyLayer | None = ...,
    target: TargetSpec = ...,
) -> list[HeatMap]: ...
@overload
def cam(
    net: AnyNetwork,
    image: AnyArray,
    *,
    method: str = ...,
    layer: AnyLayer | None = ...,
    target: TargetSpec = ...,
) -> OneOrMany: ...
@check_arguments
def cam(
    net: AnyNetwork,
    image: AnyImage | AnyImageList,
    *,
    method: str = AUTO,
    layer: AnyLayer | None = None,
    target: TargetSpec = None,
) -> HeatMap | list[HeatMap]:
    """Where a class is seen in an image: the most probable class, if none is given.

    The target may also be a box of a detector (`box:1`, `box:12,30,80,99:cat`) or its mask
    (`mask:1`), a class of a segmenter at a place (`cat@120,80`, `cat@mask.png`), a number among the
    outputs (`output[0][3]`), or a function of what the network returns for one image. Without a
    target it is the most confident box, or the largest segment; the result says which. Boxes count
    from 1, classes from 0.

    The default method is Grad-CAM for a class, and LayerCAM for a target that depends on the maps
    near its place: a box, a segment or a pixel. The default layer is the last one before the head
    that has maps; of a detector with a pyramid it is the finest one that its neck reads, from
    stride 8. The result names both. A list of images, a batch of them in one array, or a data set
    gives a list of heat maps.

    >>> import torch
    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1)))
    >>> cam(net, torch.ones(3, 8, 8), target=2).layer
    '0'
    """
    net = as_network(net)
    if is_image_list(image, net.rank):
        requests = ((target, network_input) for network_input in prepare_list(net, image))
        return list(cam_many(net, requests, method=method, layer=layer))
    return next(cam_many(net, [(target, image)], method=method, layer=layer))


@check_arguments
def cam_many(
    net: AnyNetwork,
    requests: Iterable[CamRequest],
    *,
    method: str = AUTO,
    layer: AnyLayer | None = None,
    max_bytes: int | None = None,
) -> Iterator[HeatMap]:
    """The heat maps of many `(target, image)` requests, in the order of the requests.

    Images of one size run in batches of at most `max_bytes`, and all classes of an image share a
    forward pass.

    >>> import torch
    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1)))
    >>> image = torch.ones(3, 8, 8)
    >>> [heat.target.index for heat in cam_many(net, [(2, image), (0, image)])]
    [2, 0]
    """
    net = as_network(net)
    if method != AUTO:
        choose("class activation map", method, CAM_METHODS)
    max_bytes = max_bytes or memory_budget(net.device)
    iterator = iter(requests)
    while chunk := list(islice(iterator, _CHUNK_SIZE)):
        heat_maps: dict[int, HeatMap] = {}
        with preserve_state(net.module):
            for size, images in group_by_size(net, chunk).items():
                spatial_layer = resolve_spatial_layer(net, layer, size)
                run = _CamRun(net, net.survey(size), spatial_layer, method)
                heat_maps |= run.compute(images, max_bytes)
        for index, (target, image) in enumerate(chunk):
            heat_map = heat_maps[index]
            is_guided = CAM_METHODS[heat_map.method].guided
            yield _guide(net, heat_map, target, image) if is_guided else heat_map


@dataclass(frozen=True)
class _CamRun:
    """Heat maps of one method, or of that of each target, and of one layer, for one image size."""

    net: Network
    survey: Survey
    layer: Layer
    method: str

    def compute(self, images: Sequence[ImageTargets], max_bytes: int) -> dict[int, HeatMap]:
        """The heat map of each request, by the index of the request."""
        last_step = len(self.survey.steps) - 1
        batch_size = max_batch_size(self.survey, last_step, self.survey.size, max_bytes)
        if self.net.inputs is not None:  # a method runs many variants of one image
            batch_size = 1
        if any(needs_single_images(target) for image in images for _, target in image.targets):
            batch_size = 1
        heat_maps: dict[int, HeatMap] = {}
        for batch_heat_maps in in_batches(images, batch_size, self._compute_batch):
            heat_maps |= batch_heat_maps
        return heat_maps

    def _compute_batch(self, images: Sequence[ImageTargets]) -> dict[int, HeatMap]:
        """One forward pass for all images, then one backward pass for the n-th target of each."""
        inputs = [image_targets.image for image_targets in images]
        net = self.net.for_images(inputs)
        batch = stack_inputs(net, inputs, channels_last=self.survey.channels_last)
        split = split_forward(net, self.layer, batch)
        check_scores(split.output, [network_input.source for network_input in inputs])
        heat_maps: dict[int, HeatMap] = {}
        for turn in range(max(len(image_targets.targets) for image_targets in images)):
            scorers = [
                _scorer(split, row, image_targets, turn) for row, image_targets in enumerate(images)
            ]
            methods = [resolve_method(self.method, scorer) for scorer in scorers]
            values = _heat(split, scorers, methods).detach().clamp(min=0).float().cpu().numpy()
            for row, image_targets in enumerate(images):
                if turn < len(image_targets.targets):
                    heat_maps[image_targets.targets[turn][0]] = self._heat_map(
                        split,
                        row,
                        image=image_targets,
                        scorer=scorers[row],
                        method=methods[row],
                        values=values[row],
                    )
        return heat_maps

    def _heat_map(
        self,
        split: SplitForward,
        row: int,
        *,
        image: ImageTargets,
        scorer: TargetScorer,
        method: str,
        values: Map,
    ) -> HeatMap:
        is_box = scorer.target.box is not None
        no_evidence = f"no evidence for {scorer.target} in {self.layer.name} by this method"
        is_chosen = self.method == AUTO and scorer.is_local
        return HeatMap(
            values=values.copy(),
            layer=self.layer.name,
            target=scorer.target,
            probability=scorer.probability(split.output, row),
            score=float(scorer.score(split.output, row).detach()),
            method=method,
            caveats=(*image.image.caveats, *caveats_of(method, of_box=is_box)),
            size=image.image.size,
            image=image.image.rgb,
            source=image.image.source,
            fit=image.image.fit,
            notes=(
                *self.net.remarks,
                *((LAYERCAM_BY_DEFAULT,) if is_chosen else ()),
                *(() if values.any() else (no_evidence,)),
            ),
            mask=scorer.mask,
        )


def _heat(
    split: SplitForward, scorers: Sequence[TargetScorer], methods: Sequence[str]
) -> torch.Tensor:
    """The heat of each image by its own method (images, height, width)."""
    heats = {name: CAM_METHODS[name].heat(split, scorers) for name in dict.fromkeys(methods)}
    return torch.stack([heats[name][row] for row, name in enumerate(methods)])


def _scorer(split: SplitForward, row: int, image: ImageTargets, turn: int) -> TargetScorer:
    """The scorer of an image's n-th target; of its last one, if other images have more."""
    targets = image.targets
    return resolve_scorer(split.output, targets[min(turn, len(targets) - 1)][1], row)


def _guide(net: Network, heat_map: HeatMap, target: TargetSpec, image: AnyImage) -> HeatMap:
    """The guided gradient of the target, times the heat (Selvaraju 2017, 3.2)."""
    if isinstance(heat_map.target, Target) and not heat_map.target.description:
        target = heat_map.target.index
    guided = saliency(net, image, method="guided", target=target).pixels
    assert guided is not None
    pixels = guided * heat_map.full()[..., None]
    return replace(heat_map, values=np.abs(pixels).max(axis=-1), pixels=pixels)
