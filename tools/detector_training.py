"""Detectors that are trained on crowds of the world in minutes, to measure where their heat lies.

YOLO has the losses of ultralytics, torchvision's detectors their own.
All start from random weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tools.accountability import report
from torch import nn

import retroscope as rs
from retroscope.world import LABELS, Scene, scene
from retroscope.zoo.demo_localisers import BACKGROUND_LABELS, LOCALISER_SIZE

FIRST_SEED, TRAINING_SCENES, RATE = 10**9, 3000, 2e-3
STAGES, NECK = "backbone.body", 64
"""The path of the stages of torchvision's backbones; the channels of the pyramids and of the heads,
which are 256 by default."""

Loss = Callable[[nn.Module, Sequence[Scene], Sequence[bool]], torch.Tensor]
"""The loss of some scenes, of which some are mirrored."""


@dataclass(frozen=True)
class Recipe:
    """How a detector is built and trained, and the sides of the images that it is measured on.

    `trained_sides` are those of the images of training, of which a batch has one; `batch` is the
    number of images of the first side. Batches of larger images have about as many pixels. The
    stages of the backbone start as another detector has learned them, if one is named.
    """

    build: Callable[[], rs.Network]
    loss: Loss
    trained_sides: tuple[int, ...] = (LOCALISER_SIZE,)
    sides: tuple[int, ...] = (LOCALISER_SIZE,)
    steps: int = 600
    batch: int = 12
    starts_from: str = ""


def trained_network(family: str, folder: Path) -> rs.Network:
    """The network with the weights in the folder, which are written first unless they are there."""
    recipe, weights = RECIPES[family], folder / f"{family}.pt"
    net = recipe.build()
    if not weights.exists():
        if recipe.starts_from:
            trained = trained_network(recipe.starts_from, folder).module
            stages = trained.get_submodule(STAGES).state_dict()
            net.module.get_submodule(STAGES).load_state_dict(stages)
        train(net.module, recipe)
        torch.save(net.module.state_dict(), weights)
    net.module.load_state_dict(torch.load(weights))
    net.module.eval()
    return net


def training_scenes() -> list[Scene]:
    """Scenes of one to three objects."""
    return [
        scene(FIRST_SEED + number, objects=1 + number % 3, size=LOCALISER_SIZE)
        for number in range(TRAINING_SCENES)
    ]


def train(module: nn.Module, recipe: Recipe) -> None:
    """One cycle of the learning rate, on scenes that are mirrored at random."""
    scenes = training_scenes()
    module.train().requires_grad_()
    module.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=recipe.steps)
    generator = torch.Generator().manual_seed(0)
    for step in range(recipe.steps):
        side = recipe.trained_sides[step % len(recipe.trained_sides)]
        count = max(round(recipe.batch * (recipe.trained_sides[0] / side) ** 2), 1)
        rows = torch.randint(len(scenes), (count,), generator=generator).tolist()
        mirrored = (torch.rand(count, generator=generator) < 0.5).tolist()
        set_side(module, side)
        loss = recipe.loss(module, [scenes[row] for row in rows], mirrored)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(module.parameters(), 10)
        optimiser.step()
        schedule.step()
        if step % 20 == 0:
            report(f"step {step} of {recipe.steps}, {side} pixels: {float(loss.detach()):.2f}")


def set_side(module: nn.Module, side: int) -> None:
    """Let a detector that resizes images itself give them this side."""
    transform: Any = getattr(module, "transform", None)
    if transform is not None:
        transform.min_size, transform.max_size = (side,), side


def oriented_pixels(painted: Scene, *, mirror: bool) -> torch.Tensor:
    """The image of a scene (3, side, side) from 0 to 1."""
    image = torch.from_numpy(painted.pixels.copy()).permute(2, 0, 1).float() / 255
    return image.flip(2) if mirror else image


# YOLO


def build_yolo() -> rs.Network:
    net = rs.open_model(
        f"ultralytics/yolov8n?nc={len(LABELS)}",
        random_weights=0,
        device="cpu",
        input_size=LOCALISER_SIZE,
    )
    return rs.Network(net.module, fit=net.preprocessing.fit, labels=LABELS, name="yolo")


def yolo_loss(module: nn.Module, scenes: Sequence[Scene], mirrored: Sequence[bool]) -> torch.Tensor:
    """As ultralytics adds it up, with its default weights."""
    from ultralytics.cfg import get_cfg

    network: Any = module
    network.args = get_cfg(overrides={"box": 7.5, "cls": 0.5, "dfl": 1.5})
    network.get_submodule("model.22.dfl").requires_grad_(False)
    losses, _ = network.loss(yolo_batch(scenes, mirrored))
    total: torch.Tensor = losses.sum()
    return total


def yolo_batch(scenes: Sequence[Scene], mirrored: Sequence[bool]) -> dict[str, torch.Tensor]:
    """Images and boxes as the loss takes them: centres and sizes, as shares of the side."""
    pairs = list(zip(scenes, mirrored, strict=True))
    rows = [
        (number, LABELS.index(item.label), *centred(item.box, mirror=flip))
        for number, (painted, flip) in enumerate(pairs)
        for item in painted.objects
    ]
    facts = torch.tensor(rows, dtype=torch.float32)
    return {
        "img": torch.stack([oriented_pixels(painted, mirror=flip) for painted, flip in pairs]),
        "batch_idx": facts[:, 0],
        "cls": facts[:, 1:2],
        "bboxes": facts[:, 2:],
    }


def centred(box: rs.Box, *, mirror: bool) -> tuple[float, float, float, float]:
    """The centre, x first, and the width and height of a box, as shares of the side."""
    x = (box.left + box.right) / 2 / LOCALISER_SIZE
    y = (box.top + box.bottom) / 2 / LOCALISER_SIZE
    return 1 - x if mirror else x, y, box.width / LOCALISER_SIZE, box.height / LOCALISER_SIZE


# torchvision


def build_faster_rcnn() -> rs.Network:
    """A Faster R-CNN on ResNet-18 with a pyramid at strides 4 to 32, and fewer proposals."""
    from torchvision.models.detection import FasterRCNN

    stages = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
    return torchvision_network(
        lambda: FasterRCNN(
            _pyramid(stages),
            len(BACKGROUND_LABELS),
            rpn_pre_nms_top_n_train=300,
            rpn_post_nms_top_n_train=150,
            rpn_pre_nms_top_n_test=300,
            rpn_post_nms_top_n_test=150,
            box_batch_size_per_image=32,
        ),
        name="faster_rcnn",
    )


def build_retinanet() -> rs.Network:
    """A RetinaNet on ResNet-18 with a pyramid at strides 8 to 128, with norms in its heads."""
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.retinanet import RetinaNetHead, _default_anchorgen
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    def build() -> nn.Module:
        anchors = _default_anchorgen()
        head = RetinaNetHead(
            NECK,
            anchors.num_anchors_per_location()[0],
            len(BACKGROUND_LABELS),
            norm_layer=partial(nn.GroupNorm, 32),
        )
        backbone = _pyramid(
            {"layer2": 128, "layer3": 256, "layer4": 512}, LastLevelP6P7(NECK, NECK)
        )
        module: nn.Module = RetinaNet(
            backbone, len(BACKGROUND_LABELS), anchor_generator=anchors, head=head
        )
        return module

    return torchvision_network(build, name="retinanet")


def _pyramid(stages: dict[str, int], extra: Any = None) -> nn.Module:
    """ResNet-18 with a feature pyramid on these stages, of which the channels are given."""
    from torchvision.models import resnet18
    from torchvision.models.detection.backbone_utils import BackboneWithFPN

    names = {name: str(number) for number, name in enumerate(stages)}
    module: nn.Module = BackboneWithFPN(
        resnet18(weights=None), names, list(stages.values()), NECK, extra
    )
    return module


def torchvision_network(build: Callable[[], nn.Module], *, name: str) -> rs.Network:
    """The network of a detector with random weights that are the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build()
    set_side(module, LOCALISER_SIZE)
    return rs.Network(module.eval(), labels=BACKGROUND_LABELS, name=name)


