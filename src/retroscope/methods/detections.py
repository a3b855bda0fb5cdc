"""The detections of a detector: boxes, scores and classes, whatever the detector returns.

To add a kind of detector, write a function that reads its output as `Detections`, and give it a row
in `DETECTORS`. All else follows from the row: targets (`box:1`, `box:12,30,80,99:cat`), heat maps,
occlusion, saliency, and the page of `explain`. A detector of your own needs no row if it returns
what torchvision's return: for each image a dictionary with `boxes` (x0, y0, x1, y1 in pixels of the
image), `labels` and `scores`; and `masks` (n, 1, height, width) if it predicts them.

A reader must keep the scores in the graph of autograd: no `detach`, `item` or numpy on their way.
What decides which boxes are returned (thresholds, non-maximum suppression) need not be
differentiable.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import torch

from retroscope.engine.batching import Size
from retroscope.methods.dense_detectors import (
    NO_CHANCE,
    BoxTensors,
    MaskReader,
    head_of_yolo,
    is_demo_detector,
    is_yolo,
    read_demo_detector,
    read_yolo,
)
from retroscope.results.heat_maps import Mask


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector finds in one image, in any order.

    `boxes` are (n, 4): top, left, bottom, right, in pixels of the image that the network was given,
    before any resizing of its own. `scores` (n) are the class scores, differentiable, as the
    detector reports them. `classes` (n) are integers: the indices of the network's labels.
    `mask_logits` reads the mask of one of them, for detectors that predict masks.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    classes: torch.Tensor
    mask_logits: MaskReader | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def order(self) -> list[int]:
        """The numbers of the detections, the most confident first; equal ones as they come."""
        order: list[int] = self.scores.detach().argsort(descending=True, stable=True).tolist()
        return order

    def mask(self, number: int) -> Mask | None:
        """The pixels that are more likely in the mask of a detection than not."""
        if self.mask_logits is None:
            return None
        mask: Mask = (self.mask_logits(number).detach() > 0).cpu().numpy()
        return mask


Reader = Callable[[torch.nn.Module, object, Size], list[Detections]]
"""Reads the detections of each image from a module, what it returned, and the images' size."""


FINEST_STRIDE = 8
"""Of detectors with a pyramid, in pixels (`docs/decisions/0035`)."""


@dataclass(frozen=True)
class Detector:
    """A kind of detector.

    `is_kind` says whether a module is one. `read` gives the detections of each image of a batch.
    `backbones` are the paths that the backbone may have in the module; its last maps are those that
    heat maps use by default. With `finest_stride` they are the finest maps of this stride or more
    that boxes are predicted from. `head_of` gives the head, which predicts boxes, of a module of
    this kind whose backbone has no path of its own.
    """

    name: str
    is_kind: Callable[[torch.nn.Module], bool]
    read: Reader
    backbones: Sequence[str] = ("backbone.body", "backbone")
    finest_stride: int | None = None
    head_of: Callable[[torch.nn.Module], torch.nn.Module | None] = lambda _: None


_XYXY_TO_TOP_LEFT = (1, 0, 3, 2)
_TORCHVISION_KEYS = frozenset({"boxes", "labels", "scores"})


def read_torchvision(_module: torch.nn.Module, output: object, size: Size) -> list[Detections]:
    """The detections in what torchvision's detectors return: a list with a dictionary per image."""
    assert isinstance(output, Sequence)
    return [
        Detections(
            boxes=entry["boxes"].detach()[:, _XYXY_TO_TOP_LEFT],
            scores=entry["scores"],
            classes=entry["labels"],
            mask_logits=_mask_reader(entry, size),
        )
        for entry in output
    ]


def _mask_reader(entry: Mapping[str, torch.Tensor], size: Size) -> MaskReader | None:
    """The reader of the masks of an image, if it has any (n, 1, height, width: probabilities)."""
    masks = entry.get("masks")
    if masks is None or masks.shape[1:] != (1, *size) or not masks.is_floating_point():
        return None
    return lambda number: masks[number, 0].logit(eps=NO_CHANCE)


