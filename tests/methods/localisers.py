"""Tiny detectors and segmenters of torchvision's own classes, and plain code that reads them."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import (
    FCOS,
    FasterRCNN,
    KeypointRCNN,
    MaskRCNN,
    RetinaNet,
)
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.ssd import SSD
from torchvision.models.segmentation.deeplabv3 import DeepLabV3
from torchvision.models.segmentation.fcn import FCN, FCNHead
from torchvision.models.segmentation.lraspp import LRASPP
from torchvision.ops import MultiScaleRoIAlign

from retroscope.network import Network
from tests.conftest import built

CHANNELS, CLASSES = 32, 4  # the heads of FCOS normalise groups of channels, 32 of them
LABELS = ("background", "cat", "dog", "owl")
Entry = dict[str, Tensor]


class TinyBackbone(nn.Module):
    """Maps at a stride of 4, with a body as torchvision's backbones with a pyramid have."""

    out_channels: Any = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, CHANNELS, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.neck = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return OrderedDict({"0": self.neck(self.body(x))})


def _anchors(*sizes: int) -> AnchorGenerator:
    return AnchorGenerator((sizes,), ((1.0,),))


def _rois(size: int) -> MultiScaleRoIAlign:
    return MultiScaleRoIAlign(["0"], size, 2)


def _two_stages(kind: Any, **heads: Any) -> nn.Module:
    module: nn.Module = kind(
        TinyBackbone(),
        min_size=48,
        max_size=80,
        rpn_anchor_generator=_anchors(12, 24),
        rpn_pre_nms_top_n_test=30,
        rpn_post_nms_top_n_test=8,
        box_roi_pool=_rois(3),
        box_head=TwoMLPHead(CHANNELS * 9, 16),
        box_score_thresh=0.0,
        box_detections_per_img=5,
        box_predictor=FastRCNNPredictor(16, CLASSES),
        **heads,
    )
    return module


def faster_rcnn() -> nn.Module:
    return _two_stages(FasterRCNN)


def mask_rcnn() -> nn.Module:
    head = MaskRCNNHeads(CHANNELS, (CHANNELS,), 1)
    predictor = MaskRCNNPredictor(CHANNELS, CHANNELS, CLASSES)
    return _two_stages(MaskRCNN, mask_roi_pool=_rois(4), mask_head=head, mask_predictor=predictor)


def keypoint_rcnn() -> nn.Module:
    head = KeypointRCNNHeads(CHANNELS, (CHANNELS,))
    predictor = KeypointRCNNPredictor(CHANNELS, 3)
    return _two_stages(
        KeypointRCNN, keypoint_roi_pool=_rois(4), keypoint_head=head, keypoint_predictor=predictor
    )


_ONE_STAGE: dict[str, Any] = {
    "num_classes": CLASSES,
    "score_thresh": 0.0,
    "topk_candidates": 12,
    "detections_per_img": 5,
}


def retinanet() -> nn.Module:
    anchors = _anchors(12, 24)
    module: nn.Module = RetinaNet(
        TinyBackbone(), anchor_generator=anchors, min_size=48, max_size=80, **_ONE_STAGE
    )
    return module


def fcos() -> nn.Module:
    module: nn.Module = FCOS(
        TinyBackbone(), anchor_generator=_anchors(8), min_size=48, max_size=80, **_ONE_STAGE
    )
    return module


class _BackboneOfMaps(TinyBackbone):
    out_channels: Any = (CHANNELS,)


def ssd() -> nn.Module:
    module: nn.Module = SSD(_BackboneOfMaps(), DefaultBoxGenerator([[2]]), (48, 48), **_ONE_STAGE)
    return module


DETECTORS: dict[str, Callable[[], nn.Module]] = {
    "faster_rcnn": faster_rcnn,
    "mask_rcnn": mask_rcnn,
    "keypoint_rcnn": keypoint_rcnn,
    "retinanet": retinanet,
    "fcos": fcos,
    "ssd": ssd,
}


class _Stages(nn.Module):
    """A backbone for segmenters, whose maps have names."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names
        self.first = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, stride=2, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first = self.first(x)
        return OrderedDict(zip(self.names, (self.second(first), first), strict=False))


def fcn() -> nn.Module:
    module: nn.Module = FCN(
        _Stages("out", "aux"), FCNHead(CHANNELS, CLASSES), FCNHead(CHANNELS, CLASSES)
    )
    return module


def deeplabv3() -> nn.Module:
    module: nn.Module = DeepLabV3(_Stages("out"), FCNHead(CHANNELS, CLASSES))
    return module


def lraspp() -> nn.Module:
    module: nn.Module = LRASPP(_Stages("high", "low"), CHANNELS, CHANNELS, CLASSES, CHANNELS)
    return module


SEGMENTERS: dict[str, Callable[[], nn.Module]] = {
    "fcn": fcn,
    "deeplabv3": deeplabv3,
    "lraspp": lraspp,
}


def network(make: Callable[[], nn.Module], *, labels: tuple[str, ...] = LABELS) -> Network:
    """A network in double precision with weights that make its scores differ."""
    module = built(lambda: make().double())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    return Network(module, labels=labels, name=make.__name__)


def overlap(first: list[float], second: list[float]) -> float:
    """Intersection over union of two boxes (y0, x0, y1, x1); 1 of equal ones."""
    if first == second:
        return 1.0
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    intersection = max(height, 0) * max(width, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return intersection / (sum(areas) - intersection) if sum(areas) else 0.0


def run_plainly(net: Network, image: Tensor) -> Entry:
    """What torchvision's detector returns for a list of one image, which it documents."""
    (entry,) = net.module([image])
    return dict(entry)


def boxes_of(entry: Entry) -> list[list[float]]:
    """The boxes as (y0, x0, y1, x1)."""
    return [[y0, x0, y1, x1] for x0, y0, x1, y1 in entry["boxes"].tolist()]
