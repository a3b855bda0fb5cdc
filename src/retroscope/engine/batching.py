"""Requests for units in images, sorted into batches that run as one.

A request is answered from its frame: the pixels that its unit sees, or a few more. Frames of the
same shape that touch the same borders of images of the same size see the same windows, so they go
through the network side by side.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from math import inf, prod

import torch

from retroscope.engine.map_regions import MapRegion, Span
from retroscope.engine.motion import Resample, Slide
from retroscope.engine.program import Survey
from retroscope.geometry import IMAGE_RANK, Box
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import Fit
from retroscope.results.layers import Layer
from retroscope.unit import Unit

Size = tuple[int, ...]
"""Height and width of an image; depth, height and width of a volume; the length of a signal."""


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """An image as the network takes it (channels, height, width), as it looks, and its source.

    A volume has its depth in front of the height, and each slice looks like an image; a signal
    looks like an image of one row. `fit` is how it was fitted to the network; None if it was given
    as the network's input. `others` are the other inputs that come with it, by name.
    """

    tensor: torch.Tensor
    rgb: RGB
    source: str
    fit: Fit | None = None
    caveats: tuple[str, ...] = ()
    others: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        return tuple(self.tensor.shape[1:])

    def patch(self, box: Box) -> RGB:
        """What it looks like under a box."""
        patch: RGB = self.rgb[box.slices(max(len(self.size), IMAGE_RANK))]
        return patch


@dataclass(frozen=True, eq=False)
class ProjectionRequest:
    """A unit of a layer, in an image; `order` numbers the requests."""

    order: int
    unit: Unit
    layer: Layer
    image: NetworkInput

    @cached_property
    def box(self) -> Box:
        """The pixels that the unit sees."""
        if self.unit.position is None or not self.is_local:
            return Box.whole(self.image.size)
        return self.layer.field.box(*self.unit.position).visible_in(self.image.size)

    @property
    def is_local(self) -> bool:
        """Whether it can be answered from less than the whole image."""
        field = self.layer.field
        return self.unit.position is not None and not (field.whole or field.global_context)


_SNAPPED_SIZE = 64
"""Up to this field size, the frame of a unit at a border is as long as the box of an inner one."""


def _frame(start: int, stop: int, size: int, full: int) -> tuple[int, int]:
    """The interval that is run for a box: longer at a border, so that more frames are alike.

    Boxes of a field of size 5 near the left border of an axis are cut to 3, 4 and 5 pixels; all
    of them run as a frame of 5.

        pixels   0  1  2  3  4  5  6  7  8
        box     [========)                     of the unit at 0, cut by the border
        frame   [==============)
        box     [===========)                  of the unit at 1
        frame   [==============)
        box              [==============)      of an inner unit: its frame is its box

    Large fields are snapped to quarters of their size, which wastes less.
    """
    longest = min(size, full)
    step = longest if longest <= _SNAPPED_SIZE else -(-longest // 4)
    length = min(longest, -(-(stop - start) // step) * step)
    if start == 0:
        return 0, max(length, stop)
    return (min(start, full - length), full) if stop == full else (start, stop)


@dataclass(frozen=True, eq=False)
class Crops:
    """Requests that run as one batch: the box that each unit sees, and the frame that is run."""

    requests: Sequence[ProjectionRequest]
    boxes: Sequence[Box]
    frames: Sequence[Box]

    @property
    def region(self) -> MapRegion:
        """What the first frame holds of its image; the others hold the same, moved."""
        frame, size = self.frames[0], self.requests[0].image.size
        spans = [
            Span(start, stop - start, full)
            for (start, stop), full in zip(frame.intervals(len(size)), size, strict=True)
        ]
        return MapRegion.of_input(spans)

    def output_positions(self, spans: Sequence[Span]) -> tuple[list[int], ...] | None:
        """The index of each unit along each axis of an output that holds these spans.

        None if a unit is not among them: a mirrored border reads the same pixels as an inner unit.
        """
        along_axes = tuple(map(self._positions_along, range(len(spans)), spans))
        is_within = all(
            0 <= index < span.count
            for indices, span in zip(along_axes, spans, strict=True)
            for index in indices
        )
        return along_axes if is_within else None

    def _positions_along(self, axis: int, span: Span) -> list[int]:
        """That of a unit whose frame is moved along the axis is that of the first one."""
        rank = len(self.requests[0].image.size)
        starts = [frame.intervals(rank)[axis][0] for frame in self.frames]
        positions = [request.unit.position or () for request in self.requests]
        return [
            (position[axis] if start == starts[0] else positions[0][axis]) - span.start
            for position, start in zip(positions, starts, strict=True)
        ]

    def subset(self, indices: Sequence[int]) -> "Crops":
        return Crops(
            [self.requests[n] for n in indices],
            [self.boxes[n] for n in indices],
            [self.frames[n] for n in indices],
        )


def worth_cropping(
    requests: Sequence[ProjectionRequest], *, whole_images: Set[int], forward_cost: float
) -> bool:
    """Whether running each unit's box forward and back costs less than running whole images.

    A whole image runs back once for each of its units, and forward once, unless it is among
    `whole_images` (by their ids), which run for other units anyway. `forward_cost` is that of a
    pass forward, with all that its rules compute once, in passes back.
    """
    size = requests[0].image.size
    share = sum(prod(request.box.size(len(size))) for request in requests) / prod(size)
    images = len({id(request.image) for request in requests} - whole_images)
    return (forward_cost + 1) * share <= forward_cost * images + len(requests)


def crop_cost(layer: Layer, size: Size, *, forward_cost: float) -> float:
    """About what a unit costs from its crop, forward and back, in passes back from a whole image.

    Infinite if a unit of the layer cannot be answered from less than the whole image.
    """
    field = layer.field
    if field.whole or field.global_context:
        return inf
    lengths = [min(axis.size, full) for axis, full in zip(field.axes(len(size)), size, strict=True)]
    return (forward_cost + 1) * prod(lengths) / prod(size)


def group_into_batches(requests: Iterable[ProjectionRequest], survey: Survey) -> list[Crops]:
    """The requests in batches that can run as one, whatever their order."""
    groups: dict[tuple[object, ...], list[tuple[ProjectionRequest, Box, Box]]] = defaultdict(list)
    cuts_maps = cache(partial(_cuts_maps, survey))
    moves_windows = cache(partial(depends_on_position, survey))
    for request in requests:
        box, size = request.box, request.image.size
        rank = len(size)
        axes = zip(box.intervals(rank), request.layer.field.axes(rank), size, strict=True)
        frame = [_frame(start, stop, field.size, full) for (start, stop), field, full in axes]
        borders: list[object] = [
            (start == 0, stop == full) for (start, stop), full in zip(frame, size, strict=True)
        ]
        if cuts_maps(request.layer.index):
            borders = [start for start, _ in frame]
        if moves_windows(request.layer.index):
            borders = [*frame]
        lengths = tuple(stop - start for start, stop in frame)
        key = request.layer.index, size, lengths, tuple(borders)
        groups[key].append((request, box, Box.of(frame)))
    return [Crops(*zip(*group, strict=True)) for group in groups.values()]


def _cuts_maps(survey: Survey, target: int) -> bool:
    """Whether a map ends inside the image: its border is then not that of any box."""
    return any(
        window.reads(-1)[0] >= 0 or window.reads(window.outputs(length))[1] <= length
        for step in survey.steps[: target + 1]
        if isinstance(step.motion, Slide)
        for window, length in zip(step.motion.windows, step.lengths, strict=True)
    )


def depends_on_position(survey: Survey, target: int) -> bool:
    """Whether what a unit reads depends on its position, beyond the borders of the map."""
    steps = survey.steps[: target + 1]
    return any(
        isinstance(step.motion, Resample)
        or (isinstance(step.motion, Slide) and step.motion.axes is not None)
        for step in steps
    )


@dataclass(frozen=True, eq=False)
class ImageStack:
    """Images of one size on the device, ready to be cropped many at a time; `inputs` by slot."""

    tensor: torch.Tensor
    slots: dict[int, int]
    inputs: Sequence[NetworkInput]
    channels_last: bool = True

    @classmethod
    def from_images(
        cls, images: Iterable[NetworkInput], device: torch.device, *, channels_last: bool = True
    ) -> "ImageStack":
        unique = {id(image): image for image in images}
        first = next(iter(unique.values())).tensor
        channels, *size = first.shape
        stack = first.new_empty(len(unique), *size, channels, device=device)
        for slot, image in enumerate(unique.values()):
            stack[slot] = image.tensor.movedim(0, -1)
        slots = {key: slot for slot, key in enumerate(unique)}
        return cls(stack, slots, list(unique.values()), channels_last)

    def slot(self, image: NetworkInput) -> int:
        """The row of an image."""
        return self.slots[id(image)]

    def crop(self, crops: Crops) -> torch.Tensor:
        """The pixels under the frames, (batch, channels, height, width)."""
        rank, device = self.tensor.dim() - 2, self.tensor.device
        slots = torch.tensor(
            [self.slot(request.image) for request in crops.requests], device=device
        )
        index = [slots.view(-1, *[1] * rank)]
        for axis, length in enumerate(crops.frames[0].size(rank)):
            starts = [frame.intervals(rank)[axis][0] for frame in crops.frames]
            along = torch.tensor(starts, device=device)[:, None]
            along = along + torch.arange(length, device=device)
            index.append(along.view(-1, *[length if other == axis else 1 for other in range(rank)]))
        return self._in_layout(self.tensor[tuple(index)].movedim(-1, 1))

    def images_at(self, slots: Sequence[int]) -> torch.Tensor:
        """Whole images, (batch, channels, height, width)."""
        return self._in_layout(self.tensor[list(slots)].movedim(-1, 1))

    def _in_layout(self, images: torch.Tensor) -> torch.Tensor:
        return images if self.channels_last else images.contiguous()


_PASS_FACTOR = 3
"""A forward and a backward pass hold about three times the values of the outputs."""


def max_batch_size(survey: Survey, target: int, size: Size, max_bytes: int) -> int:
    """How many images of this size fit in `max_bytes`, run forward to a step and back."""
    if survey.needs_single_images:
        return 1
    share = prod(size) / prod(survey.size)
    values = sum(prod(shape) for step in survey.steps[: target + 1] for shape in step.shapes)
    bytes_per_image = int(4 * _PASS_FACTOR * share * values) + 1
    return max(max_bytes // bytes_per_image, 1)


_BYTES_PER_VALUE = 7
"""About what is held for a value of an output until the way back, as measured on several networks.

Operations that work in place share memory.
"""


def pass_bytes(survey: Survey, target: int, size: Size) -> int:
    """About what an image of this size takes, run forward to a step and back, or with an occluder.

    Scaled from the survey's size, so that no survey of a larger one is needed.
    """
    values = sum(prod(shape) for step in survey.steps[: target + 1] for shape in step.shapes)
    return int(_BYTES_PER_VALUE * values * prod(size) / prod(survey.size))
