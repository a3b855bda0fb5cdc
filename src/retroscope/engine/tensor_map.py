"""What is known of a tensor, for as long as the tensor lives."""

from typing import Generic, TypeVar, cast

import torch
from torch.utils.weak import WeakTensorKeyDictionary

Entry = TypeVar("Entry")


class TensorMap(Generic[Entry]):
    """A mark on each of some tensors, told apart by identity; none of them is kept alive.

    >>> picture, marks = torch.zeros(2), Marks[str]()
    >>> marks[picture] = "input"
    >>> marks[picture], torch.zeros(2) in marks
    ('input', False)
    """

    def __init__(self) -> None:
        self._marks = WeakTensorKeyDictionary()

    def __len__(self) -> int:
        return len(self._marks)

    def __contains__(self, tensor: torch.Tensor) -> bool:
        return tensor in self._marks

    def __getitem__(self, tensor: torch.Tensor) -> Entry:
        return cast("Entry", self._marks[tensor])

    def __setitem__(self, tensor: torch.Tensor, mark: Entry) -> None:
        self._marks[tensor] = mark

    def get(self, tensor: torch.Tensor) -> Entry | None:
        """The tensor's mark; None where it has none."""
        return self[tensor] if tensor in self._marks else None

    def sharing(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The marked tensors that lie in the same memory."""
        place = tensor.untyped_storage().data_ptr()
        return [one for one in self._marks if one.untyped_storage().data_ptr() == place]

    def drop(self, tensor: torch.Tensor) -> None:
        """Takes the tensor's mark away."""
        if tensor in self:
            del self._marks[tensor]


def substitute_for(swaps: TensorMap[torch.Tensor], tensor: torch.Tensor) -> torch.Tensor:
    """What stands in for a tensor: its mark, or the tensor itself."""
    other = swaps.get(tensor)
    return tensor if other is None else other
