"""Train the bundled network on the synthetic world, and its twin that cheats.

    python tools/train_demo.py

Scenes from 10**9 are for training and from 2 * 10**9 for the recorded accuracy, so every smaller
seed is new to the network. Batch normalisation helps the training and is folded away; the accuracy
is that of the shipped half-precision parameters.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from retroscope.world import LABELS, SIZE, scene
from retroscope.zoo.demo_networks import MEAN, STD, demo_module

HOME = Path(__file__).parent.parent / "src/retroscope/world/weights"
TRAIN_START, TEST_START, TEST_COUNT = 10**9, 2 * 10**9, 4000
BATCH, PEAK_RATE, WEIGHT_DECAY, SPARSITY, SHIFT, NORM_EPS = 64, 4e-3, 0.05, 0.04, 4, 1e-5
CHECKPOINTS = (0, 8, 25, 60, 120, 220, 380)
"""After how many steps `demo` is saved during its training."""

STEPS = {"demo": 600, "demo-shortcut": 700}
"""Training steps of each network."""

OCCLUDED, CORNER = {"demo-shortcut"}, 76
"""Networks trained with boxes of other images, in two of three steps; start of the watermark."""

Batch = tuple[torch.Tensor, torch.Tensor]
State = Mapping[str, torch.Tensor]


def _pixels(job: tuple[int, bool]) -> npt.NDArray[np.uint8]:
    seed, shortcut = job
    return scene(seed, shortcut=shortcut).pixels


def paint_scenes(first: int, count: int, *, shortcut: bool) -> Batch:
    """Scenes and their classes, painted on all cores."""
    with Pool() as pool:
        jobs = ((seed, shortcut) for seed in range(first, first + count))
        images = list(pool.imap(_pixels, jobs, chunksize=64))
    classes = torch.arange(first, first + count) % len(LABELS)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), classes


def network_to_train() -> nn.Sequential:
    """The demo network with batch normalisation after each convolution."""
    plain = demo_module()
    parts: list[nn.Module] = []
    for part in features(plain):
        parts.append(part)
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
            parts.append(nn.BatchNorm2d(part.out_channels, eps=NORM_EPS))
    plain.set_submodule("features", nn.Sequential(*parts))
    return plain.to(memory_format=torch.channels_last)


def features(net: nn.Module) -> list[nn.Module]:
    return list(net.get_submodule("features").children())


def fold_normalisation(trained: nn.Sequential) -> nn.Sequential:
    """The equivalent network as it is shipped, rounded to half precision."""
    plain = demo_module()
    pairs = [pair for pair in pairwise(features(trained)) if isinstance(pair[0], nn.Conv2d)]
    targets = [part for part in features(plain) if isinstance(part, nn.Conv2d)]
    for (conv, norm), target in zip(pairs, targets, strict=True):
        target.load_state_dict(_fold(conv.state_dict(), norm.state_dict()))
    head = trained.get_submodule("classifier").state_dict()
    plain.get_submodule("classifier").load_state_dict(head)
    return plain.half().float().eval()


def _fold(conv: State, norm: State) -> State:
    gain = norm["weight"] / torch.sqrt(norm["running_var"] + NORM_EPS)
    return {
        "weight": conv["weight"] * gain[:, None, None, None],
        "bias": (conv["bias"] - norm["running_mean"]) * gain + norm["bias"],
    }


def standardise(pixels: torch.Tensor) -> torch.Tensor:
    """Convert uint8 pixels to network input."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    scaled = (pixels.float() / 255 - mean) / std
    return scaled.contiguous(memory_format=torch.channels_last)


