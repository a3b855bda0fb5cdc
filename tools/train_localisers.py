"""Train the bundled detector and segmenter on crowds of the synthetic world.

    python -m tools.train_localisers [--scenes N] [--steps N N]

Scenes of one to four objects from 3 * 10**9 are for training and from 4 * 10**9 for the recorded
scores. The segmenter starts from the encoder of the detector. Batch normalisation helps the
training and is folded away; the scores are those of the shipped half-precision parameters.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tools.localiser_scores import (
    Boxes,
    confusion,
    intersection_over_union,
    mean_average_precision,
)
from torch import nn
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from retroscope.methods.dense_detectors import BoxFilter, select_boxes
from retroscope.world import LABELS, Scene, scene
from retroscope.zoo.demo_localisers import (
    BACKGROUND_LABELS,
    LOCALISER_SIZE,
    STRIDE,
    DemoDetector,
    DemoSegmenter,
)
from retroscope.zoo.demo_networks import MEAN, STD

HOME = Path(__file__).parent.parent / "src/retroscope/world/weights"
TRAIN_START, TEST_START, TEST_COUNT = 3 * 10**9, 4 * 10**9, 400
BATCH, PEAK_RATE, WEIGHT_DECAY, SHIFT, NORM_EPS, LARGEST_GRADIENT = 32, 3e-3, 0.05, 8, 1e-5, 5.0
MIN_SIDE, CENTRAL, PRIOR, BACKGROUND_WEIGHT = 5, 0.25, 0.01, 0.5
"""Smaller boxes are not trained on; the share of a side around the centre in which positions find
an object; the probability of a class before training; the weight of background pixels."""

CANDIDATES = BoxFilter(min_score=0.02)
"""The predictions that the average precision ranks."""


@dataclass(frozen=True, eq=False)
class Crowd:
    """An image (3, side, side), the number of the object at each pixel, and their classes."""

    image: torch.Tensor
    object_map: torch.Tensor
    labels: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Batch:
    """Network input, the class of each pixel from 0, the background, and the objects by image."""

    images: torch.Tensor
    class_maps: torch.Tensor
    boxes: list[torch.Tensor]
    labels: list[torch.Tensor]


def crowd_scene(seed: int) -> Scene:
    """A scene of one to four objects, as many of each number."""
    return scene(seed, objects=1 + seed // len(LABELS) % 4, size=LOCALISER_SIZE)


def paint(seeds: Sequence[int]) -> list[Crowd]:
    crowds = []
    for seed in seeds:
        painted = crowd_scene(seed)
        crowds.append(
            Crowd(
                torch.from_numpy(painted.pixels).permute(2, 0, 1).contiguous(),
                torch.from_numpy(painted.object_map),
                tuple(LABELS.index(label) for label in painted.labels),
            )
        )
    return crowds


def collate(crowds: Sequence[Crowd]) -> Batch:
    """Crowds as a batch, with the boxes of their visible pixels."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    images = (torch.stack([crowd.image for crowd in crowds]).float() / 255 - mean) / std
    class_maps, boxes, labels = [], [], []
    for crowd in crowds:
        numbers = torch.tensor([0, *(label + 1 for label in crowd.labels)])
        class_maps.append(numbers[crowd.object_map.long()])
        corners = [
            (label, corners_of(crowd.object_map == number))
            for number, label in enumerate(crowd.labels, 1)
        ]
        seen = [(label, box) for label, box in corners if box is not None]
        boxes.append(torch.tensor([box for _, box in seen]).reshape(-1, 4))
        labels.append(torch.tensor([label for label, _ in seen], dtype=torch.long))
    return Batch(images, torch.stack(class_maps), boxes, labels)


def corners_of(mask: torch.Tensor) -> tuple[float, ...] | None:
    """Left, top, right and bottom of a mask; None if it is too small."""
    rows, columns = (mask.any(dim=axis).nonzero().flatten() for axis in (1, 0))
    if not len(rows):
        return None
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    if min(right - left, bottom - top) < MIN_SIDE:
        return None
    return tuple(float(side) for side in (left, top, right, bottom))


def augment(crowd: Crowd, random: torch.Generator) -> Crowd:
    """Shift an image, and mirror one of two."""
    top, left = torch.randint(0, 2 * SHIFT + 1, (2,), generator=random).tolist()
    mirror = bool(torch.rand((), generator=random) < 0.5)
    side = crowd.object_map.shape[0]
    rows, columns = (
        (torch.arange(side) + offset - SHIFT).clamp(0, side - 1) for offset in (top, left)
    )
    planes = torch.cat([crowd.image, crowd.object_map[None]])[:, rows][:, :, columns]
    planes = planes.flip(2) if mirror else planes
    return Crowd(planes[:3], planes[3], crowd.labels)


