"""Occlusion maps: a target's probability while a square, or a box, covers each part in turn.

Zeiler & Fergus 2014, 4.2. Only what the occluder can change is computed again; every number equals
that of a full forward pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from math import prod
from typing import overload

import numpy as np
import torch

from retroscope.argument_types import check_arguments
from retroscope.engine.batching import NetworkInput, Size, max_batch_size, pass_bytes
from retroscope.engine.isolation import preserve_state
from retroscope.engine.memory import in_batches, memory_budget, refuse_too_large
from retroscope.engine.program import Survey
from retroscope.errors import ModelError
from retroscope.geometry import AXES, IMAGE_RANK, format_size
from retroscope.methods.activations import last_spatial_layer
from retroscope.methods.axis_lengths import Lengths
from retroscope.methods.class_scores import NetworkOutput, run_network
from retroscope.methods.image_lists import (
    AnImage,
    AnyImageList,
    ImageList,
    OneOrMany,
    is_image_list,
    map_images,
)
from retroscope.methods.occlusion.incremental import CleanResults, run_patched
from retroscope.methods.occlusion.occluders import OccluderGrid, occluder_pixels
from retroscope.methods.occlusion.patched_maps import BatchSpan, PatchedMaps
from retroscope.methods.target_choice import check_scores, resolve_scorer
from retroscope.methods.target_scorer import TargetScorer
from retroscope.methods.targets import TargetSpec, stack_inputs, target_at
from retroscope.network import (
    AnyArray,
    AnyImage,
    AnyNetwork,
    Network,
    OneImage,
    as_network,
)
from retroscope.progress import ProgressListener, ProgressReporter, ignore_progress
from retroscope.results.caveats import caveats_of
from retroscope.results.heat_maps import OcclusionMap, Target
from retroscope.results.layers import Layer
from retroscope.unit import Unit

_BATCH_SIZE = 32
"""Occluders that run as one batch; the patches of larger batches do not fit into CPU caches."""
_MAX_BATCH_VALUES = 1 << 27
"""Of the largest maps of a batch of volumes, if they are computed in full."""


@overload
def occlusion(
    net: AnyNetwork,
    image: OneImage,
    *,
    target: TargetSpec = ...,
    size: Lengths | None = ...,
    stride: Lengths | None = ...,
    fill: str | float = ...,
    progress: ProgressListener = ...,
) -> OcclusionMap: ...
@overload
def occlusion(
    net: AnyNetwork,
    image: ImageList[AnImage],
    *,
    target: TargetSpec = ...,
    size: Lengths | None = ...,
    stride: Lengths | None = ...,
    fill: str | float = ...,
    progress: ProgressListener = ...,
) -> list[OcclusionMap]: ...
@overload
def occlusion(
    net: AnyNetwork,
    image: AnyArray,
    *,
    target: TargetSpec = ...,
    size: Lengths | None = ...,
    stride: Lengths | None = ...,
    fill: str | float = ...,
    progress: ProgressListener = ...,
) -> OneOrMany: ...
@check_arguments
def occlusion(
    net: AnyNetwork,
    image: AnyImage | AnyImageList,
    *,
    target: TargetSpec = None,
    size: Lengths | None = None,
    stride: Lengths | None = None,
    fill: str | float = "grey",
    progress: ProgressListener = ignore_progress,
) -> OcclusionMap | list[OcclusionMap]:
    """How class scores change while a square covers each part of the image in turn.

    A volume or a clip is covered by a box that moves along all three axes, a signal by an interval.
    `size` and `stride` are one number, or one for each axis; by default 32 and 8 for images, and
    for all else a quarter of each axis and half of that.

    The target is a class, a box, a class at a place, or a number among the outputs, as in `cam`. A
    box that is no longer found where the square is has probability 0 there.

    `fill` is `grey`, `mean` (the mean colour of the image), `blur`, or a number in the space of
    the network's input. A list of images, a batch of them in one array, or a data set gives a list
    of maps. `progress` counts the positions of the square.

    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.Flatten()))
    >>> occlusion(net, torch.ones(3, 8, 8), size=4, stride=2, target=1).probabilities.shape
    (3, 3)
    """
    net = as_network(net)
    occlude = partial(
        _occlude, net, target=target, size=size, stride=stride, fill=fill, progress=progress
    )
    if is_image_list(image, net.rank):
        return map_images(net, image, occlude)
    return occlude(net.prepare(image))


def _occlude(
    net: Network,
    network_input: NetworkInput,
    *,
    target: TargetSpec,
    size: Lengths | None,
    stride: Lengths | None,
    fill: str | float,
    progress: ProgressListener,
) -> OcclusionMap:
    net = net.for_images([network_input])
    occluders = OccluderGrid.covering(network_input.size, size=size, stride=stride)
    input_tensor = network_input.tensor.to(net.device)
    pixels = occluder_pixels(input_tensor, fill, net.preprocessing)
    survey = net.survey(network_input.size)
    memory_bytes = _refuse_large_image(net, survey)
    with preserve_state(net.module), torch.no_grad():
        batch = stack_inputs(net, [network_input], channels_last=survey.channels_last)
        clean = _CleanRun.start(net, batch, target)
        reporter = ProgressReporter(
            "occlusion", len(occluders.positions), progress, memory_bytes=memory_bytes
        )
        rows = _OcclusionRun(clean, pixels, occluders, reporter).compute()
    grid, (fronts, tops, lefts) = occluders.shape, _along_all_axes(occluders.starts)
    return OcclusionMap(
        probabilities=rows[:, 0].reshape(grid).astype(np.float32),
        classes=rows[:, 1].reshape(grid).astype(np.int64) if clean.class_count else None,
        activations=rows[:, 2].reshape(grid).astype(np.float32) if clean.unit else None,
        tops=tops,
        lefts=lefts,
        fronts=fronts,
        occluder=occluders.size,
        fill=str(fill),
        target=clean.scorer.target,
        probability=clean.probability,
        unit=clean.unit,
        activation=clean.activation,
        class_names=clean.targets_at(np.unique(rows[:, 1])),
        caveats=(*network_input.caveats, *caveats_of("occlusion")),
        size=network_input.size,
        image=network_input.rgb,
        source=network_input.source,
        fit=network_input.fit,
        notes=(*net.remarks, *_notes_on_lost_boxes(clean.scorer, rows)),
        measure=clean.scorer.measure,
        mask=clean.scorer.mask,
    )


def _refuse_large_image(net: Network, survey: Survey) -> int:
    """About the bytes that a pass needs; raises if there are not as many."""
    needed = pass_bytes(survey, len(survey.steps) - 1, survey.size)
    work = f"an occlusion map of {format_size(survey.size)} pixels"
    refuse_too_large(needed, net.device, work=work, parameter="input_size")
    return needed


def _along_all_axes(starts: Sequence[tuple[int, ...]]) -> Sequence[tuple[int, ...]]:
    """Along z, y and x; nothing along the axes that there are not."""
    return (*((),) * (len(AXES) - len(starts)), *starts)


OcclusionRows = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
"""For each occluder: probability of the target, most probable class, total activation.

