"""Class activation maps: where a class is seen in an image, from the maps of a layer."""

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
from retroscope.errors import choose
from retroscope.methods.activations import resolve_spatial_layer
from retroscope.methods.cam.cam_methods import CAM_METHODS, CamMethod
from retroscope.methods.cam.split_forward import SplitForward, split_forward
from retroscope.methods.class_scores import check_finite_scores
from retroscope.methods.image_lists import (
    AnImage,
    AnyImageList,
    ImageList,
    OneOrMany,
    is_image_list,
    prepare_list,
)
from retroscope.methods.saliency import saliency
from retroscope.methods.targets import (
    ImageTargets,
    TargetSpec,
    group_by_size,
    resolve_target,
    stack_inputs,
)
from retroscope.network import (
    AnyArray,
    AnyImage,
    AnyLayer,
    AnyNetwork,
    Network,
    OneImage,
    as_network,
)
from retroscope.results.caveats import caveats_of
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
    method: str = "gradcam",
    layer: AnyLayer | None = None,
    target: TargetSpec = None,
) -> HeatMap | list[HeatMap]:
    """Where a class is seen in an image: the most probable class, if none is given.

    The default layer is the last one before the head that has maps; the result names it. A list of
    images, a batch of them in one array, or a data set gives a list of heat maps.

    >>> import torch
    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1)))
    >>> cam(net, torch.ones(3, 8, 8), target=2).layer
    '0'
    """
    net = as_network(net)
    if is_image_list(image):
        requests = ((target, network_input) for network_input in prepare_list(net, image))
        return list(cam_many(net, requests, method=method, layer=layer))
    return next(cam_many(net, [(target, image)], method=method, layer=layer))


@check_arguments
def cam_many(
    net: AnyNetwork,
    requests: Iterable[CamRequest],
    *,
    method: str = "gradcam",
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
    cam_method = choose("class activation map", method, CAM_METHODS)
    max_bytes = max_bytes or memory_budget(net.device)
    iterator = iter(requests)
    while chunk := list(islice(iterator, _CHUNK_SIZE)):
        heat_maps: dict[int, HeatMap] = {}
        with preserve_state(net.module):
            for size, images in group_by_size(net, chunk).items():
                spatial_layer = resolve_spatial_layer(net, layer, size)
                run = _CamRun(net, net.survey(size), spatial_layer, method, cam_method)
                heat_maps |= run.compute(images, max_bytes)
        for index, (_, image) in enumerate(chunk):
            heat_map = heat_maps[index]
            yield _guide(net, heat_map, image) if cam_method.guided else heat_map


@dataclass(frozen=True)
class _CamRun:
    """Heat maps of one method and layer, for images of one size."""

    net: Network
    survey: Survey
    layer: Layer
    name: str
    method: CamMethod

    def compute(self, images: Sequence[ImageTargets], max_bytes: int) -> dict[int, HeatMap]:
        """The heat map of each request, by the index of the request."""
        last_step = len(self.survey.steps) - 1
        batch_size = max_batch_size(self.survey, last_step, self.survey.size, max_bytes)
        heat_maps: dict[int, HeatMap] = {}
        for batch_heat_maps in in_batches(images, batch_size, self._compute_batch):
            heat_maps |= batch_heat_maps
        return heat_maps

    def _compute_batch(self, images: Sequence[ImageTargets]) -> dict[int, HeatMap]:
        """One forward pass for all images, then one backward pass for the n-th class of each."""
        inputs = [image_targets.image for image_targets in images]
        batch = stack_inputs(self.net, inputs, channels_last=self.survey.channels_last)
        split = split_forward(self.net, self.layer, batch)
        sources = [network_input.source for network_input in inputs]
        check_finite_scores(self.net, split.class_scores, sources)
        heat_maps: dict[int, HeatMap] = {}
        for turn in range(max(len(image_targets.targets) for image_targets in images)):
            targets = [
                self._target(image_targets, split.class_scores.scores[row], turn)
                for row, image_targets in enumerate(images)
            ]
            heat = self.method.heat(split, [target.index for target in targets])
            values = heat.detach().clamp(min=0).float().cpu().numpy()
            for row, image_targets in enumerate(images):
                if turn < len(image_targets.targets):
                    heat_maps[image_targets.targets[turn][0]] = self._heat_map(
                        split, row, image=image_targets, target=targets[row], values=values[row]
                    )
        return heat_maps

    def _target(self, image_targets: ImageTargets, scores: torch.Tensor, turn: int) -> Target:
        """The n-th class requested for an image; its last one, if other images have more."""
        targets = image_targets.targets
        target = targets[min(turn, len(targets) - 1)][1]
        return resolve_target(self.net, target, scores)

    def _heat_map(
        self, split: SplitForward, row: int, *, image: ImageTargets, target: Target, values: Map
    ) -> HeatMap:
        scores, probabilities = split.class_scores.scores, split.class_scores.probabilities
        no_evidence = f"no evidence for {target} in {self.layer.name} by this method"
        return HeatMap(
            values=values.copy(),
            layer=self.layer.name,
            target=target,
            probability=float(probabilities[row, target.index]),
            score=float(scores[row, target.index].detach()),
            method=self.name,
            caveats=(*image.image.caveats, *caveats_of(self.name)),
            size=image.image.size,
            image=image.image.rgb,
            source=image.image.source,
            fit=image.image.fit,
            notes=(*self.net.remarks, *(() if values.any() else (no_evidence,))),
        )


def _guide(net: Network, heat_map: HeatMap, image: AnyImage) -> HeatMap:
    """The guided gradient of the class, times the heat (Selvaraju 2017, 3.2)."""
    assert isinstance(heat_map.target, Target)
    guided = saliency(net, image, method="guided", target=heat_map.target.index).pixels
    assert guided is not None
    pixels = guided * heat_map.full()[..., None]
    return replace(heat_map, values=np.abs(pixels).max(axis=2), pixels=pixels)