def tint(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Change contrast, colour and brightness, and add noise."""
    one, three = (len(images), 1, 1, 1), (len(images), 3, 1, 1)
    contrast = 0.75 + 0.5 * torch.rand(one, generator=random)
    shift = 0.15 * torch.randn(three, generator=random) + 0.3 * torch.randn(one, generator=random)
    return images * contrast + shift + 0.05 * torch.randn(images.shape, generator=random)


def batches(crowds: Sequence[Crowd], steps: int, random: torch.Generator) -> Iterator[Batch]:
    """Batches of augmented scenes in random order, repeated as needed."""
    order: list[int] = []
    for _ in range(steps):
        while len(order) < BATCH:
            order += torch.randperm(len(crowds), generator=random).tolist()
        rows, order = order[:BATCH], order[BATCH:]
        batch = collate([augment(crowds[row], random) for row in rows])
        yield Batch(tint(batch.images, random), batch.class_maps, batch.boxes, batch.labels)


# Losses


def detection_loss(net: nn.Module, batch: Batch) -> torch.Tensor:
    """Focal loss of the classes and the generalised IoU loss of the boxes, as in FCOS."""
    output = net(batch.images)
    logits, boxes = output["class_logits"], output["boxes"]
    wanted, places, corners = assign(batch, logits.shape)
    count = max(len(corners), 1)
    classes = sigmoid_focal_loss(logits, wanted, alpha=0.4, reduction="sum")
    images, rows, columns = places
    predicted = boxes.permute(0, 2, 3, 1)[images, rows, columns]
    overlap = generalized_box_iou_loss(predicted, corners, reduction="sum")
    loss: torch.Tensor = (classes + overlap) / count
    return loss


def assign(
    batch: Batch, shape: torch.Size
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], torch.Tensor]:
    """The wanted class scores, and the positions that see an object with the box of each.

    A position sees an object if it is near the centre of its box; of several, the smallest.
    """
    wanted, owner = torch.zeros(shape), torch.full((shape[0], *shape[2:]), -1)
    y, x = ((torch.arange(length) + 0.5) * STRIDE for length in shape[2:])
    for image, boxes in enumerate(batch.boxes):
        sizes = boxes[:, 2:] - boxes[:, :2]
        for number in sizes.prod(dim=1).argsort(descending=True).tolist():
            left, top, right, bottom = boxes[number].tolist()
            reach_x = max(CENTRAL * (right - left), 0.6 * STRIDE)
            reach_y = max(CENTRAL * (bottom - top), 0.6 * STRIDE)
            near_x = (x - (left + right) / 2).abs() <= reach_x
            near_y = (y - (top + bottom) / 2).abs() <= reach_y
            owner[image][near_y[:, None] & near_x[None, :]] = number
    images, rows, columns = places = (owner >= 0).nonzero(as_tuple=True)
    numbers = owner[places].tolist()
    pairs = list(zip(images.tolist(), numbers, strict=True))
    if pairs:
        classes = torch.stack([batch.labels[image][number] for image, number in pairs])
        wanted[images, classes, rows, columns] = 1
    corners = torch.stack(
        [batch.boxes[image][number] for image, number in pairs] or [torch.zeros(4)]
    )
    return wanted, places, corners[: len(pairs)]


def segmentation_loss(net: nn.Module, batch: Batch) -> torch.Tensor:
    """Cross entropy of the classes of the pixels."""
    weights = torch.ones(len(BACKGROUND_LABELS))
    weights[0] = BACKGROUND_WEIGHT
    return F.cross_entropy(net(batch.images), batch.class_maps, weights)


# Training


def normalise(net: nn.Module) -> nn.Module:
    """The network with batch normalisation before each module that is a ReLU."""
    for name, part in list(net.named_modules()):
        if isinstance(part, nn.Sequential):
            for index, layer in enumerate(part):
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight)
                    norm = nn.BatchNorm2d(layer.out_channels, eps=NORM_EPS)
                    net.set_submodule(f"{name}.{index}", nn.Sequential(layer, norm))
    return net.to(memory_format=torch.channels_last)


def fold(trained: nn.Module, plain: nn.Module) -> nn.Module:
    """The equivalent network without batch normalisation, rounded to half precision."""
    for name, part in plain.named_modules():
        if isinstance(part, nn.Conv2d):
            source = trained.get_submodule(name)
            state = source.state_dict()
            part.load_state_dict(_fold(source) if isinstance(source, nn.Sequential) else state)
    return plain.half().float().eval()


def _fold(pair: nn.Sequential) -> Mapping[str, torch.Tensor]:
    conv, norm = (part.state_dict() for part in pair)
    gain = norm["weight"] / torch.sqrt(norm["running_var"] + NORM_EPS)
    return {
        "weight": conv["weight"] * gain[:, None, None, None],
        "bias": (conv["bias"] - norm["running_mean"]) * gain + norm["bias"],
    }


def train(
    name: str,
    net: nn.Module,
    loss_of: Callable[[nn.Module, Batch], torch.Tensor],
    *,
    data: Iterator[Batch],
    steps: int,
) -> None:
    """Train with a one-cycle schedule: linear warm-up for a tenth, then a cosine."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    start = time.monotonic()
    for step, batch in enumerate(data):
        for group in optimiser.param_groups:
            group["lr"] = PEAK_RATE * rate(step / steps)
        loss = loss_of(net, batch)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(net.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        if step % 50 == 0:
            seconds = time.monotonic() - start
            print(f"{name}: step {step}, loss {loss.item():.3f}, {seconds:.0f} s", flush=True)
    net.eval()


def rate(progress: float) -> float:
    return min(progress * 10, 1.0) * (0.5 + 0.5 * math.cos(math.pi * progress))


# Scores


@torch.inference_mode()
def detector_score(net: nn.Module, crowds: Sequence[Crowd]) -> float:
    """Mean average precision at an overlap of a half."""
    pairs = []
    for crowd in crowds:
        batch = collate([crowd])
        output = net(batch.images)
        boxes = output["boxes"][0].flatten(1).T
        scores = output["class_logits"][0].flatten(1).T.sigmoid()
        rows, classes = select_boxes(boxes, scores, CANDIDATES)
        best = scores[rows, classes]
        pairs.append(
            (to_boxes(boxes[rows], classes, best), to_boxes(batch.boxes[0], batch.labels[0]))
        )
    return mean_average_precision(pairs)


def to_boxes(
    corners: torch.Tensor, classes: torch.Tensor, scores: torch.Tensor | None = None
) -> Boxes:
    ones = torch.ones(len(classes)) if scores is None else scores
    return Boxes(corners.double().numpy(), classes.numpy(), ones.double().numpy())


@torch.inference_mode()
def segmenter_score(net: nn.Module, crowds: Sequence[Crowd]) -> float:
    """The mean over the classes, with the background, of the intersection over union."""
    count = len(BACKGROUND_LABELS)
    matrix = np.zeros((count, count))
    for crowd in crowds:
        batch = collate([crowd])
        predicted = net(batch.images).argmax(dim=1)
        matrix += confusion(predicted.numpy(), batch.class_maps.numpy(), count)
    return float(intersection_over_union(matrix).mean())


# Everything


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=4000)
    parser.add_argument("--steps", type=int, nargs=2, default=(600, 400))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--test", type=int, default=TEST_COUNT)
    parser.add_argument("--to", type=Path, default=HOME)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    start = time.monotonic()
    crowds = paint(range(TRAIN_START, TRAIN_START + options.scenes))
    tests = paint(range(TEST_START, TEST_START + options.test))
    print(f"{len(crowds)} scenes in {time.monotonic() - start:.0f} s", flush=True)
    torch.manual_seed(options.seed)
    detector, segmenter = normalise(DemoDetector()), normalise(DemoSegmenter())
    prior = dict(detector.named_parameters())["classes.bias"]
    nn.init.constant_(prior, -math.log(1 / PRIOR - 1))
    recipes = (
        ("demo-detector", detector, DemoDetector, detection_loss, "AP50", detector_score),
        ("demo-segmenter", segmenter, DemoSegmenter, segmentation_loss, "mIoU", segmenter_score),
    )
    for number, (name, net, build, loss_of, measure, score) in enumerate(recipes):
        start = time.monotonic()
        steps = options.steps[number]
        random = torch.Generator().manual_seed(options.seed + number)
        train(name, net, loss_of, data=batches(crowds, steps, random), steps=steps)
        plain = fold(net, build())
        save(options.to / f"{name}.safetensors", plain)
        record = {
            measure: round(score(plain, tests), 4),
            "scenes": options.scenes,
            "test_scenes": options.test,
            "steps": steps,
            "seed": options.seed,
            "seconds": round(time.monotonic() - start),
        }
        (options.to / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
        print(name, record, flush=True)
        if name == "demo-detector":
            encoder = detector.get_submodule("encoder").state_dict()
            segmenter.get_submodule("encoder").load_state_dict(encoder)


def save(path: Path, net: nn.Module) -> None:
    """Write a safetensors file in half precision."""
    tensors = {key: tensor.half().contiguous() for key, tensor in net.state_dict().items()}
    save_file(tensors, path)


if __name__ == "__main__":
    main()
