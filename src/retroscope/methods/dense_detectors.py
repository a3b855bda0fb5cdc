"""Detectors that predict a box at every position of their maps: the bundled one, and YOLO.

Their outputs are read as boxes (n, 4: top, left, bottom, right), scores (n) and classes (n). The
scores stay in the graph of autograd.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from retroscope.engine.call_arguments import tensors_in
from retroscope.zoo.demo_localisers import DemoDetector

LIMIT = 300
"""At most this many detections of an image, as in ultralytics."""

BoxTensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Boxes, scores and classes of one image."""

_SIDES = (1, 0, 3, 2)
"""From left, top, right, bottom to top, left, bottom, right."""


@dataclass(frozen=True)
class BoxFilter:
    """The least score of a detection, and the overlap above which the less confident one goes."""

    min_score: float = 0.25
    max_overlap: float = 0.5


DEMO_FILTER, YOLO_FILTER = BoxFilter(), BoxFilter(max_overlap=0.7)
"""The second is the default of ultralytics."""


def select_boxes(
    boxes: torch.Tensor, scores: torch.Tensor, box_filter: BoxFilter
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which boxes are detections, and the class of each; the most confident first.

    `boxes` are (n, 4) with two opposite corners, `scores` (n, classes). A box has the class of its
    highest score. Of boxes of one class that overlap, the most confident stays.

    >>> boxes = torch.tensor([[0.0, 0, 8, 8], [0, 0, 8, 7], [0, 0, 8, 8]])
    >>> scores = torch.tensor([[0.6, 0.1], [0.9, 0.1], [0.1, 0.5]])
    >>> [tensor.tolist() for tensor in select_boxes(boxes, scores, BoxFilter())]
    [[1, 2], [0, 1]]
    """
    from torchvision.ops import batched_nms

    best, classes = scores.detach().max(dim=1)
    candidates = (best >= box_filter.min_score).nonzero().flatten()
    rows = batched_nms(
        boxes.detach()[candidates].float(),
        best[candidates].float(),
        classes[candidates],
        box_filter.max_overlap,
    )
    chosen = candidates[rows[:LIMIT]]
    return chosen, classes[chosen]


def _pick(boxes: torch.Tensor, scores: torch.Tensor, box_filter: BoxFilter) -> BoxTensors:
    """The detections among boxes (n, 4: left, top, right, bottom) with scores (n, classes)."""
    rows, classes = select_boxes(boxes, scores, box_filter)
    return boxes.detach()[rows][:, _SIDES], scores[rows, classes], classes


# The bundled detector


def is_demo_detector(module: torch.nn.Module) -> bool:
    return isinstance(module, DemoDetector)


def read_demo_detector(_module: torch.nn.Module, output: object) -> list[BoxTensors]:
    """The detections of each image in what `DemoDetector` returns."""
    assert isinstance(output, Mapping)
    scores = output["class_logits"].flatten(2).sigmoid()
    boxes = output["boxes"].flatten(2)
    pairs = zip(boxes, scores, strict=True)
    return [_pick(corners.T, values.T, DEMO_FILTER) for corners, values in pairs]


# ultralytics


def is_yolo(module: torch.nn.Module) -> bool:
    """Whether a module is a network of ultralytics that ends in a head for boxes."""
    package = "ultralytics.nn."
    is_theirs = any(kind.__module__.startswith(package) for kind in type(module).__mro__)
    return is_theirs and _head_of(module) is not None


def _head_of(module: torch.nn.Module) -> torch.nn.Module | None:
    """The head of an ultralytics network, if it predicts boxes."""
    parts = getattr(module, "model", None)
    head = parts[-1] if isinstance(parts, torch.nn.Sequential) else None
    return head if head is not None and hasattr(head, "reg_max") and hasattr(head, "nc") else None


def read_yolo(module: torch.nn.Module, output: object) -> list[BoxTensors]:
    """The detections of each image; scores are after the sigmoid, as ultralytics reports them.

    The output is (images, 4 + classes + ..., n) with centres and sizes of boxes, or, of a head that
    needs no non-maximum suppression, (images, n, 6 + ...) with corners, scores and classes.
    """
    network = next(part for part in module.modules() if is_yolo(part))
    head = _head_of(network)
    assert head is not None
    predictions = next(tensors_in(output))
    if getattr(head, "end2end", False):
        return [_read_final(image) for image in predictions]
    count = int(vars(head)["nc"])
    return [_pick(*_split(image.T, count), box_filter=YOLO_FILTER) for image in predictions]


def _read_final(rows: torch.Tensor) -> BoxTensors:
    """Detections (n: left, top, right, bottom, score, class) that are confident enough."""
    chosen = rows[rows.detach()[:, 4] >= YOLO_FILTER.min_score]
    return chosen.detach()[:, _SIDES], chosen[:, 4], chosen.detach()[:, 5].long()


def _split(predictions: torch.Tensor, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes (left, top, right, bottom) and class scores of the predictions (n, 4 + classes)."""
    centres, sizes, scores = (
        predictions[:, :2],
        predictions[:, 2:4],
        predictions[:, 4 : 4 + classes],
    )
    return torch.cat([centres - sizes / 2, centres + sizes / 2], dim=1), scores
