"""Numbers as JSON, which has none that are not finite: null stands for them."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt


def number_json(value: float | None) -> float | None:
    """A number; null if it is not finite.

    >>> number_json(0.5), number_json(float("nan"))
    (0.5, None)
    """
    return value if value is not None and isfinite(value) else None


def nested_numbers(array: npt.NDArray[np.floating]) -> Sequence[Any]:
    """An array as nested lists; null for each value that is not finite."""
    values = array.astype(object)
    values[~np.isfinite(array)] = None
    nested: Sequence[Any] = values.tolist()
    return nested
