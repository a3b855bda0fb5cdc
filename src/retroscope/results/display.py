"""How a value that holds pictures is written at a prompt: in a few lines, not number by number."""

from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    _Value = DataclassInstance
else:
    _Value = object


_LISTED = 4


class ArraySummary(_Value):
    """A frozen value whose arrays are written as their type and shape, long tuples as their length.

    What is as by default, or empty, is left out.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, repr=False)
    ... class Pair(Brief):
    ...     left: object
    ...     right: object = None
    >>> Pair(np.zeros((2, 3))), Pair((), "here")
    (Pair(left=<float64 2x3>), Pair(right='here'))
    """

    def __repr__(self) -> str:
        told = {
            one.name: value
            for one in fields(self)
            if not _goes_without_saying(value := getattr(self, one.name), one.default)
        }
        inside = ", ".join(f"{name}={_brief(value)}" for name, value in told.items())
        return f"{type(self).__name__}({inside})"


def _goes_without_saying(value: object, default: object) -> bool:
    if isinstance(value, np.ndarray):
        return False
    return value is None or value == () or (default is not MISSING and value == default)


def _brief(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {'x'.join(map(str, value.shape))}>"
    if isinstance(value, tuple) and (len(value) > _LISTED or any(map(is_dataclass, value))):
        return f"<{len(value)} {type(value[0]).__name__}>"
    has_short_form = is_dataclass(value) and type(value).__str__ is not object.__str__
    return str(value) if has_short_form else repr(value)
