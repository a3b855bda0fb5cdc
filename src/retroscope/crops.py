"""Requests for units in pictures, sorted into batches that run as one.

Units whose boxes have the same shape and touch the same borders of pictures of the same size see
the same windows, so that their crops go through the network side by side.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from retroscope.geometry import Box
from retroscope.network import Prepared, Size
from retroscope.results import Layer
from retroscope.span import Held, Span
from retroscope.survey import Survey
from retroscope.unit import Unit


@dataclass(frozen=True, eq=False)
class Asked:
    """One request: a unit of a layer, in a picture; `order` is its turn."""

    order: int
    unit: Unit
    layer: Layer
    image: Prepared

    @property
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


@dataclass(frozen=True, eq=False)
class Crops:
    """Requests that run as one batch, with the box of each."""

    asked: Sequence[Asked]
    boxes: Sequence[Box]

    @property
    def held(self) -> Held:
        """What the first crop holds of its picture; the others hold the same, moved."""
        box, (height, width) = self.boxes[0], self.asked[0].image.size
        return Held(Span(box.top, box.height, height), Span(box.left, box.width, width))

    def places(self, y: Span, x: Span) -> tuple[list[int], list[int]]:
        """Where in the run's output each unit stands."""
        first, anchor = self.boxes[0], self.asked[0].unit.position
        assert anchor is not None
        rows, columns = [], []
        for asked, box in zip(self.asked, self.boxes, strict=True):
            assert asked.unit.position is not None
            down, right = asked.unit.position
            rows.append((down if box.top == first.top else anchor[0]) - y.start)
            columns.append((right if box.left == first.left else anchor[1]) - x.start)
        return rows, columns

    def part(self, some: Sequence[int]) -> "Crops":
        """Some of the requests."""
        return Crops([self.asked[n] for n in some], [self.boxes[n] for n in some])


def alike(asked: Iterable[Asked]) -> list[Crops]:
    """The requests in batches that can run as one, whatever their order."""
    groups: dict[tuple[object, ...], list[tuple[Asked, Box]]] = defaultdict(list)
    for one in asked:
        box, (height, width) = one.box, one.image.size
        borders = box.top == 0, box.left == 0, box.bottom == height, box.right == width
        key = one.layer.index, one.image.size, box.height, box.width, borders
        groups[key].append((one, box))
    return [Crops(*zip(*group, strict=True)) for group in groups.values()]


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures of one size, ready to be cropped many at a time."""

    numbers: torch.Tensor
    slots: dict[int, int]

    @classmethod
    def of(cls, images: Iterable[Prepared]) -> "Gallery":
        unique = {id(image): image for image in images}
        first = next(iter(unique.values())).numbers
        channels, height, width = first.shape
        stack = first.new_empty(len(unique), height, width, channels)
        for slot, image in enumerate(unique.values()):
            stack[slot] = image.numbers.permute(1, 2, 0)
        return cls(stack, {key: slot for slot, key in enumerate(unique)})

    def slot(self, image: Prepared) -> int:
        return self.slots[id(image)]

    def crops(self, wanted: Crops) -> torch.Tensor:
        """The pixels under the boxes, (batch, channels, height, width), channels stored last."""
        box = wanted.boxes[0]
        device = self.numbers.device
        slots = torch.tensor([self.slot(one.image) for one in wanted.asked], device=device)
        tops = torch.tensor([box.top for box in wanted.boxes], device=device)
        lefts = torch.tensor([box.left for box in wanted.boxes], device=device)
        rows = tops[:, None] + torch.arange(box.height, device=device)
        columns = lefts[:, None] + torch.arange(box.width, device=device)
        picked = self.numbers[slots[:, None, None], rows[:, :, None], columns[:, None, :]]
        return picked.permute(0, 3, 1, 2)

    def whole(self, slots: Sequence[int]) -> torch.Tensor:
        """Whole pictures, (batch, channels, height, width)."""
        return self.numbers[list(slots)].permute(0, 3, 1, 2)


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
