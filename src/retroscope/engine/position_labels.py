"""Which position of the image each element of a tensor is at, if its dimensions do not say it.

A transformer lists the positions of a map as tokens, cuts them into windows, and adds tokens that
have no position:

    map (1, 8, 2, 3)        y and x are dimensions 2 and 3
    flatten(2)              dimension 2 has the positions   0  1  2  3  4  5
    transpose, cat          dimension 1 has them           -1  0  1  2  3  4  5      -1: class token
"""

from dataclasses import dataclass
from itertools import permutations
from math import prod

import torch

from retroscope.engine.motion import Axes, Grid, Shape, TokenAxis

NOWHERE = -1
"""The number of an element that is at no position, such as a class token."""


@dataclass(frozen=True, eq=False)
class PositionLabels:
    """The number `y * width + x` of each element of a tensor, on a grid (height, width); that of a
    volume counts on through its slices.

    `numbers` has the tensor's shape, and a stride of 0 along dimensions where all numbers are
    equal, so that it takes no memory there. `is_pairs`: the elements stand for pairs of positions,
    as attention weights do; the number is that of the query.
    """

    numbers: torch.Tensor
    grid: Grid
    is_pairs: bool = False

    @classmethod
    def of(
        cls, numbers: torch.Tensor, grid: Grid, *, is_pairs: bool = False
    ) -> "PositionLabels | None":
        """Labels with these numbers; None if no element is at a position."""
        if not bool((_without_repeats(numbers) >= 0).any()):
            return None
        return cls(_repeat_equal_numbers(numbers), grid, is_pairs)

    @classmethod
    def of_map(cls, axes: Axes, shape: Shape) -> "PositionLabels":
        """The labels of a map with its axes along these dimensions."""
        grid = tuple(shape[axis] for axis in axes)
        numbers = torch.zeros((), dtype=torch.int32, device="cpu")
        for place, axis in enumerate(axes):
            along = torch.arange(grid[place], dtype=torch.int32, device="cpu")
            numbers = numbers + _along(along * prod(grid[place + 1 :]), axis, len(shape))
        return cls(numbers.expand(shape), grid)

    @property
    def varying(self) -> tuple[int, ...]:
        """The dimensions along which the numbers differ."""
        sizes = zip(self.numbers.shape, self.numbers.stride(), strict=True)
        return tuple(dim for dim, (size, stride) in enumerate(sizes) if size > 1 and stride)

    @property
    def distinct(self) -> torch.Tensor:
        """The numbers, with length 1 along dimensions where all are equal."""
        return _without_repeats(self.numbers)

    def axes(self) -> Axes | None:
        """The dimensions that run along the axes, if there are such: it is a map again."""
        if len(self.varying) != len(self.grid) or self.is_pairs:
            return None
        shape = self.distinct.shape
        for axes in permutations(self.varying):
            if tuple(shape[axis] for axis in axes) == self.grid:
                expected = PositionLabels.of_map(axes, tuple(shape))
                if torch.equal(expected.numbers, self.distinct):
                    return axes
        return None

    def token_axis(self, batch_dim: int = 0) -> TokenAxis | None:
        """The dimension that lists all positions row by row, if one beside the batch does."""
        if len(self.varying) != 1 or self.varying[0] == batch_dim or self.is_pairs:
            return None
        (dim,), numbers, count = self.varying, self.distinct.flatten(), prod(self.grid)
        start = int((numbers >= 0).int().argmax())
        expected = torch.full_like(numbers, NOWHERE)
        stop = min(start + count, len(numbers))
        expected[start:stop] = torch.arange(stop - start, device="cpu").to(numbers)
        if stop - start < count or not torch.equal(expected, numbers):
            return None
        return TokenAxis(dim, self.grid, start, len(numbers))


def merge(labels: list[PositionLabels], shape: Shape) -> torch.Tensor | None:
    """The numbers of tensors that meet element by element in a result of this shape.

    Tokens without a position take that of what they meet. None if positions disagree.
    """
    merged: torch.Tensor | None = None
    for numbers in (each.distinct for each in labels):
        if merged is None:
            merged = numbers
            continue
        if bool(((merged >= 0) & (numbers >= 0) & (merged != numbers)).any()):
            return None
        merged = torch.where(merged >= 0, merged, numbers)
    return None if merged is None else merged.expand(shape)


def _along(values: torch.Tensor, dim: int, rank: int) -> torch.Tensor:
    return values.view([-1 if other == dim else 1 for other in range(rank)])


def _without_repeats(numbers: torch.Tensor) -> torch.Tensor:
    for dim, (size, stride) in enumerate(zip(numbers.shape, numbers.stride(), strict=True)):
        if size > 1 and stride == 0:
            numbers = numbers.narrow(dim, 0, 1)
    return numbers


def _repeat_equal_numbers(numbers: torch.Tensor) -> torch.Tensor:
    """The same numbers, stored once along each dimension where all are equal."""
    shape, numbers = numbers.shape, _without_repeats(numbers)
    for dim in range(numbers.dim()):
        first = numbers.narrow(dim, 0, 1)
        if bool((numbers == first).all()):
            numbers = first
    return numbers.expand(shape)
