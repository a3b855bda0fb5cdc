"""Requests for units in pictures, sorted into batches that run as one.

Frames of the same shape that touch the same borders of pictures of the same size see the same
windows, so that they go through the network side by side.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

import torch

from retroscope.engine.map_regions import Held, Span
from retroscope.engine.motion import Slide
from retroscope.engine.survey import Survey
from retroscope.geometry import Box
from retroscope.imaging.image import Picture
from retroscope.results.layers import Layer
from retroscope.unit import Unit

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as the network takes it, as it looks, and where it came from."""

    numbers: torch.Tensor
    picture: Picture
    source: str

    @property
    def size(self) -> Size:
        return self.numbers.shape[1], self.numbers.shape[2]


@dataclass(frozen=True, eq=False)
class Asked:
    """One request: a unit of a layer, in a picture; `order` is its turn."""

    order: int
    unit: Unit
    layer: Layer
    image: Prepared

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
    most = min(size, full)
    step = most if most <= _SNAPPED else -(-most // 4)
    length = min(most, -(-(stop - start) // step) * step)
    if start == 0:
        return 0, max(length, stop)
    return (min(start, full - length), full) if stop == full else (start, stop)


@dataclass(frozen=True, eq=False)
class Crops:
    """Requests that run as one batch: the box that each sees, and the frame that is run for it."""

    asked: Sequence[Asked]
    boxes: Sequence[Box]
    frames: Sequence[Box]

    @property
    def held(self) -> Held:
        """What the first frame holds of its picture; the others hold the same, moved."""
        frame, (height, width) = self.frames[0], self.asked[0].image.size
        return Held(Span(frame.top, frame.height, height), Span(frame.left, frame.width, width))

    def places(self, y: Span, x: Span) -> tuple[list[int], list[int]]:
        """Where in the run's output each unit stands."""
        first, anchor = self.frames[0], self.asked[0].unit.position
        assert anchor is not None
        rows, columns = [], []
        for asked, frame in zip(self.asked, self.frames, strict=True):
            assert asked.unit.position is not None
            down, right = asked.unit.position
            rows.append((down if frame.top == first.top else anchor[0]) - y.start)
            columns.append((right if frame.left == first.left else anchor[1]) - x.start)
        return rows, columns

    def part(self, some: Sequence[int]) -> "Crops":
        """Some of the requests."""
        return Crops(
            [self.asked[n] for n in some],
            [self.boxes[n] for n in some],
            [self.frames[n] for n in some],
        )


def worth_cropping(asked: Sequence[Asked]) -> bool:
    """Whether running each unit's box there and back costs less than whole pictures.

    Whole pictures run forward once each, and back once for each unit.
    """
    height, width = asked[0].image.size
    shares = sum(one.box.height * one.box.width for one in asked) / (height * width)
    pictures = len({id(one.image) for one in asked})
    return 2 * shares <= pictures + len(asked)


def alike(asked: Iterable[Asked], survey: Survey) -> list[Crops]:
    """The requests in batches that can run as one, whatever their order."""
    groups: dict[tuple[object, ...], list[tuple[Asked, Box, Box]]] = defaultdict(list)
    cuts = cache(partial(_cuts_maps, survey))
    for one in asked:
        box, (height, width), field = one.box, one.image.size, one.layer.field
        top, bottom = _frame(box.top, box.bottom, field.y.size, height)
        left, right = _frame(box.left, box.right, field.x.size, width)
        borders: tuple[object, ...] = top == 0, left == 0, bottom == height, right == width
        if cuts(one.layer.index):
            borders = top, left
        key = one.layer.index, one.image.size, bottom - top, right - left, borders
        groups[key].append((one, box, Box(top, left, bottom, right)))
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
class Gallery:
    """Pictures of one size, ready to be cropped many at a time."""

    numbers: torch.Tensor
    slots: dict[int, int]
    channels_last: bool = True

    @classmethod
    def of(
        cls, images: Iterable[Prepared], device: torch.device, *, channels_last: bool = True
    ) -> "Gallery":
        unique = {id(image): image for image in images}
        first = next(iter(unique.values())).numbers
        channels, height, width = first.shape
        stack = first.new_empty(len(unique), height, width, channels, device=device)
        for slot, image in enumerate(unique.values()):
            stack[slot] = image.numbers.permute(1, 2, 0)
        return cls(stack, {key: slot for slot, key in enumerate(unique)}, channels_last)

    def slot(self, image: Prepared) -> int:
        return self.slots[id(image)]

    def crops(self, wanted: Crops) -> torch.Tensor:
        """The pixels under the frames, (batch, channels, height, width), channels stored last."""
        box = wanted.frames[0]
        device = self.numbers.device
        slots = torch.tensor([self.slot(one.image) for one in wanted.asked], device=device)
        tops = torch.tensor([box.top for box in wanted.frames], device=device)
        lefts = torch.tensor([box.left for box in wanted.frames], device=device)
        rows = tops[:, None] + torch.arange(box.height, device=device)
        columns = lefts[:, None] + torch.arange(box.width, device=device)
        picked = self.numbers[slots[:, None, None], rows[:, :, None], columns[:, None, :]]
        return self._stored(picked.permute(0, 3, 1, 2))

    def whole(self, slots: Sequence[int]) -> torch.Tensor:
        """Whole pictures, (batch, channels, height, width)."""
        return self._stored(self.numbers[list(slots)].permute(0, 3, 1, 2))

    def _stored(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures if self.channels_last else pictures.contiguous()


def how_many(survey: Survey, target: int, size: Size, room: int) -> int:
    """How many crops of this size may run at once to a step and back in so many bytes."""
    return 1 if survey.alone else max(room // _bytes_needed(survey, target, size), 1)


def _bytes_needed(survey: Survey, target: int, size: Size) -> int:
    share = size[0] * size[1] / (survey.size[0] * survey.size[1])
    numbers = sum(_count(shape) for step in survey.steps[: target + 1] for shape in step.shapes)
    return int(4 * 3 * share * numbers) + 1


def _count(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