The target's score, if it has no probability; 0 for the class of a network that has no classes.
"""
_NO_ROWS: OcclusionRows = np.empty((0, 3))


def _notes_on_lost_boxes(scorer: TargetScorer, rows: OcclusionRows) -> list[str]:
    """At how many positions a detector no longer finds the box; their probability is 0."""
    lost = int((rows[:, 0] == 0).sum())
    if scorer.target.box is None or not lost:
        return []
    return [f"the box is not found at {lost} of {len(rows)} positions, where its probability is 0"]


@dataclass(frozen=True, eq=False)
class _CleanRun:
    """The result for the image without an occluder: the target, and the unit to record.

    The unit is the map of the last spatial layer with the largest total activation; it is None in
    a network without such a layer. `class_count` is 0 unless the target is a class of the image.
    """

    net: Network
    survey: Survey
    batch: torch.Tensor
    scorer: TargetScorer
    probability: float
    class_count: int
    layer: Layer | None
    unit: Unit | None
    activation: float

    def targets_at(self, indices: OcclusionRows) -> tuple[Target, ...]:
        """The classes at these indices of the network's output."""
        if not self.class_count:
            return ()
        return tuple(target_at(self.net, int(index), self.class_count) for index in indices)

    @classmethod
    def start(cls, net: Network, batch: torch.Tensor, target: TargetSpec) -> "_CleanRun":
        """Runs the image without an occluder."""
        size = tuple(batch.shape[2:])
        survey, layer = net.survey(size), _layer_to_record(net, size)
        totals: list[torch.Tensor] = []
        listeners = {layer.index: lambda maps: totals.append(_sum_maps(maps)[0])} if layer else {}
        output = run_network(net, survey, batch.clone(), listeners=listeners)
        check_scores(output)
        scorer = resolve_scorer(output, target)
        has_classes = output.has_class_scores and not scorer.single_images
        return cls(
            net=net,
            survey=survey,
            batch=batch,
            scorer=scorer,
            probability=float(_measure(scorer, output)[0]),
            class_count=output.class_scores.scores.shape[1] if has_classes else 0,
            layer=layer,
            unit=Unit(layer.name, int(totals[0].argmax()), whole_map=True) if layer else None,
            activation=float(totals[0].max()) if totals else 0.0,
        )


