"""What a picture claims to show, checked by the parts that are known to be there."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from retroscope.results.values import Projection
from retroscope.world.part_names import PARTS

Parts = npt.NDArray[np.uint8]
"""The number of a part for each pixel; 0 is no part."""


def shown_part(projection: Projection, parts: Parts) -> int:
    """The number of the part that holds most of a projection's absolute values; 0 is no part."""
    box, mass = projection.box, np.abs(projection.pixels).sum(axis=2)
    under = parts[box.top : box.bottom, box.left : box.right]
    return int(np.bincount(under.ravel(), mass.ravel(), len(PARTS) + 1).argmax())


def agreed(shown: Sequence[int]) -> tuple[str, float]:
    """The commonest of the parts that are shown, and its share; none is not a part.

    >>> agreed([1, 1, 0, 2]) == (PARTS[0], 0.5)
    True
    """
    counts = Counter(number for number in shown if number)
    if not counts:
        return "", 0.0
    number, times = counts.most_common(1)[0]
    return PARTS[number - 1], times / len(shown)