def torchvision_loss(
    module: nn.Module, scenes: Sequence[Scene], mirrored: Sequence[bool]
) -> torch.Tensor:
    """The sum of the losses that a detector returns while it is trained."""
    pairs = list(zip(scenes, mirrored, strict=True))
    images = [oriented_pixels(painted, mirror=flip) for painted, flip in pairs]
    losses = module(images, [torchvision_truth(painted, mirror=flip) for painted, flip in pairs])
    total: torch.Tensor = torch.stack(list(losses.values())).sum()
    return total


def torchvision_truth(painted: Scene, *, mirror: bool) -> dict[str, torch.Tensor]:
    """The boxes (left, top, right, bottom) and classes of a scene; class 0 is the background."""
    boxes = []
    for box in (item.box for item in painted.objects):
        sides = (box.left, box.right)
        left, right = (LOCALISER_SIZE - side for side in sides[::-1]) if mirror else sides
        boxes.append((left, box.top, right, box.bottom))
    classes = [BACKGROUND_LABELS.index(item.label) for item in painted.objects]
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "labels": torch.tensor(classes),
    }


SMALL, MIDDLE, LARGE = LOCALISER_SIZE, 2 * LOCALISER_SIZE, 4 * LOCALISER_SIZE

RECIPES = {
    "YOLO": Recipe(build_yolo, yolo_loss),
    "RetinaNet": Recipe(
        build_retinanet,
        torchvision_loss,
        (SMALL, MIDDLE, LARGE),
        (SMALL, MIDDLE, LARGE),
        steps=900,
    ),
    "Faster R-CNN": Recipe(
        build_faster_rcnn,
        torchvision_loss,
        (SMALL, MIDDLE),
        (SMALL, MIDDLE, LARGE),
        steps=250,
        starts_from="RetinaNet",
    ),
}
"""The detectors, by the name of their family."""