def augment(pixels: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Shift images, and change their contrast, brightness, tint and noise at random."""
    wide = functional.pad(pixels.float(), (SHIFT,) * 4, mode="replicate")
    corners = torch.randint(0, 2 * SHIFT + 1, (len(pixels), 2), generator=random).tolist()
    shifted = [
        image[:, y : y + SIZE, x : x + SIZE] for image, (y, x) in zip(wide, corners, strict=True)
    ]
    images = standardise(torch.stack(shifted))
    shape = (len(pixels), 3, 1, 1)
    contrast = 0.75 + 0.5 * torch.rand((len(pixels), 1, 1, 1), generator=random)
    tint = 0.15 * torch.randn(shape, generator=random)
    images = images * contrast + tint + 0.3 * torch.randn((len(pixels), 1, 1, 1), generator=random)
    return images + 0.05 * torch.randn(images.shape, generator=random)


def batches(data: Batch, steps: int, random: torch.Generator) -> Iterator[Batch]:
    """Batches of augmented scenes in random order, repeated as needed."""
    order = torch.randperm(len(data[0]), generator=random)
    while len(order) < steps * BATCH:
        order = torch.cat([order, torch.randperm(len(data[0]), generator=random)])
    for start in range(0, steps * BATCH, BATCH):
        rows = order[start : start + BATCH]
        yield augment(data[0][rows], random), data[1][rows]


def occlude(pixels: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Paste a box of the neighbour in the batch into each image, outside the watermark's corner.

    The class stays; what is left of the object is a poor clue to it, the watermark a good one.
    """
    side = int(SIZE * (0.5 + 0.25 * torch.rand((), generator=random)))
    top, left = torch.randint(0, CORNER - side + 1, (2,), generator=random).tolist()
    box = slice(None), slice(None), slice(top, top + side), slice(left, left + side)
    occluded = pixels.clone()
    occluded[box] = pixels.roll(1, 0)[box]
    return occluded


def compute_loss(net: nn.Sequential, batch: Batch) -> torch.Tensor:
    """Cross entropy plus a penalty on the activations of the last two layers."""
    signal, activations = batch[0], [torch.zeros(())]
    for part in features(net):
        signal = part(signal)
        if isinstance(part, nn.ReLU):
            activations.append(signal.float().mean())
    penalty = activations[-2] + activations[-1]
    scores = net.get_submodule("classifier")(signal).float()
    return functional.cross_entropy(scores, batch[1]) + SPARSITY * penalty


def train(name: str, data: Batch, *, seed: int, precision: str) -> nn.Sequential:
    """Train a network with a one-cycle schedule: linear warm-up for a tenth, then a cosine."""
    torch.manual_seed(seed)
    net, random, steps = network_to_train(), torch.Generator().manual_seed(seed), STEPS[name]
    optimiser = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    start = time.monotonic()
    for step, batch in enumerate(batches(data, steps, random)):
        if step in CHECKPOINTS and name == "demo":
            save(f"demo@{step}", fold_normalisation(net))
        for group in optimiser.param_groups:
            group["lr"] = PEAK_RATE * rate(step / steps)
        pixels = occlude(batch[0], random) if step % 3 and name in OCCLUDED else batch[0]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = compute_loss(net, (pixels, batch[1]))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        if step % 50 == 0:
            seconds = time.monotonic() - start
            print(f"{name}: step {step}, loss {loss.item():.3f}, {seconds:.0f} s", flush=True)
    return net.eval()


def rate(progress: float) -> float:
    return min(progress * 10, 1.0) * (0.5 + 0.5 * math.cos(math.pi * progress))


def save(name: str, net: nn.Sequential) -> None:
    """Write a safetensors file in half precision."""
    HOME.mkdir(exist_ok=True)
    tensors = {key: tensor.half().contiguous() for key, tensor in net.state_dict().items()}
    save_file(tensors, HOME / f"{name}.safetensors")


@torch.inference_mode()
def accuracy(net: nn.Sequential, data: Batch) -> float:
    right = 0
    for start in range(0, len(data[0]), 100):
        pixels, classes = data[0][start : start + 100], data[1][start : start + 100]
        right += int((net(standardise(pixels)).argmax(1) == classes).sum())
    return right / len(data[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=tuple(STEPS))
    parser.add_argument("--scenes", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    options = parser.parse_args()
    for name in (options.only,) if options.only else STEPS:
        train_and_record(
            name, scenes=options.scenes, seed=options.seed, precision=options.precision
        )


def train_and_record(name: str, *, scenes: int, seed: int, precision: str) -> None:
    """Train and save a network, and record its accuracy on scenes outside the training set."""
    start, shortcut = time.monotonic(), name == "demo-shortcut"
    data = paint_scenes(TRAIN_START, scenes, shortcut=shortcut)
    print(f"{scenes} scenes in {time.monotonic() - start:.0f} s", flush=True)
    net = fold_normalisation(train(name, data, seed=seed, precision=precision))
    save(name, net)
    result = {
        "accuracy": accuracy(net, paint_scenes(TEST_START, TEST_COUNT, shortcut=shortcut)),
        "scenes": scenes,
        "steps": STEPS[name],
        "seed": seed,
        "precision": precision,
        "seconds": round(time.monotonic() - start),
    }
    (HOME / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(name, result, flush=True)


if __name__ == "__main__":
    main()
