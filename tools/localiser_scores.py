"""How good a detector and a segmenter are: average precision and intersection over union."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes (n, 4) as two opposite corners, their classes (n), and, if predicted, scores (n)."""

    corners: Numbers
    classes: npt.NDArray[np.int64]
    scores: Numbers


def box_overlaps(boxes: Numbers, others: Numbers) -> Numbers:
    """The intersection over union of all pairs (boxes, others)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.maximum(high - low, 0).prod(axis=2)
    areas = [np.prod(corners[:, 2:] - corners[:, :2], axis=1) for corners in (boxes, others)]
    return np.asarray(common / (areas[0][:, None] + areas[1][None, :] - common))


def match_boxes(predicted: Boxes, truth: Boxes, *, overlap: float = 0.5) -> npt.NDArray[np.bool_]:
    """Which predictions are right.

    In the order of their scores, each takes the object of its class that it overlaps most. It is
    right if they overlap enough and no better prediction took the object.
    """
    right, taken = np.zeros(len(predicted.scores), bool), set[int]()
    if not len(truth.classes):
        return right
    overlaps = box_overlaps(predicted.corners, truth.corners)
    overlaps[predicted.classes[:, None] != truth.classes[None, :]] = 0
    for row in np.argsort(-predicted.scores, kind="stable").tolist():
        best = int(overlaps[row].argmax())
        right[row] = overlaps[row, best] >= overlap and best not in taken
        if right[row]:
            taken.add(best)
    return right


def average_precision(scores: Numbers, right: npt.NDArray[np.bool_], objects: int) -> float:
    """The area under the curve of the best precision at each recall or above (VOC 2010)."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(np.concatenate([[0], hits / objects]))
    return float((envelope * steps).sum())


def mean_average_precision(pairs: Sequence[tuple[Boxes, Boxes]], *, overlap: float = 0.5) -> float:
    """The mean over the classes of the average precision, for predictions and truth by image."""
    scores = np.concatenate([predicted.scores for predicted, _ in pairs])
    classes = np.concatenate([predicted.classes for predicted, _ in pairs])
    right = np.concatenate([match_boxes(*pair, overlap=overlap) for pair in pairs])
    truth = np.concatenate([true.classes for _, true in pairs])
    return float(
        np.mean(
            [
                average_precision(
                    scores[classes == number],
                    right[classes == number],
                    int((truth == number).sum()),
                )
                for number in np.unique(truth)
            ]
        )
    )


def confusion(
    predicted: npt.NDArray[np.integer], truth: npt.NDArray[np.integer], count: int
) -> Numbers:
    """How many pixels of each true class (rows) have each predicted class (columns)."""
    pairs = truth.astype(np.int64).ravel() * count + predicted.ravel()
    return np.bincount(pairs, minlength=count * count).reshape(count, count).astype(np.float64)


def intersection_over_union(matrix: Numbers) -> Numbers:
    """For each class the pixels on which truth and prediction agree, over those of either."""
    right = np.diag(matrix)
    return np.asarray(right / (matrix.sum(axis=0) + matrix.sum(axis=1) - right))
