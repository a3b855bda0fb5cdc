"""Projects units back to the pixels, batch by batch, for images of one size."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import isfinite
from typing import Any, cast

import torch

from retroscope.engine.batching import (
    Crops,
    ImageStack,
    ProjectionRequest,
    group_into_batches,
    max_batch_size,
    worth_cropping,
)
from retroscope.engine.forward import run_forward
from retroscope.engine.gradients import RuleHandler, gradients
from retroscope.engine.memory import in_batches
from retroscope.engine.program import Survey
from retroscope.engine.region import run_region
from retroscope.engine.rule_choice import RuleChoice, depends_on_image
from retroscope.engine.rules import DECONVNET, RELEVANCE, RuleBook
from retroscope.errors import ModelError
from retroscope.geometry import Box
from retroscope.input_binding import blank_module
from retroscope.methods.deconv.signal_origins import RowRequest, SignalOrigins
from retroscope.network import Network
from retroscope.results.projections import NOT_ACTIVE, Pixels, Projection

NumberedProjections = Iterator[tuple[int, Projection]]
"""Projections with the `order` of their request."""
SAME_FOR_EVERY_IMAGE = (
    "the same picture for every image: a deconvnet depends on the image through max pooling, and "
    "there is none below this unit"
)
"""The note on a deconvnet projection that does not depend on the image."""


@dataclass(frozen=True, eq=False)
class BackwardResult:
    """For each unit of a batch its activation, and the signal at the pixels of its frame."""

    activations: torch.Tensor
    signal: torch.Tensor


@dataclass(frozen=True, eq=False)
class Projector:
    """Projects units in images of one size, in batches of at most `max_bytes`."""

    net: Network
    choice: RuleChoice
    max_bytes: int
    survey: Survey
    images: ImageStack
    after_pass: Callable[[], object] = lambda: None

    @property
    def book(self) -> RuleBook:
        return self.choice.book

    def project(self, requests: Sequence[ProjectionRequest]) -> NumberedProjections:
        """The projections: layer by layer from crops where that is cheaper, else whole images."""
        by_layer: dict[int, list[ProjectionRequest]] = defaultdict(list)
        for request in requests:
            by_layer[request.layer.index].append(request)
        whole: list[ProjectionRequest] = []
        for target in sorted(by_layer, reverse=True):
            local = self._worth_cropping(by_layer[target], whole)
            whole += [request for request in by_layer[target] if not (local and request.is_local)]
            for crops in group_into_batches(local, self.survey):
                for result, batch in self._project_crops(crops):
                    self.after_pass()
                    if result is None:
                        whole += batch.requests
                    else:
                        yield from self._to_projections(batch, result)
        yield from self._project_whole_images(whole)

    def _worth_cropping(
        self, requests: Sequence[ProjectionRequest], whole: Sequence[ProjectionRequest]
    ) -> list[ProjectionRequest]:
        """The requests that are answered from crops: of a layer, all that are local or none."""
        local = [request for request in requests if request.is_local]
        others = [request for request in requests if not request.is_local]
        whole_images = {id(request.image) for request in (*whole, *others)}
        is_worth = bool(local) and worth_cropping(
            local, whole_images=whole_images, forward_cost=self.book.forward_cost
        )
        return local if is_worth else []

    def _project_crops(self, crops: Crops) -> Iterator[tuple[BackwardResult | None, Crops]]:
        frame, target = crops.frames[0], crops.requests[0].layer.index
        frame_size = frame.size(len(self.survey.size))
        size = max_batch_size(self.survey, target, frame_size, self.max_bytes)
        work = partial(self._look_back_from_crops, crops, target)
        return in_batches(range(len(crops.requests)), size, work)

    def _look_back_from_crops(
        self, crops: Crops, target: int, indices: Sequence[int]
    ) -> tuple[BackwardResult | None, Crops]:
        """None if the layer cannot be computed from crops."""
        batch = crops.subset(indices)
        with torch.enable_grad():
            pixels = self.images.crop(batch).requires_grad_()
            maps = run_region(
                blank_module(self.net, self.survey.size),
                self.survey,
                pixels.clone(),
                target=target,
                region=batch.region,
                execute=self._rule_handler(target),
            )
            positions = None if maps is None else batch.output_positions(maps.spans)
            if maps is None or positions is None:
                return None, batch
            numbers, channels = range(len(indices)), [r.unit.channel for r in batch.requests]
            index: tuple[Any, ...] = numbers, channels, *positions
            units = maps.output[index]
            start = units.detach()
            if not self.book.contrast:
                return BackwardResult(start, gradients(units, pixels, start)), batch
            signal = gradients(units, pixels, start, retain_graph=True)
            shared = gradients(maps.output[(numbers, slice(None), *index[2:])], pixels)
            return BackwardResult(start, remove_shared(signal, shared)), batch

    def _project_whole_images(self, requests: Sequence[ProjectionRequest]) -> NumberedProjections:
        """One forward pass of each image serves its units of all layers."""
        if not requests:
            return
        by_slot: dict[int, list[ProjectionRequest]] = defaultdict(list)
        for request in sorted(requests, key=lambda request: request.layer.index):
            by_slot[self.images.slot(request.image)].append(request)
        target = max(request.layer.index for request in requests)
        size = max_batch_size(self.survey, target, self.survey.size, self.max_bytes)
        work = partial(self._look_back_from_images, by_slot)
        for projections in in_batches(list(by_slot), size, work):
            yield from projections

    def _look_back_from_images(
        self, by_slot: dict[int, list[ProjectionRequest]], slots: Sequence[int]
    ) -> list[tuple[int, Projection]]:
        try:
            return self._look_back_together(slots, [by_slot[slot] for slot in slots])
        except ModelError:  # perhaps because of what runs after the layer of another unit
            by_layer: dict[int, dict[int, list[ProjectionRequest]]] = {}
            for slot in slots:
                for request in by_slot[slot]:
                    of_layer = by_layer.setdefault(request.layer.index, defaultdict(list))
                    of_layer[slot].append(request)
            if len(by_layer) == 1:
                raise
            return [
                projection
                for of_layer in by_layer.values()
                for projection in self._look_back_together(list(of_layer), list(of_layer.values()))
            ]

    def _look_back_together(
        self, slots: Sequence[int], requests: Sequence[Sequence[ProjectionRequest]]
    ) -> list[tuple[int, Projection]]:
        """One forward pass for all images, then one backward pass for the n-th unit of each."""
        rounds, projections = _rounds(requests), list[tuple[int, Projection]]()
        with torch.enable_grad():
            pixels = self.images.images_at(slots).requires_grad_()
            origins = SignalOrigins([request for turn in rounds for request in turn], pixels)
            handler = RuleHandler(self.book, from_units=True)
            bound = self.net.for_images([self.images.inputs[slot] for slot in slots])
            module, listeners = bound.module, origins.listeners
            run_forward(module, self.survey, pixels.clone(), listeners, execute=handler)
            for turn in rounds:
                handler.record.signals.start_from(self._unit_depths(turn, rows=len(slots)))
                signal = self._look_back(origins, turn, retain_graph=turn is not rounds[-1])
                rows = signal[[row for row, _ in turn]]
                batch = _whole_frames([request for _, request in turn])
                result = BackwardResult(origins.activations(turn), rows)
                projections += self._to_projections(batch, result)
                self.after_pass()
        return projections

    def _look_back(
        self, origins: SignalOrigins, turn: Sequence[RowRequest], *, retain_graph: bool
    ) -> torch.Tensor:
        if not self.book.contrast:
            return origins.look_back(turn, retain_graph=retain_graph)
        signal = origins.look_back(turn, retain_graph=True)
        shared = origins.look_back_from_all_channels(turn, retain_graph=retain_graph)
        return remove_shared(signal, shared)

    def _unit_depths(self, turn: Sequence[RowRequest], *, rows: int) -> list[int]:
        """The depth of the unit of each row. Where there is none, no signal starts."""
        depths = {row: self.survey.steps[request.layer.index].depth for row, request in turn}
        return [depths.get(row, max(depths.values())) for row in range(rows)]

    def _rule_handler(self, target: int) -> RuleHandler:
        depth = self.survey.steps[target].depth
        return RuleHandler(self.book, depth, from_units=True)

    @lru_cache(maxsize=64)  # noqa: B019 - a projector lives as long as its requests
    def _notes_on_rules(self, target: int) -> tuple[str, ...]:
        if self.book is DECONVNET and not self.choice.reason:
            return () if depends_on_image(self.survey, target) else (SAME_FOR_EVERY_IMAGE,)
        if self.book is RELEVANCE and self.choice.reason:
            return (f"relevance rules: {self.choice.reason}",)
        return ()

    def _to_projections(self, batch: Crops, result: BackwardResult) -> NumberedProjections:
        """Cuts the signal under each frame to the box of its unit."""
        activations = result.activations.tolist()
        signals = _as_numpy(result.signal.movedim(1, -1))
        for request, box, frame, activation, signal in zip(
            batch.requests, batch.boxes, batch.frames, activations, signals, strict=True
        ):
            pixels = signal if frame == box else _crop_to_box(signal, box, frame)
            yield request.order, self._projection(request, box, activation, pixels)

    def _projection(
        self, request: ProjectionRequest, box: Box, activation: float, pixels: Pixels
    ) -> Projection:
        return Projection(
            unit=request.unit,
            activation=activation,
            box=box,
            pixels=pixels,
            rules=self.book.name,
            size=request.image.size,
            patch=request.image.patch(box),
            source=request.image.source,
            notes=(
                *self.net.remarks,
                *request.image.caveats,
                *_notes(request, activation),
                *self._notes_on_rules(request.layer.index),
            ),
            bands=self.net.preprocessing.shown_bands,
        )


def remove_shared(signal: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    """What is left of each signal without its component along the shared one."""
    axes = tuple(range(1, signal.dim()))
    share = (signal * shared).sum(axes, keepdim=True)
    size = shared.square().sum(axes, keepdim=True)
    return signal - share / size.clamp(min=torch.finfo(size.dtype).tiny) * shared


def _rounds(requests: Sequence[Sequence[ProjectionRequest]]) -> list[list[RowRequest]]:
    """The n-th request of each image, for each n."""
    return [
        [(row, of_image[n]) for row, of_image in enumerate(requests) if n < len(of_image)]
        for n in range(max(map(len, requests)))
    ]


def _as_numpy(signal: torch.Tensor) -> Pixels:
    """In single precision, or in double if the network computes in double."""
    signal = signal if signal.dtype == torch.float64 else signal.float()
    return cast("Pixels", signal.cpu().numpy())


def _crop_to_box(pixels: Pixels, box: Box, frame: Box) -> Pixels:
    """The part of a frame's pixels that its unit sees; the rest is zero."""
    rank = pixels.ndim - 1
    pairs = zip(box.intervals(rank), frame.intervals(rank), strict=True)
    return pixels[tuple(slice(start - left, stop - left) for (start, stop), (left, _) in pairs)]


def _whole_frames(requests: Sequence[ProjectionRequest]) -> Crops:
    """Requests that are answered from whole images."""
    frames = [Box.whole(request.image.size) for request in requests]
    return Crops(requests, [request.box for request in requests], frames)


def _notes(request: ProjectionRequest, activation: float) -> tuple[str, ...]:
    """What a reader of this projection has to know."""
    field, notes = request.layer.field, []
    if field.global_context:
        notes.append(f"the unit sees {field}")
    if not isfinite(activation):
        notes.append(f"the activation is not finite ({activation})")
    elif activation <= 0 and request.unit.position is not None:
        notes.append(NOT_ACTIVE)
    return tuple(notes)
