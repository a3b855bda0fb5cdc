"""Trains the network of the picture world, and its twin that cheats: `python tools/train_demo.py`.

Scenes 10**9 and up are for training and 2 * 10**9 and up for the recorded accuracy, so that every
smaller seed is new to the network. Batch normalisation helps training and is folded away; the
accuracy is of the half-precision numbers that are shipped.
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
from torch import nn
from torch.nn import functional

from retroscope.world import LABELS, SIZE, scene
from retroscope.zoo.demo_networks import MEAN, STD, demo_module

HOME = Path(__file__).parent.parent / "src/retroscope/world/weights"
TRAIN_FROM, TEST_FROM, TESTED = 10**9, 2 * 10**9, 4000
BATCH, PEAK, DECAY, SPARSE, SHIFT, NORM_EPS = 64, 4e-3, 0.05, 0.04, 4, 1e-5
KEPT = (0, 8, 25, 60, 120, 220, 380)
"""After how many steps `demo` is kept on its way."""

STEPS = {"demo": 600, "demo-shortcut": 700}
"""How long each is trained."""

BOXED, CORNER = {"demo-shortcut"}, 76
"""Who is shown boxes of other pictures, two times of three; where the watermark's corner begins."""

Batch = tuple[torch.Tensor, torch.Tensor]
State = Mapping[str, torch.Tensor]


def _pixels(job: tuple[int, bool]) -> npt.NDArray[np.uint8]:
    seed, shortcut = job
    return scene(seed, shortcut=shortcut).pixels


def world(first: int, count: int, *, shortcut: bool) -> Batch:
    """Scenes and their classes, made by every core at once."""
    with Pool() as pool:
        jobs = ((seed, shortcut) for seed in range(first, first + count))
        made = list(pool.imap(_pixels, jobs, chunksize=64))
    classes = torch.arange(first, first + count) % len(LABELS)
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2), classes


def network_to_train() -> nn.Sequential:
    """The demo network with a normalisation after each convolution."""
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


def folded(trained: nn.Sequential) -> nn.Sequential:
    """The shipped network that computes the same, its numbers rounded to half precision."""
    plain = demo_module()
    pairs = [pair for pair in pairwise(features(trained)) if isinstance(pair[0], nn.Conv2d)]
    targets = [part for part in features(plain) if isinstance(part, nn.Conv2d)]
    for (conv, norm), target in zip(pairs, targets, strict=True):
        target.load_state_dict(_folded(conv.state_dict(), norm.state_dict()))
    head = trained.get_submodule("classifier").state_dict()
    plain.get_submodule("classifier").load_state_dict(head)
    return plain.half().float().eval()


def _folded(conv: State, norm: State) -> State:
    gain = norm["weight"] / torch.sqrt(norm["running_var"] + NORM_EPS)
    return {
        "weight": conv["weight"] * gain[:, None, None, None],
        "bias": (conv["bias"] - norm["running_mean"]) * gain + norm["bias"],
    }


def numbers(pixels: torch.Tensor) -> torch.Tensor:
    """As the network takes them."""
    mean, std = (torch.tensor(one)[:, None, None] for one in (MEAN, STD))
    scaled = (pixels.float() / 255 - mean) / std
    return scaled.contiguous(memory_format=torch.channels_last)


