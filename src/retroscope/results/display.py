"""Results with arrays: how they look at a Python prompt, and what they are to numpy and torch."""

from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch
    from _typeshed import DataclassInstance

    _Dataclass = DataclassInstance
else:
    _Dataclass = object


_MAX_LISTED = 4


class ArraySummary(_Dataclass):
    """A frozen dataclass whose `repr` gives arrays as type and shape, and long tuples as length.

    Fields that are empty or have their default are left out.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, repr=False)
    ... class Pair(ArraySummary):
    ...     left: object
    ...     right: object = None
    >>> Pair(np.zeros((2, 3))), Pair((), "text")
    (Pair(left=<float64 2x3>), Pair(right='text'))
    """

    def __repr__(self) -> str:
        values = ((field, getattr(self, field.name)) for field in fields(self))
        parts = (
            f"{field.name}={_summary(value)}"
            for field, value in values
            if not _is_default(value, field.default)
        )
        return f"{type(self).__name__}({', '.join(parts)})"


class ArrayResult(ArraySummary):
    """A result that numpy and torch take for its main array: `np.asarray(result)`."""

    def _array(self) -> npt.NDArray[np.float32]:
        """The main array."""
        raise NotImplementedError

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[np.generic]:
        return np.array(self._array(), dtype, copy=copy)

    def to_tensor(self) -> "torch.Tensor":
        """A copy of the main array as a tensor, with the channels first if it has any."""
        import torch

        return torch.from_numpy(self._channels_first().copy())

    def _channels_first(self) -> npt.NDArray[np.float32]:
        return self._array()


def _is_default(value: object, default: object) -> bool:
    if isinstance(value, np.ndarray):
        return False
    return value is None or value == () or (default is not MISSING and value == default)


def _summary(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {'x'.join(map(str, value.shape))}>"
    if isinstance(value, tuple) and (len(value) > _MAX_LISTED or any(map(is_dataclass, value))):
        return f"<{len(value)} {type(value[0]).__name__}>"
    has_short_form = is_dataclass(value) and type(value).__str__ is not object.__str__
    return str(value) if has_short_form else repr(value)