def returns_like_torchvision(output: object) -> bool:
    """Whether an output is a list with boxes, labels and scores of each image."""
    return (
        isinstance(output, list | tuple)
        and len(output) > 0
        and all(
            isinstance(entry, Mapping) and entry.keys() >= _TORCHVISION_KEYS for entry in output
        )
    )


def _is_from_torchvision(module: torch.nn.Module) -> bool:
    package = "torchvision.models.detection."
    return any(kind.__module__.startswith(package) for kind in type(module).__mro__)


TORCHVISION = Detector(
    "torchvision", _is_from_torchvision, read_torchvision, finest_stride=FINEST_STRIDE
)


def _as_reader(
    read: Callable[[torch.nn.Module, object, Size], list[BoxTensors]],
) -> Reader:
    """The reader of a function that returns boxes, scores and classes of each image."""

    def read_boxes(module: torch.nn.Module, output: object, size: Size) -> list[Detections]:
        return [Detections(*tensors) for tensors in read(module, output, size)]

    return read_boxes


DEMO = Detector("demo-detector", is_demo_detector, _as_reader(read_demo_detector), ("encoder",))
YOLO = Detector(
    "ultralytics",
    is_yolo,
    _as_reader(read_yolo),
    backbones=(),
    finest_stride=FINEST_STRIDE,
    head_of=head_of_yolo,
)

DETECTORS: tuple[Detector, ...] = (TORCHVISION, DEMO, YOLO)
"""The known kinds of detectors; the first that fits is used."""


_KNOWN_MODULES = WeakKeyDictionary[torch.nn.Module, Detector | None]()
"""What each module is: to look at all parts of a large one takes milliseconds."""


def detector_of(module: torch.nn.Module) -> Detector | None:
    """The kind of detector that a module is, or that it wraps; None if it is not a known one."""
    if module not in _KNOWN_MODULES:
        kinds = ((kind, part) for part in module.modules() for kind in DETECTORS)
        found = next((kind for kind, part in kinds if kind.is_kind(part)), None)
        _KNOWN_MODULES[module] = found
    return _KNOWN_MODULES[module]


def read_detections(module: torch.nn.Module, output: object, size: Size) -> list[Detections] | None:
    """The detections of each image in a module's output; None if it returns no detections.

    >>> entry = {"boxes": torch.tensor([[1.0, 2, 5, 9]]), "scores": torch.tensor([0.5])}
    >>> output = [{**entry, "labels": torch.tensor([3])}]
    >>> read_detections(torch.nn.Identity(), output, (16, 16))[0].boxes.tolist()
    [[2.0, 1.0, 9.0, 5.0]]
    """
    if returns_like_torchvision(output):
        return read_torchvision(module, output, size)
    detector = detector_of(module)
    return None if detector is None else detector.read(module, output, size)


def overlaps(boxes: torch.Tensor, box: Sequence[float]) -> torch.Tensor:
    """The intersection over union of each box (n, 4) with one box.

    A box without an area, as detectors may return them, overlaps only itself: by 1.

    >>> overlaps(torch.tensor([[0.0, 0, 4, 4], [0, 2, 4, 6], [4, 4, 8, 8]]), (0, 0, 4, 4)).tolist()
    [1.0, 0.3333333333333333, 0.0]
    """
    boxes = boxes.detach().double()
    other = torch.tensor(list(box), dtype=torch.float64, device=boxes.device)
    lengths = torch.minimum(boxes[:, 2:], other[2:]) - torch.maximum(boxes[:, :2], other[:2])
    intersections = lengths.clamp(min=0).prod(dim=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
    unions = areas + (other[2:] - other[:2]).clamp(min=0).prod() - intersections
    shares = torch.where(unions > 0, intersections / unions.clamp(min=1e-30), 0)
    return torch.where((boxes == other).all(dim=1), 1.0, shares)
