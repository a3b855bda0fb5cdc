"""Requests for units in pictures, sorted into batches that run as one.

Frames of the same shape that touch the same borders of pictures of the same size see the same
windows, so that they go through the network side by side.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

import torch

from retroscope.engine.map_regions import MapRegion, Span
from retroscope.engine.motion import Slide
from retroscope.engine.program import Survey
from retroscope.geometry import Box
from retroscope.imaging.image import RGB
from retroscope.results.layers import Layer
from retroscope.unit import Unit

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """A picture as the network takes it, as it looks, and where it came from."""

    tensor: torch.Tensor
    rgb: RGB
    source: str

    @property
    def size(self) -> Size:
        return self.tensor.shape[1], self.tensor.shape[2]


@dataclass(frozen=True, eq=False)
class ProjectionRequest:
    """One request: a unit of a layer, in a picture; `order` is its turn."""

    order: int
    unit: Unit
    layer: Layer
    image: NetworkInput

    @cached_property
    def box(self) -> Box:
        """The pixels that the unit sees: all of them, where its layer does not tell."""
        height, width = self.image.size
        if self.unit.position is None or self.layer.field.whole or self.layer.field.global_context:
            return Box(0, 0, height, width)
        return self.layer.field.box(*self.unit.position).clipped(height, width)

    @property
    def is_local(self) -> bool:
        """Whether it can be answered from less than the whole picture."""
        field = self.layer.field
        return self.unit.position is not None and not (field.whole or field.global_context)


_SNAPPED = 64
"""Up to this field size a border unit's frame is as long as an inner unit's box."""


def _frame(start: int, stop: int, size: int, full: int) -> tuple[int, int]:
    """The interval that is run for a box: longer at a border, so that more of them are alike."""
    longest = min(size, full)
    step = longest if longest <= _SNAPPED else -(-longest // 4)
    length = min(longest, -(-(stop - start) // step) * step)
    if start == 0:
        return 0, max(length, stop)
    return (min(start, full - length), full) if stop == full else (start, stop)


@dataclass(frozen=True, eq=False)
class Crops:
    """Requests that run as one batch: the box that each sees, and the frame that is run for it."""

    requests: Sequence[ProjectionRequest]
    boxes: Sequence[Box]
    frames: Sequence[Box]

    @property
    def region(self) -> MapRegion:
        """What the first frame holds of its picture; the others hold the same, moved."""
        frame, (height, width) = self.frames[0], self.requests[0].image.size
        return MapRegion(
            Span(frame.top, frame.height, height), Span(frame.left, frame.width, width)
        )

    def output_positions(self, y: Span, x: Span) -> tuple[list[int], list[int]]:
        """Where in the run's output each unit stands."""
        first, anchor = self.frames[0], self.requests[0].unit.position
        assert anchor is not None
        rows, columns = [], []
        for requests, frame in zip(self.requests, self.frames, strict=True):
            assert requests.unit.position is not None
            down, right = requests.unit.position
            rows.append((down if frame.top == first.top else anchor[0]) - y.start)
            columns.append((right if frame.left == first.left else anchor[1]) - x.start)
        return rows, columns

    def subset(self, indices: Sequence[int]) -> "Crops":
        """Some of the requests."""
        return Crops(
            [self.requests[n] for n in indices],
            [self.boxes[n] for n in indices],
            [self.frames[n] for n in indices],
        )


def worth_cropping(requests: Sequence[ProjectionRequest]) -> bool:
    """Whether running each unit's box there and back costs less than whole pictures.

    Whole pictures run forward once each, and back once for each unit.
    """
    height, width = requests[0].image.size
    shares = sum(request.box.height * request.box.width for request in requests) / (height * width)
    images = len({id(request.image) for request in requests})
    return 2 * shares <= images + len(requests)


def group_into_batches(requests: Iterable[ProjectionRequest], survey: Survey) -> list[Crops]:
    """The requests in batches that can run as one, whatever their order."""
    groups: dict[tuple[object, ...], list[tuple[ProjectionRequest, Box, Box]]] = defaultdict(list)
    cuts_maps = cache(partial(_cuts_maps, survey))
    for request in requests:
        box, (height, width), field = request.box, request.image.size, request.layer.field
        top, bottom = _frame(box.top, box.bottom, field.y.size, height)
        left, right = _frame(box.left, box.right, field.x.size, width)
        borders: tuple[object, ...] = top == 0, left == 0, bottom == height, right == width
        if cuts_maps(request.layer.index):
            borders = top, left
        key = request.layer.index, request.image.size, bottom - top, right - left, borders
        groups[key].append((request, box, Box(top, left, bottom, right)))
    return [Crops(*zip(*group, strict=True)) for group in groups.values()]


def _cuts_maps(survey: Survey, target: int) -> bool:
    """Whether a map ends inside the picture: its border then shows in no box."""
    return any(
        window.reads(-1)[0] >= 0 or window.reads(window.outputs(length))[1] <= length
        for step in survey.steps[: target + 1]
        if isinstance(step.motion, Slide)
        for window, length in zip((step.motion.y, step.motion.x), step.lengths, strict=True)
    )


@dataclass(frozen=True, eq=False)
class ImageStack:
    """Pictures of one size, ready to be cropped many at a time."""

    tensor: torch.Tensor
    slots: dict[int, int]
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
        return cls(stack, {key: slot for slot, key in enumerate(unique)}, channels_last)

    def slot(self, image: NetworkInput) -> int:
        return self.slots[id(image)]

    def crop(self, crops: Crops) -> torch.Tensor:
        """The pixels under the frames, (batch, channels, height, width), channels stored last."""
        box = crops.frames[0]
        device = self.tensor.device
        slots = torch.tensor(
            [self.slot(request.image) for request in crops.requests], device=device
        )
        tops = torch.tensor([box.top for box in crops.frames], device=device)
        lefts = torch.tensor([box.left for box in crops.frames], device=device)
        rows = tops[:, None] + torch.arange(box.height, device=device)
        columns = lefts[:, None] + torch.arange(box.width, device=device)
        gathered = self.tensor[slots[:, None, None], rows[:, :, None], columns[:, None, :]]
        return self._in_layout(gathered.permute(0, 3, 1, 2))

    def images_at(self, slots: Sequence[int]) -> torch.Tensor:
        """Whole pictures, (batch, channels, height, width)."""
        return self._in_layout(self.tensor[list(slots)].permute(0, 3, 1, 2))

    def _in_layout(self, images: torch.Tensor) -> torch.Tensor:
        return images if self.channels_last else images.contiguous()


def max_batch_size(survey: Survey, target: int, size: Size, max_bytes: int) -> int:
    """How many crops of this size may run at once to a step and back in so many bytes."""
    return (
        1
        if survey.needs_single_images
        else max(max_bytes // _bytes_needed(survey, target, size), 1)
    )


def _bytes_needed(survey: Survey, target: int, size: Size) -> int:
    share = size[0] * size[1] / (survey.size[0] * survey.size[1])
    numbers = sum(_count(shape) for step in survey.steps[: target + 1] for shape in step.shapes)
    return int(4 * 3 * share * numbers) + 1


def _count(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
