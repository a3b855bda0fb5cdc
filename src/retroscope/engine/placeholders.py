"""Placeholders: tensors of the right size without values, for a network's own code to pass around.

An analysis runs the network's code on them and keeps what each one stands for, if anything.
"""

from collections.abc import Sequence

import torch

from retroscope.engine.call_arguments import Function
from retroscope.engine.interpreter import CannotFollow
from retroscope.engine.operations import functions_named, name_of


def placeholder(shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """A tensor of this shape that takes no memory."""
    return torch.zeros((), dtype=like.dtype, device=like.device).expand(*shape)


def refuse_layout_query(function: Function) -> None:
    """A placeholder cannot answer how the real tensor lies in memory."""
    if function in _LAYOUT_QUERIES or name_of(function).endswith(_LAYOUT_ATTRIBUTES):
        raise CannotFollow


_LAYOUT_QUERIES = set(functions_named("stride", "storage_offset", "data_ptr"))
_LAYOUT_ATTRIBUTES = ("untyped_storage", "storage", "data.__get__")
