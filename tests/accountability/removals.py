"""Images whose class scores without each set of parts are known: sums of what the parts add."""

from collections.abc import Sequence

import numpy as np

from retroscope.accountability.part_removals import ClassContrast, PartRemovals

SIDE = 12


def additive(
    *weights: Sequence[float], rest: Sequence[float], contrast: ClassContrast | None = None
) -> PartRemovals:
    """A row of `weights` for each class, with what each part adds to its score; `rest` remains.

    The parts are squares of three pixels on the diagonal.
    """
    table = np.array(weights, np.float64)
    classes, parts = table.shape
    scores = np.array(
        [
            [
                rest[c] + sum(table[c, n] for n in range(parts) if not removed >> n & 1)
                for c in range(classes)
            ]
            for removed in range(2**parts)
        ]
    )
    return removals_of(scores, contrast)


def removals_of(scores: np.ndarray, contrast: ClassContrast | None = None) -> PartRemovals:
    parts = (len(scores) - 1).bit_length()
    masks = np.zeros((parts, SIDE, SIDE), bool)
    for number in range(parts):
        masks[number, 3 * number : 3 * number + 3, 3 * number : 3 * number + 3] = True
    names = tuple("abcdefgh"[:parts])
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    return PartRemovals(pixels, "", names, masks, scores, contrast)
