"""Measure which layer of a vision transformer gives the best heat maps, in the synthetic world.

    python -m tools.transformer_layers --pool token > table.md

Trains a small transformer of timm behind a convolutional stem, with a class token or with the mean
of all tokens. For the layers of the last blocks it measures how much of the heat of each image's
class lies on the object, as `tools.heat_table` does.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from tools.heat_table import FIRST, measure
from tools.train_demo import TRAIN_START, Batch, augment, paint_scenes, standardise
from torch import nn
from torch.nn import functional

import retroscope as rs
from retroscope.world import LABELS, SIZE, Scene, scene
from retroscope.zoo.demo_networks import MEAN, STD

PATCH, WIDTH, DEPTH, HEADS = 12, 96, 4, 4
BATCH, RATE, WEIGHT_DECAY, TEST_COUNT = 64, 1.5e-3, 0.05, 400
METHODS = ("gradcam", "hirescam", "layercam")
HEADS_OF_TABLE = (
    "layer",
    "method",
    "on the object",
    "ratio",
    "peak on it",
)


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", choices=("token", "avg"), default="token")
    parser.add_argument("--scenes", type=int, default=8000, help="Scenes to train on.")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--images", type=int, default=100, help="Images to measure.")
    parser.add_argument(
        "--weights", type=Path, help="File to keep the weights in, or take them from."
    )
    options = parser.parse_args()
    module = make_transformer(options.pool)
    if options.weights is not None and options.weights.exists():
        module.load_state_dict(torch.load(options.weights, weights_only=True))
    else:
        train(module, paint_scenes(TRAIN_START, options.scenes, shortcut=False), options.steps)
        if options.weights is not None:
            torch.save(module.state_dict(), options.weights)
    scenes = [scene(FIRST + number) for number in range(options.images)]
    net = rs.Network(
        module.eval(), input_size=(SIZE, SIZE), mean=MEAN, std=STD, labels=list(LABELS)
    )
    print(f"{options.pool}: {accuracy(module):.0%} of {TEST_COUNT} new images are recognised.\n")
    for line in (HEADS_OF_TABLE, ["---"] * len(HEADS_OF_TABLE), *rows(net, scenes)):
        print("| " + " | ".join(line) + " |")


def make_transformer(pool: str) -> nn.Module:
    """A small transformer with or without a class token."""
    import timm

    torch.manual_seed(0)
    make: Any = timm.models.vision_transformer.VisionTransformer
    module: nn.Module = make(
        img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS,
        num_classes=len(LABELS), class_token=pool == "token", global_pool=pool,
    )  # fmt: skip
    module.get_submodule("patch_embed").proj = nn.Sequential(
        *(nn.Conv2d(3, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU()),
        *(nn.Conv2d(24, 48, 3, 2, 1), nn.BatchNorm2d(48), nn.ReLU()),
        nn.Conv2d(48, WIDTH, 3, 3),
    )
    return module


def train(module: nn.Module, data: Batch, steps: int) -> None:
    """AdamW with one cycle of the learning rate, on augmented scenes."""
    random = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps, pct_start=0.15
    )
    start = time.monotonic()
    for step in range(steps):
        rows = torch.randint(len(data[0]), (BATCH,), generator=random)
        images = augment(data[0][rows], random)
        loss = functional.cross_entropy(module(images.contiguous()), data[1][rows])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(
                f"{step}: {loss:.2f} ({time.monotonic() - start:.0f} s)",
                file=sys.stderr,
                flush=True,
            )


@torch.no_grad()
def accuracy(module: nn.Module) -> float:
    """On scenes that no training has seen."""
    pixels, classes = paint_scenes(2 * TRAIN_START, TEST_COUNT, shortcut=False)
    scores = module(standardise(pixels).contiguous())
    return float((scores.argmax(1) == classes).float().mean())


def rows(net: rs.Network, scenes: list[Scene]) -> Iterator[list[str]]:
    """A row for each layer of the last blocks and each method; an even heat first."""
    targets = [net.labels.index(painted.label) for painted in scenes]
    even = [np.ones((SIZE, SIZE))] * len(scenes)
    yield ["even heat", "", *score_cells(scenes, heats=even)]
    for layer in candidates(net):
        for method in METHODS:
            heats = [
                rs.cam(net, painted.pixels, layer=layer, method=method, target=target).full()
                for painted, target in zip(scenes, targets, strict=True)
            ]
            yield [layer, method, *score_cells(scenes, heats=heats)]


def candidates(net: rs.Network) -> list[str]:
    """The layers of the last three blocks with positions, but for parts of attention."""
    names = ("norm1", "add", "norm2", "mlp.act", "add~2")
    last = [f"blocks.{DEPTH - n}" for n in (3, 2, 1)]
    known = {layer.name for layer in net.layers}
    return [name for block in last for part in names if (name := f"{block}.{part}") in known]


def score_cells(scenes: list[Scene], *, heats: Sequence[Any]) -> list[str]:
    """The numbers of one line of the table."""
    pairs = zip(heats, scenes, strict=True)
    scores = [measure(np.maximum(heat, 0), painted) for heat, painted in pairs]
    share, area = fmean(score.share for score in scores), fmean(score.area for score in scores)
    peak = fmean(score.peak for score in scores)
    return [
        f"{share:.0%}",
        f"{share / area:.2f}",
        f"{peak:.0%}",
    ]


if __name__ == "__main__":
    main()
