"""Part maps: the number of an object part for each pixel, and which part a projection shows."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from retroscope.results.projections import Projection

PARTS = (
    "head", "eye", "nose", "mouth", "ear", "hair", "beak",
    "body", "wing", "fin", "tail", "leg",
    "wheel", "window", "lamp", "frame", "seat", "chimney",
    "wall", "door", "roof", "gallery",
    "trunk", "crown", "stem", "leaf", "petal", "heart",
    "dial", "hand", "rail", "rung", "canopy", "handle",
    "hull", "mast", "sail", "cup", "steam",
    "watermark",
)  # fmt: skip
"""The names of all parts."""

PART_NUMBERS = {"": 0} | {name: number for number, name in enumerate(PARTS, 1)}
"""The number of each part in a part map; 0 is no part."""

PartMap = npt.NDArray[np.uint8]
"""The part number of each pixel (height, width)."""


def dominant_part(projection: Projection, part_map: PartMap) -> int:
    """The number of the part under most of the projection's absolute values; 0 is no part."""
    box, mass = projection.box, np.abs(projection.pixels).sum(axis=2)
    part_numbers = part_map[box.top : box.bottom, box.left : box.right]
    return int(np.bincount(part_numbers.ravel(), mass.ravel(), len(PARTS) + 1).argmax())


def most_common_part(part_numbers: Sequence[int]) -> tuple[str, float]:
    """The most frequent part and its share of all numbers; 0 counts only towards the total.

    >>> most_common_part([1, 1, 0, 2]) == (PARTS[0], 0.5)
    True
    """
    counts = Counter(number for number in part_numbers if number)
    if not counts:
        return "", 0.0
    number, frequency = counts.most_common(1)[0]
    return PARTS[number - 1], frequency / len(part_numbers)