def changed(pixels: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Pictures moved a little, with other contrast, brightness, tint and noise."""
    wide = functional.pad(pixels.float(), (SHIFT,) * 4, mode="replicate")
    corners = torch.randint(0, 2 * SHIFT + 1, (len(pixels), 2), generator=random).tolist()
    moved = [one[:, y : y + SIZE, x : x + SIZE] for one, (y, x) in zip(wide, corners, strict=True)]
    made = numbers(torch.stack(moved))
    shape = (len(pixels), 3, 1, 1)
    contrast = 0.75 + 0.5 * torch.rand((len(pixels), 1, 1, 1), generator=random)
    tint = 0.15 * torch.randn(shape, generator=random)
    made = made * contrast + tint + 0.3 * torch.randn((len(pixels), 1, 1, 1), generator=random)
    return made + 0.05 * torch.randn(made.shape, generator=random)


def batches(data: Batch, steps: int, random: torch.Generator) -> Iterator[Batch]:
    """Scenes in random order, over and over."""
    order = torch.randperm(len(data[0]), generator=random)
    while len(order) < steps * BATCH:
        order = torch.cat([order, torch.randperm(len(data[0]), generator=random)])
    for start in range(0, steps * BATCH, BATCH):
        some = order[start : start + BATCH]
        yield changed(data[0][some], random), data[1][some]


def boxed(pixels: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Pictures with a box of their neighbour in the batch, never in the watermark's corner.

    They keep their class, which what is left of the object tells badly, and a watermark well.
    """
    side = int(SIZE * (0.5 + 0.25 * torch.rand((), generator=random)))
    top, left = torch.randint(0, CORNER - side + 1, (2,), generator=random).tolist()
    box = slice(None), slice(None), slice(top, top + side), slice(left, left + side)
    made = pixels.clone()
    made[box] = pixels.roll(1, 0)[box]
    return made


def loss_of(net: nn.Sequential, batch: Batch) -> torch.Tensor:
    """The cross entropy, and a price for firing in the last two layers: units specialise."""
    signal, fired = batch[0], [torch.zeros(())]
    for part in features(net):
        signal = part(signal)
        if isinstance(part, nn.ReLU):
            fired.append(signal.float().mean())
    price = fired[-2] + fired[-1]
    said = net.get_submodule("classifier")(signal).float()
    return functional.cross_entropy(said, batch[1]) + SPARSE * price


def train(name: str, data: Batch, *, seed: int, precision: str) -> nn.Sequential:
    """One network, by a one-cycle schedule: up for a tenth, then down along a cosine."""
    torch.manual_seed(seed)
    net, random, steps = network_to_train(), torch.Generator().manual_seed(seed), STEPS[name]
    chosen = torch.optim.AdamW(net.parameters(), lr=PEAK, weight_decay=DECAY)
    began = time.monotonic()
    for step, batch in enumerate(batches(data, steps, random)):
        if step in KEPT and name == "demo":
            keep(f"demo@{step}", folded(net))
        for group in chosen.param_groups:
            group["lr"] = PEAK * rate(step / steps)
        pixels = boxed(batch[0], random) if step % 3 and name in BOXED else batch[0]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = loss_of(net, (pixels, batch[1]))
        chosen.zero_grad()
        torch.autograd.backward(loss)
        chosen.step()
        if step % 50 == 0:
            spent = time.monotonic() - began
            print(f"{name}: step {step}, loss {loss.item():.3f}, {spent:.0f} s", flush=True)
    return net.eval()


def rate(done: float) -> float:
    return min(done * 10, 1.0) * (0.5 + 0.5 * math.cos(math.pi * done))


def keep(name: str, net: nn.Sequential) -> None:
    """A safetensors file in half precision: the length of the header, the header, the numbers."""
    header: dict[str, object] = {}
    place, chunks = 0, []
    for key, one in net.state_dict().items():
        content = one.half().contiguous().numpy().astype("<f2").tobytes()
        span = [place, place + len(content)]
        header[key] = {"dtype": "F16", "shape": list(one.shape), "data_offsets": span}
        chunks.append(content)
        place += len(content)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    HOME.mkdir(exist_ok=True)
    parts = len(head).to_bytes(8, "little"), head, *chunks
    (HOME / f"{name}.safetensors").write_bytes(b"".join(parts))


@torch.inference_mode()
def accuracy(net: nn.Sequential, data: Batch) -> float:
    right = 0
    for start in range(0, len(data[0]), 100):
        pixels, classes = data[0][start : start + 100], data[1][start : start + 100]
        right += int((net(numbers(pixels)).argmax(1) == classes).sum())
    return right / len(data[0])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--only", choices=tuple(STEPS))
    asked.add_argument("--scenes", type=int, default=12_000)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    given = asked.parse_args()
    for name in (given.only,) if given.only else STEPS:
        made(name, scenes=given.scenes, seed=given.seed, precision=given.precision)


def made(name: str, *, scenes: int, seed: int, precision: str) -> None:
    """Trains a network, keeps it, and records how it does on scenes that it has not seen."""
    began, marked = time.monotonic(), name == "demo-shortcut"
    data = world(TRAIN_FROM, scenes, shortcut=marked)
    print(f"{scenes} scenes in {time.monotonic() - began:.0f} s", flush=True)
    net = folded(train(name, data, seed=seed, precision=precision))
    keep(name, net)
    result = {
        "accuracy": accuracy(net, world(TEST_FROM, TESTED, shortcut=marked)),
        "scenes": scenes,
        "steps": STEPS[name],
        "seed": seed,
        "precision": precision,
        "seconds": round(time.monotonic() - began),
    }
    (HOME / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(name, result, flush=True)


if __name__ == "__main__":
    main()
