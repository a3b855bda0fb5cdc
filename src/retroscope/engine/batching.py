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
from retroscope.geometry import Box
from retroscope.imaging.decoding import RGB
from retroscope.imaging.image import Fit
from retroscope.results.layers import Layer
from retroscope.unit import Unit

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """An image as the network takes it (channels, height, width), as it looks, and its source.

    `fit` is how it was fitted to the network; None if it was given as the network's input. `others`
    are the other inputs that come with it, by name.
    """

    tensor: torch.Tensor
    rgb: RGB
    source: str
    fit: Fit | None = None
    caveats: tuple[str, ...] = ()
    others: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        return self.tensor.shape[1], self.tensor.shape[2]


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
        height, width = self.image.size
        if self.unit.position is None or not self.is_local:
            return Box(0, 0, height, width)
        return self.layer.field.box(*self.unit.position).visible(height, width)

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
        frame, (height, width) = self.frames[0], self.requests[0].image.size
        y, x = Span(frame.top, frame.height, height), Span(frame.left, frame.width, width)
        return MapRegion(y, x)

    def output_positions(self, y: Span, x: Span) -> tuple[list[int], list[int]] | None:
        """The row and column of each unit in an output that holds these spans.

        None if a unit is not among them: a mirrored border reads the same pixels as an inner unit.
        """
        first, anchor = self.frames[0], self.requests[0].unit.position
        assert anchor is not None
        rows, columns = [], []
        for request, frame in zip(self.requests, self.frames, strict=True):
            assert request.unit.position is not None
            row, column = request.unit.position
            rows.append((row if frame.top == first.top else anchor[0]) - y.start)
            columns.append((column if frame.left == first.left else anchor[1]) - x.start)
        is_within = all(0 <= row < y.count for row in rows)
        is_within = is_within and all(0 <= column < x.count for column in columns)
        return (rows, columns) if is_within else None

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
    height, width = requests[0].image.size
    share = sum(request.box.height * request.box.width for request in requests) / (height * width)
    images = len({id(request.image) for request in requests} - whole_images)
    return (forward_cost + 1) * share <= forward_cost * images + len(requests)


def crop_cost(layer: Layer, size: Size, *, forward_cost: float) -> float:
    """About what a unit costs from its crop, forward and back, in passes back from a whole image.

    Infinite if a unit of the layer cannot be answered from less than the whole image.
    """
    field, (height, width) = layer.field, size
    if field.whole or field.global_context:
        return inf
    share = min(field.y.size, height) * min(field.x.size, width) / (height * width)
    return (forward_cost + 1) * share


def group_into_batches(requests: Iterable[ProjectionRequest], survey: Survey) -> list[Crops]:
    """The requests in batches that can run as one, whatever their order."""
    groups: dict[tuple[object, ...], list[tuple[ProjectionRequest, Box, Box]]] = defaultdict(list)
    cuts_maps = cache(partial(_cuts_maps, survey))
    moves_windows = cache(partial(depends_on_position, survey))
    for request in requests:
        box, (height, width), field = request.box, request.image.size, request.layer.field
        top, bottom = _frame(box.top, box.bottom, field.y.size, height)
        left, right = _frame(box.left, box.right, field.x.size, width)
        borders: tuple[object, ...] = top == 0, left == 0, bottom == height, right == width
        if cuts_maps(request.layer.index):
            borders = top, left
        if moves_windows(request.layer.index):
            borders = top, left, bottom, right
        key = request.layer.index, request.image.size, bottom - top, right - left, borders
        groups[key].append((request, box, Box(top, left, bottom, right)))
    return [Crops(*zip(*group, strict=True)) for group in groups.values()]


def _cuts_maps(survey: Survey, target: int) -> bool:
    """Whether a map ends inside the image: its border is then not that of any box."""
    return any(
        window.reads(-1)[0] >= 0 or window.reads(window.outputs(length))[1] <= length
        for step in survey.steps[: target + 1]
        if isinstance(step.motion, Slide)
        for window, length in zip((step.motion.y, step.motion.x), step.lengths, strict=True)
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
        channels, height, width = first.shape
        stack = first.new_empty(len(unique), height, width, channels, device=device)
        for slot, image in enumerate(unique.values()):
            stack[slot] = image.tensor.permute(1, 2, 0)
        slots = {key: slot for slot, key in enumerate(unique)}
        return cls(stack, slots, list(unique.values()), channels_last)

    def slot(self, image: NetworkInput) -> int:
        """The row of an image."""
        return self.slots[id(image)]

    def crop(self, crops: Crops) -> torch.Tensor:
        """The pixels under the frames, (batch, channels, height, width)."""
        frame = crops.frames[0]
        device = self.tensor.device
        slots = torch.tensor(
            [self.slot(request.image) for request in crops.requests], device=device
        )
        tops = torch.tensor([box.top for box in crops.frames], device=device)
        lefts = torch.tensor([box.left for box in crops.frames], device=device)
        rows = tops[:, None] + torch.arange(frame.height, device=device)
        columns = lefts[:, None] + torch.arange(frame.width, device=device)
        pixels = self.tensor[slots[:, None, None], rows[:, :, None], columns[:, None, :]]
        return self._in_layout(pixels.permute(0, 3, 1, 2))

    def images_at(self, slots: Sequence[int]) -> torch.Tensor:
        """Whole images, (batch, channels, height, width)."""
        return self._in_layout(self.tensor[list(slots)].permute(0, 3, 1, 2))

    def _in_layout(self, images: torch.Tensor) -> torch.Tensor:
        return images if self.channels_last else images.contiguous()


_PASS_FACTOR = 3
"""A forward and a backward pass hold about three times the values of the outputs."""


def max_batch_size(survey: Survey, target: int, size: Size, max_bytes: int) -> int:
    """How many images of this size fit in `max_bytes`, run forward to a step and back."""
    if survey.needs_single_images:
        return 1
    share = size[0] * size[1] / (survey.size[0] * survey.size[1])
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
