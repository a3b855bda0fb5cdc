"""The arguments of a call of a torch function, and the tensors among them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch

Function = Callable[..., object]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def positional(args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    """The same arguments under torch's own names, the input in the first place."""
    kwargs = {_SYNONYMS.get(key, key): value for key, value in kwargs.items()}
    if args or not kwargs:
        return args, kwargs
    first = next((name for name in _FIRST_NAMES if name in kwargs), "") or next(iter(kwargs))
    return (kwargs[first],), {key: value for key, value in kwargs.items() if key != first}


_FIRST_NAMES = ("input", "self", "tensors", "query")
_SYNONYMS = {"axis": "dim", "keepdims": "keepdim"}


def with_tensors(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same arguments with every tensor changed, also inside plain lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(with_tensors(element, change) for element in value)
    if isinstance(value, dict):
        return {key: with_tensors(element, change) for key, element in value.items()}
    return value


def with_others(value: Any, replacements: Mapping[int, torch.Tensor]) -> Any:
    """The same arguments with tensors replaced, keyed by the `id` of the tensor replaced."""
    return with_tensors(value, lambda tensor: replacements.get(id(tensor), tensor))


def tensors_in(*values: object) -> Iterator[torch.Tensor]:
    """Every tensor in these arguments or results, also inside lists, tuples, dicts and slices."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(*value)
        elif isinstance(value, dict):
            yield from tensors_in(*value.values())
        elif isinstance(value, slice):
            yield from tensors_in(value.start, value.stop, value.step)


def is_basic_key(key: object) -> bool:
    """Whether an entry of an index is a number, a slice, None or `...`, and no list or tensor."""
    is_number = isinstance(key, Integral) and not isinstance(key, bool)
    return is_number or key is None or key is Ellipsis or isinstance(key, slice)


@dataclass(frozen=True, eq=False)
class PadArguments:
    """The arguments of a call of `F.pad`, by position or by name."""

    input: torch.Tensor
    pad: Sequence[int]
    mode: str = "constant"
    value: float | None = None
