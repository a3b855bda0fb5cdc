"""Stand-ins: tensors of the right size without numbers, for a network's code to hand around.

While a network's own code runs on them, somebody else keeps, or does not need, what they mean.
"""

from collections.abc import Sequence

import torch

from retroscope.engine.intercept import Ended
from retroscope.engine.operations import Function, name_of, named
from retroscope.engine.survey import Step


class Lost(Ended):
    """The network does something that stand-ins cannot follow; it must be run as it is."""


def blank(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """A tensor of this shape that takes no memory."""
    return torch.zeros((), dtype=like.dtype, device=like.device).expand(*shape)


def next_step(steps: Sequence[Step], count: int, function: Function) -> Step:
    """The step whose turn it is, which must be the one that was surveyed."""
    if count >= len(steps) or steps[count].function != function:
        raise Lost
    return steps[count]


def refuse_layout(function: Function) -> None:
    """How a tensor lies in memory cannot be asked of a stand-in."""
    if function in _ASKS_FOR_LAYOUT or name_of(function).endswith(_LAYOUT):
        raise Lost


_ASKS_FOR_LAYOUT = set(named("stride", "storage_offset", "data_ptr"))
_LAYOUT = ("untyped_storage", "storage", "data.__get__")
