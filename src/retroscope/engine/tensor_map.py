"""A dictionary keyed by tensors, which it does not keep alive."""

from typing import Generic, TypeVar, cast

import torch
from torch.utils.weak import WeakTensorKeyDictionary

Entry = TypeVar("Entry")


class TensorMap(Generic[Entry]):
    """Entries for tensors, compared by identity. A tensor's entry goes when the tensor does.

    >>> image, names = torch.zeros(2), TensorMap[str]()
    >>> names[image] = "input"
    >>> names[image], torch.zeros(2) in names
    ('input', False)
    """

    def __init__(self) -> None:
        self._entries = WeakTensorKeyDictionary()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, tensor: torch.Tensor) -> bool:
        return tensor in self._entries

    def __getitem__(self, tensor: torch.Tensor) -> Entry:
        return cast("Entry", self._entries[tensor])

    def __setitem__(self, tensor: torch.Tensor, entry: Entry) -> None:
        self._entries[tensor] = entry

    def get(self, tensor: torch.Tensor) -> Entry | None:
        """The tensor's entry, or None."""
        return self[tensor] if tensor in self._entries else None

    def sharing(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The tensors with an entry that lie in the same memory."""
        address = address_of(tensor)
        return [key for key in self._entries if address_of(key) == address]

    def drop(self, tensor: torch.Tensor) -> None:
        """Removes the tensor's entry, if it has one."""
        if tensor in self:
            del self._entries[tensor]


def address_of(tensor: torch.Tensor) -> int:
    """Where the tensor's memory begins; tensors that share it have one address."""
    return tensor.untyped_storage().data_ptr()


def substitute_for(substitutes: TensorMap[torch.Tensor], tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's substitute, or the tensor itself."""
    substitute = substitutes.get(tensor)
    return tensor if substitute is None else substitute
