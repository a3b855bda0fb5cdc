"""Random programs, drafted call by call: each call runs as it is written down.

An example of `operation_calls` asks the draft for its arguments. Whatever it computes on the way,
such as a gate, becomes a call of the program too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from retroscope.engine.call_arguments import Function, tensors_in
from tests.conftest import numbers

Shape = Sequence[int]
Item = TypeVar("Item")

MAX_NUMBERS, MAX_ABSOLUTE = 6000, 1e4


@dataclass(frozen=True)
class Value:
    """Stands for a tensor of the pass, by its number."""

    number: int


@dataclass(frozen=True, eq=False)
class Instruction:
    """One call, with a Value in place of each tensor of the pass."""

    function: Function
    args: Any
    kwargs: Any

    def run(self, values: Sequence[Tensor]) -> object:
        return self.function(*_fill(self.args, values), **_fill(self.kwargs, values))


class Program(nn.Module):
    """A network that runs its instructions; its values are the image and then all results."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        super().__init__()
        self.instructions = instructions
        self.precision = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, image: Tensor) -> Tensor:
        values = [image]
        for instruction in self.instructions:
            values += tensors_in(instruction.run(values))
        return values[-1]


def _fill(template: Any, values: Sequence[Tensor]) -> Any:
    return _replace(template, lambda leaf: values[leaf.number] if isinstance(leaf, Value) else leaf)


def _replace(template: Any, change: Callable[[Any], Any]) -> Any:
    """The same arguments with every leaf changed."""
    if type(template) in (list, tuple):
        return type(template)(_replace(element, change) for element in template)
    if isinstance(template, dict):
        return {key: _replace(element, change) for key, element in template.items()}
    return change(template)


class Draft:
    """A program in the making, on a random image of three channels."""

    def __init__(self, size: tuple[int, ...], seed: int) -> None:
        self._dice = np.random.default_rng(seed)
        self.image = numbers(1, 3, *size, seed=seed)
        self.instructions: list[Instruction] = []
        self.values: list[Tensor] = [self.image.clone()]

    def program(self) -> Program:
        return Program(tuple(self.instructions))

    @torch.no_grad()
    def call(self, function: Function, *args: Any, **kwargs: Any) -> Any:
        """Runs a call, and writes it down."""
        template = _replace((args, kwargs), self._template_of)
        result = function(*args, **kwargs)
        self.instructions.append(Instruction(function, *template))
        self.values += tensors_in(result)
        return result

    @torch.no_grad()
    def attempt(self, write: "Callable[[Draft], object]") -> bool:
        """Whether what this writes runs and gives usable numbers; if not, it never happened."""
        before = len(self.instructions)
        try:
            write(self)
            if len(self.instructions) > before and all(map(_is_usable, self.values)):
                return True
        except (RuntimeError, TypeError, ValueError, IndexError):
            pass
        self._rewind(before)
        return False

    @torch.no_grad()
    def _rewind(self, count: int) -> None:
        """The first calls run again: later ones may have changed their results in place."""
        del self.instructions[count:]
        self.values = [self.image.clone()]
        for instruction in self.instructions:
            self.values += tensors_in(instruction.run(self.values))

    def _template_of(self, leaf: Any) -> Any:
        numbers_of_value = (n for n, value in enumerate(self.values) if value is leaf)
        number = next(numbers_of_value, None)
        return leaf if number is None else Value(number)

    # What an example may ask for

    def whole(self, least: int, most: int) -> int:
        return int(self._dice.integers(least, most + 1))

    def below(self, limit: int) -> int:
        return int(self._dice.integers(limit))

    def number(self, least: float, most: float) -> float:
        return float(self._dice.uniform(least, most))

    def chance(self, probability: float = 0.5) -> bool:
        return bool(self._dice.uniform() < probability)

    def pick(self, items: Sequence[Item]) -> Item:
        if not items:
            raise ValueError("nothing to pick from")
        return items[self.below(len(items))]

    def choice(self, *items: Item) -> Item:
        return self.pick(items)

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        order = self._dice.permutation(len(items))[:count]
        return [items[number] for number in order]

    def shuffle(self, items: Sequence[Item]) -> list[Item]:
        return self.sample(items, len(items))

    def tensor(self, *ranks: int) -> Tensor:
        """A value of floats, of one of these ranks if any are named; rather a late one."""
        fits = [
            value
            for value in self.values
            if value.is_floating_point() and (not ranks or value.dim() in ranks)
        ]
        return fits[-1] if fits and self.chance(0.6) else self.pick(fits)

    def constant(self, *shape: int, positive: bool = False) -> Tensor:
        """A tensor that does not depend on the image, or a parameter."""
        tensor = numbers(*shape, seed=self.below(10**6)) / 2
        tensor = tensor.abs() + 0.5 if positive else tensor
        return nn.Parameter(tensor, requires_grad=False) if self.chance(0.3) else tensor

    def weight(self, *shape: int) -> Tensor:
        """Weights: mostly constant, sometimes computed from the image."""
        weight = self.constant(*shape)
        if self.chance(0.75):
            return weight
        return self.from_tensor(self.call(torch.mul, weight, self.call(torch.mean, self.tensor())))

    def dim(self, tensor: Tensor) -> int:
        return self.whole(-tensor.dim(), tensor.dim() - 1)

    def dims(self, tensor: Tensor) -> int | tuple[int, ...]:
        count = self.whole(0, tensor.dim())
        chosen = tuple(self.sample(range(tensor.dim()), count))
        signed = tuple(dim - tensor.dim() if self.chance(0.3) else dim for dim in chosen)
        return signed[0] if len(signed) == 1 and self.chance() else signed

    def pass_value(self, tensor: Tensor) -> Tensor:
        """A copy of a constant, which a call may then change in place."""
        is_constant = all(value is not tensor for value in self.values)
        return self.from_tensor(self.call(torch.clone, tensor)) if is_constant else tensor

    def from_tensor(self, value: Any) -> Tensor:
        assert isinstance(value, Tensor)
        return value


@torch.no_grad()
def _is_usable(tensor: Tensor) -> bool:
    if not 0 < tensor.numel() <= MAX_NUMBERS:
        return False
    return not tensor.is_floating_point() or bool((tensor.abs() < MAX_ABSOLUTE).all())