@dataclass(frozen=True, eq=False)
class _OcclusionRun:
    """Runs all occluders over the image of a clean run."""

    clean: _CleanRun
    pixels: torch.Tensor
    occluders: OccluderGrid
    reporter: ProgressReporter

    def compute(self) -> OcclusionRows:
        """The rows of all occluders, in reading order."""
        positions, survey = self.occluders.positions, self.clean.survey
        if _needs_single_images(survey) or self.clean.scorer.single_images:
            return self._concatenate(in_batches(positions, 1, self._run_full))
        run_incremental = partial(self._run_incremental, CleanResults())
        batches = in_batches(positions, _batch_size(survey), run_incremental)
        rows = self._concatenate(takewhile(len, batches))
        if len(rows) == len(positions):
            return rows
        max_bytes = memory_budget(self.clean.net.device)
        batch_size = max_batch_size(survey, len(survey.steps) - 1, survey.size, max_bytes)
        return self._concatenate(in_batches(positions, batch_size, self._run_full))

    def _concatenate(self, batches: Iterable[OcclusionRows]) -> OcclusionRows:
        """The rows of all batches, each of which is reported when it has run."""
        rows, completed = [_NO_ROWS], 0
        for batch in batches:
            rows.append(batch)
            completed += len(batch)
            self.reporter.update(completed)
        return np.concatenate(rows)

    def _run_incremental(
        self, clean_results: CleanResults, positions: Sequence[tuple[int, ...]]
    ) -> OcclusionRows:
        """The rows of a batch of occluders; no rows if it must be computed in full."""
        clean, totals = self.clean, list[torch.Tensor]()

        def record(maps: PatchedMaps | torch.Tensor) -> None:
            if isinstance(maps, PatchedMaps):
                totals.append(_sum_maps(maps.full_channel(self._recorded_channel))[:, 0])
            else:
                totals.append(_sum_maps(maps)[:, self._recorded_channel])

        output = run_patched(
            clean.net,
            clean.survey,
            self._cover(positions),
            clean=clean_results,
            listeners={clean.layer.index: record} if clean.layer else {},
        )
        return _NO_ROWS if output is None else self._rows(output, totals)

    def _run_full(self, positions: Sequence[tuple[int, ...]]) -> OcclusionRows:
        """The rows of a batch of occluders, from a full forward pass."""
        clean, totals = self.clean, list[torch.Tensor]()

        def record(maps: torch.Tensor) -> None:
            totals.append(_sum_maps(maps)[:, self._recorded_channel])

        images = self._cover(positions).full_maps()
        listeners = {clean.layer.index: record} if clean.layer else {}
        output = run_network(clean.net, clean.survey, images, listeners=listeners)
        return self._rows(output, totals)

    @property
    def _recorded_channel(self) -> int:
        assert self.clean.unit is not None
        assert self.clean.unit.channel is not None
        return self.clean.unit.channel

    def _cover(self, positions: Sequence[tuple[int, ...]]) -> PatchedMaps:
        """One copy of the image for each position, covered there."""
        batch, size = self.clean.batch, self.occluders.size
        starts = torch.tensor(positions, device=batch.device).T
        patches = [self.pixels[(slice(None), *_box(place, size))] for place in positions]
        spans = tuple(map(BatchSpan, starts, size, batch.shape[2:]))
        return PatchedMaps(batch, torch.stack(patches), spans, tuple(range(2, batch.dim())))

    def _rows(self, output: NetworkOutput, totals: Sequence[torch.Tensor]) -> OcclusionRows:
        probabilities = _measure(self.clean.scorer, output).double()
        zeros = torch.zeros_like(probabilities)
        has_classes = self.clean.class_count > 0
        classes = output.class_scores.scores.argmax(dim=1).double() if has_classes else zeros
        activations = totals[0].double() if totals else zeros
        return torch.stack([probabilities, classes, activations], dim=1).cpu().numpy()


def _box(place: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    """What an occluder covers, as an index."""
    return tuple(slice(start, start + length) for start, length in zip(place, size, strict=True))


def _measure(scorer: TargetScorer, output: NetworkOutput) -> torch.Tensor:
    """The probability of the target in each image; its score, if it has no probability."""
    return (scorer.probabilities or scorer.scores)(output)


def _batch_size(survey: Survey) -> int:
    """How many occluders run as one batch: of large volumes, as many maps as fit in memory."""
    if len(survey.size) <= IMAGE_RANK:
        return _BATCH_SIZE
    largest = max(prod(shape) for step in survey.steps for shape in step.shapes)
    return min(max(_MAX_BATCH_VALUES // largest, 1), _BATCH_SIZE)


def _layer_to_record(net: Network, size: Size) -> Layer | None:
    try:
        return last_spatial_layer(net, size)
    except ModelError:  # without a convolution there are no maps to record
        return None


def _sum_maps(maps: torch.Tensor) -> torch.Tensor:
    """The sum of each map in double precision (images, channels)."""
    return maps.double().sum(dim=tuple(range(2, maps.dim())))


def _needs_single_images(survey: Survey) -> bool:
    """Whether the result of an image depends on its batch, or the program on its values."""
    has_side_effects = any(step.extracts_values for step in survey.steps)
    return survey.needs_single_images or survey.has_hidden_calls or has_side_effects
