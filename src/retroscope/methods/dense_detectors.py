"""Detectors that predict a box at every position of their maps: the bundled one, and YOLO.

The scores, and the logits of masks, stay in the graph of autograd.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F

from retroscope.engine.batching import Size
from retroscope.engine.call_arguments import tensors_in
from retroscope.zoo.demo_localisers import DemoDetector

LIMIT = 300
"""At most this many detections of an image, as in ultralytics."""

MaskReader = Callable[[int], torch.Tensor]
"""Reads the logits of the mask of a detection, at each pixel of the image (height, width)."""


class BoxTensors(NamedTuple):
    """Boxes (n, 4: top, left, bottom, right), scores (n) and classes (n) of one image."""

    boxes: torch.Tensor
    scores: torch.Tensor
    classes: torch.Tensor
    mask_logits: MaskReader | None = None


NO_CHANCE = 1e-6
"""The probability that a pixel outside a box is in its mask. So close to 0 there is no gradient."""

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


def _pick(boxes: torch.Tensor, scores: torch.Tensor) -> BoxTensors:
    """The detections among boxes (n, 4: left, top, right, bottom) with scores (n, classes)."""
    rows, classes = select_boxes(boxes, scores, DEMO_FILTER)
    return BoxTensors(boxes.detach()[rows][:, _SIDES], scores[rows, classes], classes)


# The bundled detector


def is_demo_detector(module: torch.nn.Module) -> bool:
    return isinstance(module, DemoDetector)


def read_demo_detector(_module: torch.nn.Module, output: object, _size: Size) -> list[BoxTensors]:
    """The detections of each image in what `DemoDetector` returns."""
    assert isinstance(output, Mapping)
    scores = output["class_logits"].flatten(2).sigmoid()
    boxes = output["boxes"].flatten(2)
    pairs = zip(boxes, scores, strict=True)
    return [_pick(corners.T, values.T) for corners, values in pairs]


# ultralytics


def is_yolo(module: torch.nn.Module) -> bool:
    """Whether a module is a network of ultralytics that ends in a head for boxes."""
    package = "ultralytics.nn."
    is_theirs = any(kind.__module__.startswith(package) for kind in type(module).__mro__)
    return is_theirs and head_of_yolo(module) is not None


def head_of_yolo(module: torch.nn.Module) -> torch.nn.Module | None:
    """The head of an ultralytics network, if it predicts boxes."""
    parts = getattr(module, "model", None)
    head = parts[-1] if isinstance(parts, torch.nn.Sequential) else None
    return head if head is not None and hasattr(head, "reg_max") and hasattr(head, "nc") else None


def read_yolo(module: torch.nn.Module, output: object, size: Size) -> list[BoxTensors]:
    """The detections of each image; scores are after the sigmoid, as ultralytics reports them.

    The output is (images, 4 + classes + ..., n) with centres and sizes of boxes, or, of a head that
    needs no non-maximum suppression, (images, n, 6 + ...) with corners, scores and classes. A head
    for masks adds their coefficients, and returns the prototypes that these combine.
    """
    network = next(part for part in module.modules() if is_yolo(part))
    head = head_of_yolo(network)
    assert head is not None
    predictions, *others = tensors_in(output)
    is_final, classes = getattr(head, "end2end", False), int(vars(head)["nc"])
    read = _read_final if is_final else partial(_read_all, classes)
    found = [read(rows) for rows in predictions]
    if not hasattr(head, "proto"):
        return [boxes for boxes, _ in found]
    prototypes = _prototypes(others, channels=int(vars(head)["nm"]))
    pairs = zip(found, prototypes, strict=True)
    return [_with_masks(*of_image, maps, size) for of_image, maps in pairs]


def _prototypes(outputs: Sequence[torch.Tensor], *, channels: int) -> torch.Tensor:
    """The maps that masks are sums of: the finest that a head for masks returns.

    Releases of ultralytics return them at different places.
    """
    maps = [tensor for tensor in outputs if tensor.dim() == 4 and tensor.shape[1] == channels]
    return max(maps, key=torch.Tensor.numel)


def _read_final(rows: torch.Tensor) -> tuple[BoxTensors, torch.Tensor]:
    """Detections (n: left, top, right, bottom, score, class) that are confident enough, and what
    else is predicted of them.
    """
    chosen = rows[rows.detach()[:, 4] >= YOLO_FILTER.min_score]
    classes = chosen.detach()[:, 5].long()
    return BoxTensors(chosen.detach()[:, _SIDES], chosen[:, 4], classes), chosen[:, 6:]


def _read_all(count: int, predictions: torch.Tensor) -> tuple[BoxTensors, torch.Tensor]:
    """The detections among predictions (4 + classes + ..., n), and what else is predicted of
    them.
    """
    rows = predictions.T
    centres, sizes, scores = rows[:, :2], rows[:, 2:4], rows[:, 4 : 4 + count]
    boxes = torch.cat([centres - sizes / 2, centres + sizes / 2], dim=1)
    chosen, classes = select_boxes(boxes, scores, YOLO_FILTER)
    found = BoxTensors(boxes.detach()[chosen][:, _SIDES], scores[chosen, classes], classes)
    return found, rows[chosen, 4 + count :]


def _with_masks(
    found: BoxTensors, coefficients: torch.Tensor, prototypes: torch.Tensor, size: Size
) -> BoxTensors:
    """The detections with a mask each: a sum of prototypes, cut to the box (YOLACT: Bolya 2019)."""

    def read_logits(number: int) -> torch.Tensor:
        logits = torch.einsum("c,chw->hw", coefficients[number], prototypes)
        enlarged = F.interpolate(logits[None, None], size, mode="bilinear")[0, 0]
        inside = _pixels_in(found.boxes[number], size)
        return torch.where(
            inside, enlarged, torch.tensor(NO_CHANCE, device="cpu").logit().to(enlarged)
        )

    return found._replace(mask_logits=read_logits)


def _pixels_in(box: torch.Tensor, size: Size) -> torch.Tensor:
    """Whether each pixel begins in a box (4: top, left, bottom, right).

    >>> _pixels_in(torch.tensor([0.5, 1.0, 2.0, 2.5]), (2, 4)).int().tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0]]
    """
    y, x = (torch.arange(length, device=box.device) for length in size)
    top, left, bottom, right = box
    inside: torch.Tensor = ((y >= top) & (y < bottom))[:, None] & (x >= left) & (x < right)
    return inside
